// Seals: the last leaf of every batch, which chains the ledger.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { sha256, sha256With } from "./sha256.ts";
import { Reader } from "./wire.ts";

const HEADER = Uint8Array.of(2, 1);
export const GENESIS: Bytes = new Uint8Array(32); // every prev field of batch 0

export interface Seal {
  readonly kind: "seal";
  readonly batch: number;
  readonly firstIndex: number;
  readonly pledgesInBatch: number;
  readonly pledgesTotal: number;
  readonly day: number; // UTC days since 1970, never falling
  readonly prevSeal: Bytes; // leaf hash of the seal before
  readonly prevRoot: Bytes; // root hash of everything before the batch
  readonly prevCheckpoint: Bytes; // SHA-256 of the checkpoint before, as published
  readonly totals: Bytes; // SHA-256 of the file totals/<batch>
  readonly chain: Bytes; // over every leaf before this one
}

/** c_0, before the first leaf of the ledger with this origin line. Protocol, Section 4.4. */
export function chainStart(origin: string): Bytes {
  return sha256(utf8(`${origin}\n`));
}

/** c_i from c_(i-1) and the hash of leaf i; a seal's own leaf joins the chain after it. */
export function chainExtend(chain: Uint8Array, leafHash: Uint8Array): Bytes {
  return sha256With(2, concat(chain, leafHash));
}

export function parseSeal(data: Uint8Array): Seal {
  const reader = new Reader(data);
  reader.expect(HEADER, "entry type or version");
  const seal: Seal = {
    kind: "seal",
    batch: reader.u64(),
    firstIndex: reader.u64(),
    pledgesInBatch: reader.u64(),
    pledgesTotal: reader.u64(),
    day: reader.u32(),
    prevSeal: reader.take(32),
    prevRoot: reader.take(32),
    prevCheckpoint: reader.take(32),
    totals: reader.take(32),
    chain: reader.take(32),
  };
  reader.finish();
  if (seal.pledgesInBatch > seal.pledgesTotal) {
    throw new MalformedError("more pledges in the batch than in all batches");
  }
  return seal;
}
