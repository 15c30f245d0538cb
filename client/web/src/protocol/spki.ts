// Token keys as SubjectPublicKeyInfo in the RSASSA-PSS form of RFC 9578, Section 6.5.
//
// With n of exactly 2048 bits and e = 65537 that form has one layout, so it is compared as bytes.
import type { PublicKey } from "./blind_rsa.ts";
import { concat, equal, fromBigInt, fromHex, toBigInt, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { checkOnce } from "./passed.ts";
import { sha256 } from "./sha256.ts";

export const MODULUS_BYTES = 256;
const EXPONENT = 65537n;
const HEAD = fromHex(
  "30820152303d06092a864886f70d01010a3030a00d300b0609608648016503040202" +
    "a11a301806092a864886f70d010108300b0609608648016503040202a2030201300382010f003082010a0282010100",
);
const TAIL = fromHex("0203010001");
export const SPKI_BYTES = HEAD.length + MODULUS_BYTES + TAIL.length; // 342
const SMALL = 2000; // a modulus with a factor below this is nobody's honest key

export function encodeTokenKey(key: PublicKey): Bytes {
  return concat(HEAD, fromBigInt(key.n, MODULUS_BYTES), TAIL);
}

/** The key of a byte-exact RSASSA-PSS SubjectPublicKeyInfo (SHA-384, MGF1-SHA384, salt 48). */
export function decodeTokenKey(data: Bytes): PublicKey {
  const end = HEAD.length + MODULUS_BYTES;
  const isOurs =
    data.length === SPKI_BYTES && equal(data.subarray(0, HEAD.length), HEAD) && equal(data.subarray(end), TAIL);
  if (!isOurs) throw new MalformedError("not an RSASSA-PSS SHA-384 token key of 2048 bits with e = 65537");
  const modulus = data.subarray(HEAD.length, end);
  if (modulus[0]! < 0x80) throw new MalformedError("the modulus of the token key has not 2048 bits");
  const n = toBigInt(modulus);
  checkOnce("modulus", modulus, () => checkModulus(n));
  return { n, e: EXPONENT };
}

/** SHA-256 of the encoded token key. */
export function tokenKeyId(spki: Uint8Array): Bytes {
  return sha256(spki);
}

function checkModulus(n: bigint): void {
  // A key whose factors anybody finds lets anybody sign. This catches the plain cases
  // (a prime n passes Fermat's test); it cannot show that the two factors are good.
  let hasSmall = false;
  for (let p = 2n; p < SMALL; p++) if (n % p === 0n) hasSmall = true;
  if (hasSmall || powerOfTwo(n - 1n, n) === 1n || isSquare(n)) {
    throw new MalformedError("the modulus of the token key is not a product of two large primes");
  }
}

/** 2^exponent modulo n: from the highest bit on, where doubling is a shift. */
function powerOfTwo(exponent: bigint, n: bigint): bigint {
  let x = 1n;
  for (const bit of exponent.toString(2)) {
    x = (x * x) % n;
    if (bit === "1" && (x <<= 1n) >= n) x -= n;
  }
  return x;
}

function isSquare(n: bigint): boolean {
  let x = 1n << 1024n; // above the root; Newton's steps fall to it
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x * x === n;
    x = next;
  }
}
