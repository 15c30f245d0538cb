// Blind RSA signatures, RFC 9474 (RSABSSA-SHA384-PSS-Deterministic): the client's half, by BigInt and WebCrypto.
//
// The salt and the blind are arguments. BigInt does not compute in constant time: blinding runs in the signer's own
// page, once for each issuer.
import { concat, equal, fromBigInt, toBigInt, type Bytes } from "./bytes.ts";
import { MalformedError, SignatureError } from "./errors.ts";
import { encodeBase64url } from "./text.ts";
import { u32 } from "./wire.ts";

export const SALT_BYTES = 48; // RFC 9474, Section 5: sLen of the PSS variants
const HASH_BYTES = 48; // SHA-384

export interface PublicKey {
  readonly n: bigint;
  readonly e: bigint;
}

export type Diagnosis = "valid" | "other-message" | "foreign";

async function sha384(data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-384", data));
}

/** RFC 8017, Appendix B.2.1. */
async function mgf1(seed: Bytes, size: number): Promise<Bytes> {
  const blocks: Bytes[] = [];
  for (let i = 0; i * HASH_BYTES < size; i++) blocks.push(await sha384(concat(seed, u32(i))));
  return concat(...blocks).slice(0, size);
}

function bitLength(n: bigint): number {
  return n.toString(2).length;
}

export function modulusBytes(key: PublicKey): number {
  return Math.ceil(bitLength(key.n) / 8);
}

/** RFC 8017, Section 9.1.1. EMSA-PSS-ENCODE with SHA-384 and MGF1-SHA384. */
export async function encode(key: PublicKey, msg: Bytes, salt: Bytes): Promise<Bytes> {
  const emBits = bitLength(key.n) - 1;
  const emBytes = Math.ceil(emBits / 8);
  if (emBytes < HASH_BYTES + salt.length + 2) throw new RangeError("the modulus is too small for this salt"); // 3.
  const h = await sha384(concat(new Uint8Array(8), await sha384(msg), salt)); // 2-6.
  const db = concat(new Uint8Array(emBytes - salt.length - HASH_BYTES - 2), Uint8Array.of(1), salt); // 7-8.
  const mask = await mgf1(h, db.length);
  for (let i = 0; i < db.length; i++) db[i] = db[i]! ^ mask[i]!; // 9-10.
  db[0] = db[0]! & (0xff >> (8 * emBytes - emBits)); // 11.
  return concat(db, h, Uint8Array.of(0xbc)); // 12.
}

export function power(base: bigint, exponent: bigint, n: bigint): bigint {
  let result = 1n;
  for (let b = base % n, e = exponent; e; e >>= 1n, b = (b * b) % n) if (e & 1n) result = (result * b) % n;
  return result;
}

/** The inverse modulo n, undefined if there is a common factor. */
function inverse(value: bigint, n: bigint): bigint | undefined {
  let [r0, r1, t0, t1] = [n, value % n, 0n, 1n];
  while (r1) {
    const q = r0 / r1;
    [r0, r1] = [r1, r0 - q * r1];
    [t0, t1] = [t1, t0 - q * t1];
  }
  return r0 === 1n ? (t0 < 0n ? t0 + n : t0) : undefined;
}

/** The blinded message for the issuer, and the inverse that finalize needs. RFC 9474, Section 4.2. Blind. */
export async function blind(
  key: PublicKey, msg: Bytes, salt: Bytes, r: bigint,
): Promise<{ blindedMsg: Bytes; inv: bigint }> {
  const m = toBigInt(await encode(key, msg, salt)); // 1-2.
  // 3-6. One inversion for both: m r has an inverse exactly if m and r have, and r^-1 is m times that.
  const both = r > 0n && r < key.n ? inverse(m * r, key.n) : undefined;
  if (both === undefined) {
    const what = inverse(m, key.n) === undefined ? "the message cannot be blinded" : "the blind has no inverse";
    throw new MalformedError(`${what} under this key`);
  }
  const inv = (both * m) % key.n;
  const z = (m * power(r, key.e, key.n)) % key.n; // 7-8.
  return { blindedMsg: fromBigInt(z, modulusBytes(key)), inv }; // 9.
}

/** The signature, after it has been verified. RFC 9474, Section 4.4. Finalize. */
export async function finalize(key: PublicKey, msg: Bytes, blindSig: Bytes, inv: bigint): Promise<Bytes> {
  if (blindSig.length !== modulusBytes(key)) {
    throw new MalformedError("the blind signature has another length than the key"); // 1.
  }
  const sig = fromBigInt((toBigInt(blindSig) * inv) % key.n, modulusBytes(key)); // 2-4.
  await verify(key, msg, sig); // 5.
  return sig;
}

/** A key for WebCrypto. It takes no SubjectPublicKeyInfo of id-RSASSA-PSS, so the key goes in as JWK. */
export async function importKey(key: PublicKey): Promise<CryptoKey> {
  const number = (value: bigint, size: number): string =>
    encodeBase64url(fromBigInt(value, size)).replace(/=+$/, "");
  const jwk = { kty: "RSA", n: number(key.n, modulusBytes(key)), e: number(key.e, 3), alg: "PS384", ext: true };
  return crypto.subtle.importKey("jwk", jwk, { name: "RSA-PSS", hash: "SHA-384" }, false, ["verify"]);
}

const PSS = { name: "RSA-PSS", saltLength: SALT_BYTES };

/** Whether sig is a signature on this message, with exactly this salt length. RFC 8017, Section 8.1.2. */
export function isSignature(imported: CryptoKey, msg: Bytes, sig: Bytes): Promise<boolean> {
  // An engine refuses another length than n's and a number not below n; the tests ask.
  return crypto.subtle.verify(PSS, imported, sig, msg);
}

/** Throws SignatureError. */
export async function verify(key: PublicKey, msg: Bytes, sig: Bytes): Promise<void> {
  const isSound = sig.length === modulusBytes(key) && toBigInt(sig) < key.n;
  if (!isSound || !(await isSignature(await importKey(key), msg, sig))) {
    throw new SignatureError("the signature does not verify");
  }
}

/**
 * Why a signature does not verify, so that an audit can name the fault: the owner of this key signed something else
 * (the EMSA-PSS structure with its 48-byte salt is intact), or another key made it.
 */
export async function diagnose(key: PublicKey, msg: Bytes, sig: Bytes): Promise<Diagnosis> {
  const s = toBigInt(sig);
  if (sig.length !== modulusBytes(key) || s >= key.n) return "foreign";
  const emBits = bitLength(key.n) - 1;
  const emBytes = Math.ceil(emBits / 8);
  const opened = power(s, key.e, key.n);
  if (opened >> BigInt(emBits)) return "foreign";
  const em = fromBigInt(opened, emBytes);
  const dbBytes = emBytes - HASH_BYTES - 1;
  if (em[emBytes - 1] !== 0xbc) return "foreign";
  const h = em.slice(dbBytes, emBytes - 1);
  const db = em.slice(0, dbBytes);
  const mask = await mgf1(h, dbBytes);
  for (let i = 0; i < dbBytes; i++) db[i] = db[i]! ^ mask[i]!;
  db[0] = db[0]! & (0xff >> (8 * emBytes - emBits));
  const padding = dbBytes - SALT_BYTES - 1;
  if (db.subarray(0, padding).some((byte) => byte !== 0) || db[padding] !== 1) return "foreign";
  const made = await sha384(concat(new Uint8Array(8), await sha384(msg), db.slice(padding + 1)));
  return equal(made, h) ? "valid" : "other-message";
}
