// Accusations: that a ledger has broken a promise, in a file that a third party checks alone. Protocol, Section 4.10.
import { checkAbsence, type Absence, type Leaf } from "./absence.ts";
import { concat, equal, fromAscii, utf8, type Bytes } from "./bytes.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { MAX_ENTRY_BYTES } from "./entry.ts";
import { MalformedError, ProofError, SignatureError, UnknownKeyError } from "./errors.ts";
import { HASH_BYTES, leafHash } from "./merkle.ts";
import { rootFromLeaves } from "./multiproof.ts";
import { formatVkey, type VerificationKey } from "./note.ts";
import { nonce } from "./pledge.ts";
import type { Cosignature, Policy } from "./policy.ts";
import { PROMISE_BYTES, encodePromise, parsePromise, verifyPromise, type LedgerPromise } from "./promise.ts";
import { decodeBase64, encodeBase64, parseDecimal } from "./text.ts";
import { verifyProof, type TlogProof, type VerifiedInclusion } from "./tlog_proof.ts";
import { Reader, u16 } from "./wire.ts";

const MAX_ACCUSATION_BYTES = 2 ** 28;
const PREIMAGE_BYTES = 98;
const HEADER = "headcount/accusation/v1";

/** To which scope a nullifier belongs; without the authenticators it is no pledge yet. */
export interface Preimage {
  readonly scopeId: Bytes;
  readonly choice: number;
  readonly revisionKey: Bytes;
  readonly sealedHash: Bytes;
}

export interface Accusation {
  readonly promise: LedgerPromise;
  readonly preimage: Preimage;
  readonly leaves: readonly Leaf[]; // ascending
  readonly hashes: readonly Bytes[];
  readonly checkpoint: Bytes; // the signed note
}

export interface VerifiedAccusation {
  readonly promise: LedgerPromise;
  readonly checkpoint: Checkpoint;
  readonly cosigners: readonly Cosignature[];
  readonly absence: Absence;
}

function parsePreimage(data: Uint8Array): Preimage {
  const reader = new Reader(data);
  const preimage = {
    scopeId: reader.take(32),
    choice: reader.u16(),
    revisionKey: reader.take(32),
    sealedHash: reader.take(32),
  };
  reader.finish();
  return preimage;
}

/** The accusation of a file; the checkpoint is cut out here and parsed by verifyAccusation. */
export function parseAccusation(data: Bytes): Accusation {
  if (data.length > MAX_ACCUSATION_BYTES) throw new MalformedError("accusation too long");
  let cut = 0;
  while (cut < data.length && !(data[cut] === 10 && data[cut + 1] === 10)) cut++;
  const lines = fromAscii(data.subarray(0, cut)).split("\n");
  const checkpoint = data.slice(cut + 2);
  if (!checkpoint.length || lines.length < 3 || lines[0] !== HEADER) throw new MalformedError("not an accusation");
  const promise = parsePromise(field(lines[1]!, "promise ", PROMISE_BYTES));
  const preimage = parsePreimage(field(lines[2]!, "preimage ", PREIMAGE_BYTES));
  let end = 3;
  while (lines[end]?.startsWith("leaf ")) end++;
  const leaves = lines.slice(3, end).map(parseLeaf);
  if (leaves.some(([index], i) => i > 0 && index <= leaves[i - 1]![0])) {
    throw new MalformedError("the leaves of an accusation do not ascend");
  }
  const hashes = lines.slice(end).map((line) => decodeBase64(line, HASH_BYTES));
  return { promise, preimage, leaves, hashes, checkpoint };
}

function field(line: string, name: string, size: number): Bytes {
  if (!line.startsWith(name)) throw new MalformedError(`accusation without its ${name.trim()}`);
  return decodeBase64(line.slice(name.length), size);
}

function parseLeaf(line: string): Leaf {
  const space = line.indexOf(" ", 5);
  if (space < 0) throw new MalformedError("a leaf has an index and an entry");
  const data = decodeBase64(line.slice(space + 1));
  if (data.length > MAX_ENTRY_BYTES) throw new MalformedError(`entry longer than ${MAX_ENTRY_BYTES} bytes`);
  return [parseDecimal(line.slice(5, space)), data];
}

export function encodeAccusation(accusation: Accusation): Bytes {
  const { scopeId, choice, revisionKey, sealedHash } = accusation.preimage;
  const preimage = concat(scopeId, u16(choice), revisionKey, sealedHash);
  const lines = [
    HEADER,
    `promise ${encodeBase64(encodePromise(accusation.promise))}`,
    `preimage ${encodeBase64(preimage)}`,
    ...accusation.leaves.map(([index, entry]) => `leaf ${index} ${encodeBase64(entry)}`),
    ...accusation.hashes.map(encodeBase64),
  ];
  return concat(utf8(`${lines.join("\n")}\n\n`), accusation.checkpoint);
}

/** Checks that the ledger has broken the promise. Needs no clock: the ledger's own seals say that the time has passed. */
export async function verifyAccusation(accusation: Accusation, policy: Policy): Promise<VerifiedAccusation> {
  const { promise, preimage } = accusation;
  // 1. The checkpoint is the log's, and cosigned as the policy asks.
  const { signed, cosignatures } = await policy.verifyCheckpoint(accusation.checkpoint);
  const { checkpoint } = signed;
  const keys = policy.logKeys(checkpoint.origin);
  // 2. The promise is by the same log, and for a pledge of this scope.
  await checkPromise(promise, keys);
  const nullifier = nonce(preimage.scopeId, preimage.choice, preimage.revisionKey, preimage.sealedHash);
  if (!equal(nullifier, promise.nullifier)) throw new ProofError("the promise is for another pledge");
  // 3. The leaves are in the tree.
  const leaves = accusation.leaves.map(([index, entry]) => [index, leafHash(entry)] as const);
  if (!equal(rootFromLeaves(accusation.hashes, leaves, checkpoint.size), checkpoint.root)) {
    throw new ProofError("the leaves lead to another root");
  }
  // 4. to 8. They show that the entry is not.
  const absence = await checkAbsence(accusation.leaves, promise, preimage.scopeId);
  const scopeKey = formatVkey(absence.manifest.ledger.key);
  if (!keys.some((key) => formatVkey(key) === scopeKey)) {
    throw new UnknownKeyError("the pledges of the scope count in another ledger");
  }
  return { promise, checkpoint, cosigners: cosignatures, absence };
}

/** Checks that the promised entry stands in the batches that the accusation is about. */
export async function refute(
  accusation: VerifiedAccusation, receipt: TlogProof, policy: Policy,
): Promise<VerifiedInclusion> {
  const found = await verifyProof(receipt, accusation.promise.leafHash, policy);
  if (found.checkpoint.origin !== accusation.checkpoint.origin) {
    throw new ProofError("the receipt is of another ledger");
  }
  const { firstIndex, endIndex } = accusation.absence;
  if (found.index < firstIndex || found.index >= endIndex) {
    throw new ProofError("the entry was published outside the batches that count");
  }
  return found;
}

/** A log that changes its key has two for a while. */
async function checkPromise(promise: LedgerPromise, keys: readonly VerificationKey[]): Promise<void> {
  for (const key of keys) {
    try {
      await verifyPromise(promise, key);
      return;
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error;
    }
  }
  throw new SignatureError("the promise is not by this ledger");
}
