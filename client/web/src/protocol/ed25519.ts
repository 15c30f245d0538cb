// Ed25519 (RFC 8032) by WebCrypto; where a browser lacks it, by what setFallback has named.
//
// Two kinds of checks: keys of manifests, notes and policies must not be of small order; what a revision is
// signed with, which strangers choose, must besides be free of torsion (strict.ts).
import { littleEndian, type Bytes } from "./bytes.ts";
import { MalformedError, SignatureError } from "./errors.ts";
import { checkOnce } from "./passed.ts";

export const KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n; // L of RFC 8032, Section 5.1

/** What stands in for WebCrypto's Ed25519. */
export interface Ed25519 {
  /** Without the cofactor: the encoding of S·B − k·A is R byte for byte. */
  verify(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  sign(seed: Uint8Array, message: Uint8Array): Uint8Array;
  publicKey(seed: Uint8Array): Uint8Array;
}

let load: (() => Promise<Ed25519>) | undefined;
let hasNative: Promise<boolean> | undefined;

/** Names the fallback, a chunk of its own that is fetched only where it is needed; pages call this first. */
export function setFallback(loader: () => Promise<Ed25519>): void {
  load = loader;
}

/** Whether this browser can verify at all. */
export async function isAvailable(): Promise<boolean> {
  return load !== undefined || (await isNative());
}

function isNative(): Promise<boolean> {
  // A known answer, RFC 8032, Section 7.1, TEST 1: some engines know the name and refuse the use.
  hasNative ??= (async () => {
    try {
      const key = Uint8Array.from(atob("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), (c) => c.charCodeAt(0));
      const signature = Uint8Array.from(
        atob("5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="),
        (c) => c.charCodeAt(0),
      );
      const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
      return await crypto.subtle.verify("Ed25519", imported, signature, new Uint8Array(0));
    } catch {
      return false;
    }
  })();
  return hasNative;
}

async function fallback(): Promise<Ed25519> {
  if (!load) throw new SignatureError("this browser cannot verify Ed25519 signatures");
  return load();
}

/**
 * Refuses a public key under which a signature would not bind one message: RFC 8032, Section 5.1.3, without the
 * points of order 1, 2, 4 and 8.
 */
export function checkPublicKey(key: Bytes): Bytes {
  if (key.length !== KEY_BYTES) throw new MalformedError("an Ed25519 key has 32 bytes");
  checkOnce("ed25519", key, () => checkPoint(key));
  return key;
}

function checkPoint(key: Bytes): void {
  const y = littleEndian(key) & ((1n << 255n) - 1n);
  if (y >= P) throw new MalformedError("non-canonical Ed25519 key");
  // x^2 = u / v, and v is never 0: 121665 / 121666 is not a square. Nothing is divided: u v is a square where u / v is.
  const yy = mod(y * y);
  const u = mod(121666n * (yy - 1n));
  const v = mod(121666n - 121665n * yy);
  // Order 1 and 2 have x = 0, order 4 has y = 0; order 8 doubles to y = 0, which is x^2 = -y^2.
  if (u === 0n || yy === 0n || mod(u + yy * v) === 0n) throw new MalformedError("Ed25519 key of small order");
  if (power(u * v, (P - 1n) / 2n) !== 1n) throw new MalformedError("Ed25519 key is not on the curve");
}

function mod(value: bigint): bigint {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let b = mod(base), e = exponent; e; e >>= 1n, b = mod(b * b)) if (e & 1n) result = mod(result * b);
  return result;
}

const SMALL_ORDER_U = [
  0n,
  1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
  P - 1n,
];

/** The key, if it is an X25519 key with which a secret can be agreed. RFC 7748, Section 6.1. */
export function checkAgreementKey(key: Bytes): Bytes {
  if (key.length !== KEY_BYTES) throw new MalformedError(`${key.length} bytes where an X25519 key has 32`);
  const u = littleEndian(key);
  if (u >= P) throw new MalformedError("non-canonical X25519 key");
  if (SMALL_ORDER_U.includes(u)) throw new MalformedError("X25519 key of small order");
  return key;
}

/** Checks a signature under a key that checkPublicKey has passed; throws SignatureError. */
export async function verify(key: Bytes, message: Bytes, signature: Bytes, text?: string): Promise<void> {
  if (!(await isValid(key, message, signature))) {
    throw new SignatureError(text ?? "Ed25519 signature does not verify");
  }
}

async function isValid(key: Bytes, message: Bytes, signature: Bytes): Promise<boolean> {
  if (signature.length !== SIGNATURE_BYTES || littleEndian(signature.subarray(32)) >= ORDER) return false;
  if (!(await isNative())) return (await fallback()).verify(key, message, signature);
  try {
    const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", imported, signature, message);
  } catch {
    return false;
  }
}

// RFC 8410, Section 7: PKCS #8 around a seed of 32 bytes.
const PKCS8_HEAD = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32];

async function privateKey(seed: Bytes, extractable = false): Promise<CryptoKey> {
  const encoded = Uint8Array.from([...PKCS8_HEAD, ...seed]);
  return crypto.subtle.importKey("pkcs8", encoded, "Ed25519", extractable, ["sign"]);
}

/** The public key of a 32-byte private seed. RFC 8032, Section 5.1.5. */
export async function publicKey(seed: Bytes): Promise<Bytes> {
  if (!(await isNative())) return Uint8Array.from((await fallback()).publicKey(seed));
  const jwk = await crypto.subtle.exportKey("jwk", await privateKey(seed, true));
  const text = jwk.x!.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** The 64-byte signature by a 32-byte private seed. */
export async function sign(seed: Bytes, message: Bytes): Promise<Bytes> {
  if (!(await isNative())) return Uint8Array.from((await fallback()).sign(seed, message));
  return new Uint8Array(await crypto.subtle.sign("Ed25519", await privateKey(seed), message));
}
