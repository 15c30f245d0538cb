// Pledges: what the issuers sign blindly, and the ledger entry that carries it.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { sha256 } from "./sha256.ts";
import { Reader, u16, u8 } from "./wire.ts";

// Values of a choice that are no option's number.
export const PLAIN = 0; // a pledge without options
export const SEALED = 0xfffe; // sealed until the scope closes
export const WITHDRAWN = 0xffff; // only in a revision

export const AUTHENTICATOR_BYTES = 256;
export const MAX_ISSUERS = 8;
export const NO_SEALED_HASH: Bytes = new Uint8Array(32);
const HEADER = Uint8Array.of(1, 1); // entry type, version
const DOMAIN = utf8("headcount/pledge/v1\0");

export interface Pledge {
  readonly kind: "pledge";
  readonly scopeId: Bytes;
  readonly choice: number;
  readonly revisionKey: Bytes;
  readonly sealedHash: Bytes; // zeros for none
  readonly authenticators: readonly Bytes[]; // 1 to 8 of 256 bytes
  readonly nullifier: Bytes; // the nonce of the tokens
}

/** The nonce of the token that carries this pledge, which is also its nullifier. Protocol, Section 3.1. */
export function nonce(scopeId: Uint8Array, choice: number, revisionKey: Uint8Array, sealedHash: Uint8Array): Bytes {
  return sha256(concat(DOMAIN, scopeId, u16(choice), revisionKey, sealedHash));
}

export function makePledge(fields: Omit<Pledge, "kind" | "nullifier">): Pledge {
  const nullifier = nonce(fields.scopeId, fields.choice, fields.revisionKey, fields.sealedHash);
  return { kind: "pledge", ...fields, nullifier };
}

export function encodePledge(pledge: Pledge): Bytes {
  const { scopeId, choice, revisionKey, sealedHash, authenticators } = pledge;
  const n = u8(authenticators.length);
  return concat(HEADER, scopeId, u16(choice), revisionKey, sealedHash, n, ...authenticators);
}

/** Its fields are views of data; the nullifier is computed unless somebody who has computed it says it. */
export function parsePledge(data: Uint8Array, known?: Bytes): Pledge {
  const reader = new Reader(data);
  reader.expect(HEADER, "entry type or version");
  const scopeId = reader.view(32);
  const choice = reader.u16();
  const revisionKey = reader.view(32);
  const sealedHash = reader.view(32);
  const n = reader.u8();
  if (n < 1 || n > MAX_ISSUERS) throw new MalformedError(`${n} authenticators where 1 to ${MAX_ISSUERS} may be`);
  const authenticators: Bytes[] = [];
  while (authenticators.length < n) authenticators.push(reader.view(AUTHENTICATOR_BYTES));
  reader.finish();
  const nullifier = known ?? nonce(scopeId, choice, revisionKey, sealedHash);
  return { kind: "pledge", scopeId, choice, revisionKey, sealedHash, authenticators, nullifier };
}
