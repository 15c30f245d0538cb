// Receipts: the proof that a pledge, or a change of it, stands in the ledger (C2SP tlog-proof).
//
// Own entries are found by reading whole bundles since the pledge was sent; nobody is asked for one nullifier, which would
// tell who asks.
import { copy, equal, hex } from "../protocol/bytes.ts";
import { parseEntry } from "../protocol/entry.ts";
import { ConfigurationError, MisbehaviourError } from "../protocol/errors.ts";
import { leafHash } from "../protocol/merkle.ts";
import { Policy } from "../protocol/policy.ts";
import { encodePromise, type LedgerPromise } from "../protocol/promise.ts";
import { verifyProof, type TlogProof } from "../protocol/tlog_proof.ts";
import { cached, httpFetch } from "../reader/fetch.ts";
import type { Transport } from "../reader/transport.ts";
import { openLedger, type LedgerView, type Progress } from "../reader/view.ts";
import type { PledgeFile } from "./pledge_file.ts";
import type { PledgeStore } from "./storage.ts";

/** How far an entry has come. */
export interface Receipt {
  readonly promise: LedgerPromise;
  readonly serial: number; // 0 the pledge, from 1 its changes
  readonly state: "accepted" | "included" | "witnessed";
  readonly index?: number; // leaf index, once it is included
  readonly proof?: TlogProof; // verified under the pledge's trust policy
}

/** Whether the ledger has broken its promise, if what its files show today is all there is. */
export function isOverdue(receipt: Receipt, day: number): boolean {
  return !receipt.proof && day > receipt.promise.deadline;
}

/** The receipts of the pledge and of its promised changes, by serial. */
export async function findReceipts(
  store: PledgeStore, transport: Transport, progress?: Progress,
): Promise<Receipt[]> {
  const file = await store.load();
  if (!file?.promise) throw new ConfigurationError("the pledge was not sent yet");
  const fetch = cached(httpFetch(file.ledger, transport));
  const view = await openLedger(fetch, Policy.fromBytes(file.policy), [file.checkpoint]);
  const receipts = await find(file, view, progress);
  if (!equal(view.raw, file.checkpoint)) await store.save({ ...file, checkpoint: view.raw });
  return receipts;
}

async function find(file: PledgeFile, view: LedgerView, progress?: Progress): Promise<Receipt[]> {
  const promises = [file.promise, ...file.changes.map((change) => change.promise)].filter((p) => p !== undefined);
  const receipts = promises.map((promise): Receipt => ({ promise, serial: promise.serial, state: "accepted" }));
  const missing = new Map(receipts.map((receipt, i) => [hex(receipt.promise.leafHash), i]));
  for await (const [index, data] of view.scan(file.since ?? 0, progress)) {
    const name = hex(leafHash(data));
    const place = missing.get(name);
    if (place === undefined) continue;
    missing.delete(name);
    receipts[place] = await included(receipts[place]!, index, data, view);
    if (!missing.size) break;
  }
  return receipts;
}

async function included(receipt: Receipt, index: number, entry: Uint8Array, view: LedgerView): Promise<Receipt> {
  // The entry is public already; with it inside, the receipt can be checked without the pledge file.
  const hashes = await view.reader.inclusionProof(index);
  const proof: TlogProof = { index, hashes, checkpoint: view.raw, extra: copy(entry) };
  await verifyProof(proof, leafHash(entry), view.policy);
  const parsed = parseEntry(entry);
  const isOurs =
    (parsed.kind === "pledge" || parsed.kind === "revision") && equal(parsed.nullifier, receipt.promise.nullifier);
  if (!isOurs) {
    const evidence = [encodePromise(receipt.promise), entry];
    throw new MisbehaviourError("the ledger published another entry under its promise", evidence);
  }
  return { ...receipt, state: view.isWitnessed ? "witnessed" : "included", index, proof };
}
