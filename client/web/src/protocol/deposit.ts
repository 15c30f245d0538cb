// What a person hands to a contact store: a sealed blob, and later the wish to have it erased. Protocol, Section 9.6.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { PLAIN, nonce } from "./pledge.ts";
import { PROMISE_BYTES, encodePromise, parsePromise, type LedgerPromise } from "./promise.ts";
import { BOX_BYTES, HEAD_BYTES } from "./sealed.ts";
import { sha256 } from "./sha256.ts";
import { MAX_TRUSTEES } from "./terms.ts";
import { Reader } from "./wire.ts";

export const DEPOSIT_TYPE = "application/vnd.headcount.deposit";
export const ERASURE_TYPE = "application/vnd.headcount.erasure";
const VERSION = Uint8Array.of(1);
const ERASURE = utf8("headcount/erasure/v1\0");

/** A sealed contact with the ledger's promise for the entry that commits to it. */
export interface Deposit {
  readonly scopeId: Bytes;
  readonly revisionKey: Bytes;
  readonly promise: LedgerPromise;
  readonly blob: Bytes;
}

/** The holder's wish that a blob be forgotten. */
export interface Erasure {
  readonly scopeId: Bytes;
  readonly revisionKey: Bytes;
  readonly sealedHash: Bytes; // of the pledge in the contact scope
  readonly signature: Bytes; // by the revision key
}

export function encodeDeposit(deposit: Deposit): Bytes {
  return concat(VERSION, deposit.scopeId, deposit.revisionKey, encodePromise(deposit.promise), deposit.blob);
}

/** Whether the blob fits the scope is asked elsewhere. */
export function parseDeposit(data: Bytes): Deposit {
  const reader = new Reader(data);
  reader.expect(VERSION, "version");
  const [scopeId, revisionKey] = [reader.take(32), reader.take(32)];
  const promise = parsePromise(reader.take(PROMISE_BYTES));
  const n = (reader.left - HEAD_BYTES) / BOX_BYTES;
  if (!Number.isInteger(n) || n < 1 || n > MAX_TRUSTEES) throw new MalformedError("the blob has a size that no scope has");
  return { scopeId, revisionKey, promise, blob: reader.take(reader.left) };
}

/** That of the pledge in the contact scope, which has the hash of this blob. */
export function depositNullifier(deposit: Deposit): Bytes {
  return nonce(deposit.scopeId, PLAIN, deposit.revisionKey, sha256(deposit.blob));
}

export function encodeErasure(erasure: Erasure): Bytes {
  return concat(VERSION, erasure.scopeId, erasure.revisionKey, erasure.sealedHash, erasure.signature);
}

export function parseErasure(data: Bytes): Erasure {
  const reader = new Reader(data);
  reader.expect(VERSION, "version");
  const [scopeId, revisionKey, sealedHash] = [reader.take(32), reader.take(32), reader.take(32)];
  const erasure = { scopeId, revisionKey, sealedHash, signature: reader.take(64) };
  reader.finish();
  return erasure;
}

/** What the revision key signs to have a blob erased. */
export function erasureMessage(scopeId: Bytes, nullifier: Bytes): Bytes {
  return concat(ERASURE, scopeId, nullifier);
}
