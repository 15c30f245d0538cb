// Promises: the ledger's signature that an accepted entry will be published by a day.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { verify } from "./ed25519.ts";
import { MalformedError } from "./errors.ts";
import type { VerificationKey } from "./note.ts";
import { MAX_SERIAL } from "./revision.ts";
import { Reader, u32, u8 } from "./wire.ts";

export const PROMISE_BYTES = 137;
export const PROMISE_TYPE = "application/vnd.headcount.promise";
export const KIND_PLEDGE = 1;
export const KIND_REVISION = 3;
const DOMAIN = utf8("headcount/promise/v1\0");

export interface LedgerPromise {
  readonly leafHash: Bytes;
  readonly kind: number;
  readonly nullifier: Bytes;
  readonly serial: number; // 0 for a pledge
  readonly deadline: number; // UTC day; published by its end
  readonly signature: Bytes;
}

export function parsePromise(data: Uint8Array): LedgerPromise {
  const reader = new Reader(data);
  const promise = {
    leafHash: reader.take(32),
    kind: reader.u8(),
    nullifier: reader.take(32),
    serial: reader.u32(),
    deadline: reader.u32(),
    signature: reader.take(64),
  };
  reader.finish();
  const { kind, serial } = promise;
  if (kind !== KIND_PLEDGE && kind !== KIND_REVISION) throw new MalformedError("a promise for another kind of entry");
  if (kind === KIND_PLEDGE ? serial !== 0 : serial < 1 || serial > MAX_SERIAL) {
    throw new MalformedError("the serial does not fit the kind of entry");
  }
  return promise;
}

function fields(promise: LedgerPromise): Bytes {
  const { leafHash, kind, nullifier, serial, deadline } = promise;
  return concat(leafHash, u8(kind), nullifier, u32(serial), u32(deadline));
}

export function encodePromise(promise: LedgerPromise): Bytes {
  return concat(fields(promise), promise.signature);
}

/** Checks that the ledger with this key made the promise; throws SignatureError. */
export async function verifyPromise(promise: LedgerPromise, key: VerificationKey): Promise<void> {
  await verify(key.publicKey, concat(DOMAIN, fields(promise)), promise.signature);
}
