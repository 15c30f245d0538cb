// Audits folders for the Python tests: a JSON job a line, the report as JSON a line.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { audit, type Snapshot } from "../src/audit/audit.ts";
import { sample } from "../src/audit/sample.ts";
import type { Receipt } from "../src/audit/receipt.ts";
import { PoolScanner, type Said, type Scanner, type WorkerLike } from "../src/audit/scanner.ts";
import { fromHex, utf8, type Bytes } from "../src/protocol/bytes.ts";
import { parseCheckpoint, parseCheckpointText } from "../src/protocol/checkpoint.ts";
import { NotFoundError } from "../src/protocol/errors.ts";
import "../src/protocol/fallbacks.ts";
import { Policy } from "../src/protocol/policy.ts";
import type { Fetch } from "../src/protocol/tile.ts";
import { parseProof } from "../src/protocol/tlog_proof.ts";

interface Job {
  readonly folder: string;
  readonly policy: string;
  readonly remembered?: readonly string[]; // texts
  readonly receipts?: readonly { readonly leaf: string; readonly proof: string }[];
  readonly workers?: number;
  readonly sample?: number; // so many bundles
  readonly keep?: string; // a name under which to keep the state, and from which to resume
  readonly anew?: boolean; // recount all, and compare with it
  readonly recall?: boolean; // compare with the checkpoint of what is kept, as the page does
}

const kept = new Map<string, Snapshot>();

export function folderFetch(root: string): Fetch {
  return async (path): Promise<Bytes> => {
    const file = join(root, path);
    if (!existsSync(file)) throw new NotFoundError(`no ${path}`);
    return new Uint8Array(readFileSync(file));
  };
}

export function pool(size: number): Scanner {
  const start = (): WorkerLike => {
    const worker = new Worker(new URL("./audit_worker.js", import.meta.url));
    return {
      postMessage: (message, transfer) => worker.postMessage(message, transfer),
      onSaid: (take) => void worker.on("message", (said: Said) => take(said)),
      terminate: () => void worker.terminate(),
    };
  };
  return new PoolScanner(Array.from({ length: size }, start));
}

async function run(job: Job): Promise<object> {
  if (job.sample) {
    const policy = Policy.fromBytes(fromHex(job.policy));
    try {
      const { scopes, ...found } = await sample(folderFetch(job.folder), policy, { bundles: job.sample });
      return { ...found, scopes: Object.fromEntries([...scopes].map(([id, { live }]) => [id, live])) };
    } catch (error) {
      return { error: (error as { code?: string }).code ?? String(error) };
    }
  }
  const scanner = job.workers ? pool(job.workers) : undefined;
  const receipts = (job.receipts ?? []).map(({ leaf, proof }): Receipt => {
    return { name: "mine", leafHash: fromHex(leaf), proof: parseProof(utf8(proof)) };
  });
  const resume = job.keep ? kept.get(job.keep) : undefined;
  const recalled = resume && job.recall ? [parseCheckpoint(resume.checkpoint).checkpoint] : [];
  const began = performance.now();
  try {
    const report = await audit(folderFetch(job.folder), Policy.fromBytes(fromHex(job.policy)), {
      remembered: [...(job.remembered ?? []).map(parseCheckpointText), ...recalled],
      receipts,
      ...(scanner ? { scanner } : {}),
      ...(resume ? { resume } : {}),
      ...(job.anew ? { anew: true } : {}),
      ...(job.keep ? { keep: (state: Snapshot) => void kept.set(job.keep!, structuredClone(state)) } : {}),
    });
    const { rows, resumedAt } = report;
    return { report, rows, resumedAt, seconds: (performance.now() - began) / 1000 };
  } finally {
    scanner?.close();
  }
}

if (process.argv[1] === import.meta.filename) {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as Job))}\n`);
  }
}
