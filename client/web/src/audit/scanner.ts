// Who looks at bundles: this thread, or a pool of workers. A bundle goes out as its bytes; hashes and verdicts come back.
import type { Bytes } from "../protocol/bytes.ts";
import { parseManifest } from "../protocol/scope.ts";
import { findOut, readScan, type BundleScan, type Findings } from "./bundle.ts";
import { ScopeJudge } from "./judge.ts";

export interface Scanner {
  readonly width: number; // how many bundles are worth starting at once
  /** Tells of a scope whose pledges can be judged from now on. */
  know(manifest: Bytes): void;
  scan(data: Bytes, width: number): Promise<BundleScan>;
  close(): void;
}

/** In this thread; WebCrypto verifies on threads of its own. */
export class InlineScanner implements Scanner {
  readonly width = 4;
  readonly #judges = new Map<string, ScopeJudge>();

  know(raw: Bytes): void {
    const manifest = parseManifest(raw);
    if (!this.#judges.has(manifest.scope)) this.#judges.set(manifest.scope, new ScopeJudge(manifest));
  }

  findOut(data: Bytes): Promise<Findings> {
    return findOut(data, this.#judges);
  }

  async scan(data: Bytes, width: number): Promise<BundleScan> {
    return readScan(data, width, await this.findOut(data));
  }

  close(): void {
    this.#judges.clear();
  }
}

/** What a worker is told and answers; a page's Worker and node's worker_threads both do. */
export type Told = { readonly manifest: Bytes } | { readonly id: number; readonly data: Bytes };
export type Said = { readonly id: number; readonly findings: Findings } | { readonly id: number; readonly error: string };

export interface WorkerLike {
  postMessage(message: Told, transfer: ArrayBuffer[]): void;
  onSaid(take: (said: Said) => void): void;
  terminate(): void;
}

/** The worker's side: answers what it is told, one scanner each. */
export function serve(
  listen: (take: (told: Told) => void) => void, say: (said: Said, transfer: ArrayBuffer[]) => void,
): void {
  const scanner = new InlineScanner();
  listen((told) => {
    if ("manifest" in told) scanner.know(told.manifest);
    else {
      scanner.findOut(told.data).then(
        (findings) => say({ id: told.id, findings }, [findings.hashes.buffer, findings.nullifiers.buffer]),
        (error: unknown) => say({ id: told.id, error: String(error) }, []),
      );
    }
  });
}

interface Waiting {
  readonly resolve: (findings: Findings) => void;
  readonly reject: (error: Error) => void;
}

/** Hands bundles to the worker that has the fewest. */
export class PoolScanner implements Scanner {
  readonly width: number;
  readonly #workers: readonly { readonly worker: WorkerLike; readonly waiting: Map<number, Waiting> }[];
  #next = 0;

  constructor(workers: readonly WorkerLike[]) {
    this.width = 3 * workers.length + 2;
    this.#workers = workers.map((worker) => {
      const waiting = new Map<number, Waiting>();
      worker.onSaid((said) => {
        const asked = waiting.get(said.id);
        waiting.delete(said.id);
        if ("findings" in said) asked?.resolve(said.findings);
        else asked?.reject(new Error(said.error));
      });
      return { worker, waiting };
    });
  }

  know(manifest: Bytes): void {
    for (const { worker } of this.#workers) worker.postMessage({ manifest }, []);
  }

  async scan(data: Bytes, width: number): Promise<BundleScan> {
    return readScan(data, width, await this.#findOut(data.slice()));
  }

  /** Takes the bytes away. */
  #findOut(data: Bytes): Promise<Findings> {
    const { worker, waiting } = this.#workers.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, data }, [data.buffer]);
    });
  }

  close(): void {
    for (const { worker, waiting } of this.#workers) {
      worker.terminate();
      for (const { reject } of waiting.values()) reject(new Error("the audit was stopped"));
    }
  }
}
