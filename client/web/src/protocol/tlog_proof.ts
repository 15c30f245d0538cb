// An offline proof that an entry is in the ledger (.tlog-proof), c2sp.org/tlog-proof.
import { fromUtf8, utf8, type Bytes } from "./bytes.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { MalformedError } from "./errors.ts";
import { HASH_BYTES, MAX_PROOF_HASHES, verifyInclusion } from "./merkle.ts";
import { MAX_NOTE_BYTES } from "./note.ts";
import type { Cosignature, Policy } from "./policy.ts";
import { decodeBase64, encodeBase64, parseDecimal } from "./text.ts";

const MAX_PROOF_BYTES = 3 * MAX_NOTE_BYTES;
const HEADER = "c2sp.org/tlog-proof@v1";

export interface TlogProof {
  readonly index: number;
  readonly hashes: readonly Uint8Array[]; // the leaf's sibling first
  readonly checkpoint: Bytes; // the signed note
  readonly extra: Bytes | undefined; // opaque and not authenticated
}

export function encodeProof(proof: TlogProof): Bytes {
  const extra = proof.extra ? [`extra ${encodeBase64(proof.extra)}`] : [];
  const head = [HEADER, ...extra, `index ${proof.index}`, ...proof.hashes.map(encodeBase64), "", ""].join("\n");
  return utf8(head + fromUtf8(proof.checkpoint));
}

/** The proof of a file; the checkpoint is cut out here and parsed by verifyProof. */
export function parseProof(data: Uint8Array): TlogProof {
  if (data.length > MAX_PROOF_BYTES) throw new MalformedError(`tlog-proof longer than ${MAX_PROOF_BYTES} bytes`);
  const text = fromUtf8(data);
  const cut = text.indexOf("\n\n");
  const lines = text.slice(0, Math.max(cut, 0)).split("\n");
  const checkpoint = text.slice(cut + 2);
  if (cut < 0 || !checkpoint || lines.shift() !== HEADER) throw new MalformedError("not a tlog-proof");
  let extra: Bytes | undefined;
  if (lines[0]?.startsWith("extra ")) extra = decodeBase64(lines.shift()!.slice(6));
  if (!lines[0]?.startsWith("index ")) throw new MalformedError("tlog-proof without an index");
  const index = parseDecimal(lines.shift()!.slice(6));
  if (lines.length > MAX_PROOF_HASHES) throw new MalformedError("tlog-proof with too many hashes");
  const hashes = lines.map((line) => decodeBase64(line, HASH_BYTES));
  return { index, hashes, checkpoint: utf8(checkpoint), extra };
}

/** An entry's place in a tree whose checkpoint a policy accepts. */
export interface VerifiedInclusion {
  readonly index: number;
  readonly checkpoint: Checkpoint;
  readonly cosigners: readonly Cosignature[];
}

/** Checks that the entry with this leaf hash is in a tree that the policy accepts. */
export async function verifyProof(proof: TlogProof, leafHash: Uint8Array, policy: Policy): Promise<VerifiedInclusion> {
  // tlog-proof, "Verifying a tlog proof": log signature and quorum, then inclusion.
  const { signed, cosignatures } = await policy.verifyCheckpoint(proof.checkpoint);
  verifyInclusion(proof.hashes, proof.index, signed.checkpoint.size, leafHash, signed.checkpoint.root);
  return { index: proof.index, checkpoint: signed.checkpoint, cosigners: cosignatures };
}
