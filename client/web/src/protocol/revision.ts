// Revisions: the holder of a pledge's revision key changes or withdraws it.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { Reader, u16, u32 } from "./wire.ts";

export const MAX_SERIAL = 16; // a pledge has serial 0, each revision one more
const HEADER = Uint8Array.of(3, 1);
const DOMAIN = utf8("headcount/revision/v1\0");

export interface Revision {
  readonly kind: "revision";
  readonly scopeId: Bytes;
  readonly nullifier: Bytes;
  readonly serial: number; // 1 to MAX_SERIAL
  readonly choice: number; // as a pledge's, or WITHDRAWN
  readonly sealedHash: Bytes; // zeros for none
  readonly signature: Bytes; // Ed25519
}

/** What the revision key signs. Protocol, Section 3.6. */
export function revisionMessage(revision: Omit<Revision, "kind" | "signature">): Bytes {
  const { scopeId, nullifier, serial, choice, sealedHash } = revision;
  return concat(DOMAIN, scopeId, nullifier, u32(serial), u16(choice), sealedHash);
}

export function encodeRevision(revision: Revision): Bytes {
  return concat(HEADER, revisionMessage(revision).subarray(DOMAIN.length), revision.signature);
}

export function parseRevision(data: Uint8Array): Revision {
  const reader = new Reader(data);
  reader.expect(HEADER, "entry type or version");
  const revision: Revision = {
    kind: "revision",
    scopeId: reader.take(32),
    nullifier: reader.take(32),
    serial: reader.u32(),
    choice: reader.u16(),
    sealedHash: reader.take(32),
    signature: reader.take(64),
  };
  reader.finish();
  if (revision.serial < 1 || revision.serial > MAX_SERIAL) throw new MalformedError(`serial outside 1 to ${MAX_SERIAL}`);
  return revision;
}
