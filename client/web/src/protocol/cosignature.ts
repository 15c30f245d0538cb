// What witnesses sign over a checkpoint, c2sp.org/tlog-cosignature: Ed25519 (type 0x04) and ML-DSA-44 (0x06).
import { concat, utf8, type Bytes } from "./bytes.ts";
import { checkpointText, type Checkpoint } from "./checkpoint.ts";
import { SignatureError } from "./errors.ts";
import { MLDSA44, sameKey, verifyEd25519, type NoteSignature, type VerificationKey } from "./note.ts";
import { Reader, opaque8, u64 } from "./wire.ts";

type Mldsa = (key: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;
let loadMldsa: (() => Promise<Mldsa>) | undefined;

/** Names the ML-DSA-44 verifier, a chunk of its own; without it such a cosignature does not verify here. */
export function setMldsa(loader: () => Promise<Mldsa>): void {
  loadMldsa = loader;
}

function cosignedMessage(checkpoint: Checkpoint, key: VerificationKey, time: number): Bytes {
  if (key.type !== MLDSA44) return utf8(`cosignature/v1\ntime ${time}\n${checkpointText(checkpoint)}`);
  // tlog-cosignature, "ML-DSA-44 signed message": label, cosigner, timestamp, log, start, end, hash.
  return concat(
    utf8("subtree/v1\n\0"),
    opaque8(utf8(key.name)),
    u64(time),
    opaque8(utf8(checkpoint.origin)),
    u64(0),
    u64(checkpoint.size),
    checkpoint.root,
  );
}

/** Checks a cosignature of this checkpoint by this witness; the time in it, in seconds since 1970. */
export async function verifyCosignature(
  checkpoint: Checkpoint, signature: NoteSignature, key: VerificationKey,
): Promise<number> {
  if (!sameKey(signature, key)) throw new SignatureError("cosignature of another key");
  if (signature.signature.length !== 8 + (key.type === MLDSA44 ? 2420 : 64)) {
    throw new SignatureError(`cosignature of ${key.name} has another length`);
  }
  const reader = new Reader(signature.signature);
  const time = reader.u64();
  if (time < 1 || !Number.isSafeInteger(time)) throw new SignatureError(`cosignature of ${key.name} has no time`);
  // Names above 255 bytes do not fit the ML-DSA-44 message.
  if (Math.max(utf8(key.name).length, utf8(checkpoint.origin).length) > 255) {
    throw new SignatureError("name too long for a cosignature");
  }
  const message = cosignedMessage(checkpoint, key, time);
  const value = reader.take(reader.left);
  if (key.type !== MLDSA44) await verifyEd25519(key, message, value);
  else if (!loadMldsa || !(await loadMldsa())(key.publicKey, message, value)) {
    throw new SignatureError(`cosignature of ${key.name} does not verify here`);
  }
  return time;
}
