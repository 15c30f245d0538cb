// What a person holds against the ledger: a receipt or a promise of one entry.
import { equal, hex, type Bytes } from "../protocol/bytes.ts";
import type { Checkpoint } from "../protocol/checkpoint.ts";
import { MalformedError, ProofError, ProtocolError } from "../protocol/errors.ts";
import { rootFromInclusion } from "../protocol/merkle.ts";
import { Policy } from "../protocol/policy.ts";
import { verifyPromise, type LedgerPromise } from "../protocol/promise.ts";
import { formatDay } from "../protocol/text.ts";
import type { TlogProof } from "../protocol/tlog_proof.ts";
import type { FaultList } from "./fault.ts";

/** One entry that must be in the ledger. */
export interface Receipt {
  readonly name: string; // what to call it in the report
  readonly leafHash?: Bytes; // none for a proof without its entry
  readonly proof?: TlogProof;
  readonly promise?: LedgerPromise;
  readonly checkpoint?: Bytes; // that the holder accepted before, signed
}

/** A receipt that was checked against the policy, before the ledger is looked at. */
export interface HeldReceipt {
  readonly receipt: Receipt;
  readonly checkpoints: readonly Checkpoint[]; // that the ledger has signed; of the proof first
}

/** What became of a receipt's entry. */
export interface ReceiptState {
  readonly name: string;
  readonly state: "included" | "promised" | "missing";
  readonly index: number | null;
  readonly deadline: string | null; // day until which a promised entry must be there
}

/** Checks that the receipt itself is one of this ledger; throws ProofError. */
export async function checkReceipt(receipt: Receipt, origin: string, policy: Policy): Promise<HeldReceipt> {
  const { proof, promise, leafHash } = receipt;
  const checkpoints: Checkpoint[] = [];
  // Today's witness policy may be younger than the receipt: the log's signature is what binds it.
  const logs = new Policy();
  logs.logs.push(...policy.logs);
  try {
    if (promise) {
      if (leafHash && !equal(leafHash, promise.leafHash)) throw new MalformedError("the promise is of another entry");
      policy.checkLog(origin);
      await verifyPromise(promise, policy.logKeys(origin)[0]!);
    }
    for (const raw of [proof?.checkpoint, receipt.checkpoint]) {
      if (!raw) continue;
      const { checkpoint } = (await logs.verifyCheckpoint(raw)).signed;
      if (checkpoint.origin !== origin) throw new MalformedError("it is of another ledger");
      checkpoints.push(checkpoint);
    }
    if (proof) {
      if (leafHash && !leads(proof, leafHash, checkpoints[0]!)) {
        throw new MalformedError("its hashes do not lead to the signed root");
      }
      if (proof.index >= checkpoints[0]!.size) throw new MalformedError("its index is not below the tree size");
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProofError(`${receipt.name} proves nothing here: ${error.message}`);
  }
  return { receipt, checkpoints };
}

/** What the recount has seen of what receipts speak of. */
export interface Found {
  readonly places: ReadonlyMap<string, number>; // leaf hash → index
  readonly leaves: ReadonlyMap<number, Uint8Array>;
  readonly roots: ReadonlyMap<number, Uint8Array>; // empty if the files contradict their checkpoint
  readonly lastDay: number;
}

/** Looks for the receipt's entry in the recounted log. */
export function compareReceipt(held: HeldReceipt, found: Found, faults: FaultList): ReceiptState {
  const { receipt, checkpoints } = held;
  const { name, proof, promise } = receipt;
  const leaf = receipt.leafHash ?? promise?.leafHash;
  let index = leaf && found.places.get(hex(leaf));
  if (index === undefined && proof) {
    // A proof without its entry: it leads from the leaf at its index, or that is another one.
    const here = found.leaves.get(proof.index);
    if (here && leads(proof, here, checkpoints[0]!)) index = proof.index;
  }
  if (index === undefined && proof) {
    faults.add("deleted-entry", `${name} proves an entry that the ledger no longer holds`, { index: proof.index });
    return { name, state: "missing", index: proof.index, deadline: null };
  }
  for (const { size, root } of checkpoints) {
    if (!equal(found.roots.get(size) ?? root, root)) {
      faults.add("forked-ledger", `in ${name} the ledger has signed another tree of ${size} entries`);
    }
  }
  if (index !== undefined || !promise) {
    return { name, state: index === undefined ? "missing" : "included", index: index ?? null, deadline: null };
  }
  const deadline = formatDay(promise.deadline);
  if (found.lastDay > promise.deadline) {
    faults.add("broken-promise", `the entry of ${name} was promised by ${deadline}`);
    return { name, state: "missing", index: null, deadline };
  }
  return { name, state: "promised", index: null, deadline };
}

function leads(proof: TlogProof, leaf: Uint8Array, checkpoint: Checkpoint): boolean {
  try {
    return equal(rootFromInclusion(proof.hashes, proof.index, checkpoint.size, leaf), checkpoint.root);
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}
