// The pool of a page: as many workers as there are processors, at most eight.
import { InlineScanner, PoolScanner, type Scanner, type WorkerLike } from "./scanner.ts";

const MAX_WORKERS = 8;

function start(): WorkerLike {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer),
    onSaid: (take) => (worker.onmessage = (event: MessageEvent) => take(event.data)),
    terminate: () => worker.terminate(),
  };
}

/** Workers, or this thread where there are none. */
export function openScanner(workers = Math.min(navigator.hardwareConcurrency || 2, MAX_WORKERS)): Scanner {
  if (typeof Worker === "undefined" || workers < 1) return new InlineScanner();
  return new PoolScanner(Array.from({ length: workers }, start));
}
