// The signed head of the ledger's tree, c2sp.org/tlog-checkpoint; extension lines are refused.
import type { Bytes } from "./bytes.ts";
import { MalformedError, UnknownKeyError } from "./errors.ts";
import { HASH_BYTES } from "./merkle.ts";
import { checkName, parseNote, verifyNote, type Note, type VerificationKey } from "./note.ts";
import { decodeBase64, encodeBase64, parseDecimal } from "./text.ts";

export interface Checkpoint {
  readonly origin: string; // also the ledger's key name
  readonly size: number;
  readonly root: Bytes;
}

/** A checkpoint with its signature lines and the bytes as they were received. */
export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: Note;
  readonly raw: Bytes;
}

export function checkpointText(checkpoint: Checkpoint): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${encodeBase64(checkpoint.root)}\n`;
}

export function parseCheckpointText(text: string): Checkpoint {
  const lines = text.split("\n");
  if (lines.length !== 4 || lines[3]) throw new MalformedError("a checkpoint has three lines");
  checkName(lines[0]!);
  return { origin: lines[0]!, size: parseDecimal(lines[1]!), root: decodeBase64(lines[2]!, HASH_BYTES) };
}

/** The checkpoint of a signed note, no signature verified. */
export function parseCheckpoint(raw: Bytes): SignedCheckpoint {
  const note = parseNote(raw);
  return { checkpoint: parseCheckpointText(note.text), note, raw };
}

/** The checkpoint of a signed note, verified under the log's key, whose name is the origin. */
export async function openCheckpoint(raw: Bytes, key: VerificationKey): Promise<SignedCheckpoint> {
  const signed = parseCheckpoint(raw);
  if (signed.checkpoint.origin !== key.name) throw new UnknownKeyError("checkpoint of another log");
  await verifyNote(signed.note, [key]);
  return signed;
}
