// Shamir's secret sharing over GF(2^8), byte by byte. A. Shamir, How to share a secret, 1979.
//
// The field is that of AES (FIPS 197, Section 4.2); the secret is the constant term, share i the polynomial at x = i.
// Only x-coordinates, which are public, choose a branch: no byte of a secret does, and none is a place in a table.
//
// Shares are not checked here, and t - 1 of them with a false one give a false secret: sealed has a commitment.
import type { Bytes } from "./bytes.ts";

export const MAX_SHARES = 255; // x is a byte, and 0 is the secret's own place

/** Shares 1 to n, any coefficients.length + 1 of which give the secret back; coefficients are random, that of x first. */
export function split(secret: Bytes, coefficients: readonly Bytes[], n: number): Bytes[] {
  if (coefficients.length >= n || n > MAX_SHARES) throw new RangeError("too many or too few shares");
  if (coefficients.some((item) => item.length !== secret.length)) throw new RangeError("coefficients of other lengths");
  const highestFirst = [...[...coefficients].reverse(), secret];
  return Array.from({ length: n }, (_, i) => {
    let value: Bytes = new Uint8Array(secret.length);
    for (const coefficient of highestFirst) value = add(multiply(value, i + 1), coefficient); // Horner
    return value;
  });
}

/** The constant term of the polynomial through these shares, by x; exactly as many as the polynomial needs. */
export function combine(shares: ReadonlyMap<number, Bytes>): Bytes {
  const xs = [...shares.keys()];
  const [first] = shares.values();
  if (!first || !xs.every((x) => Number.isInteger(x) && x >= 1 && x <= MAX_SHARES)) throw new RangeError("no such shares");
  if ([...shares.values()].some((share) => share.length !== first.length)) throw new RangeError("shares of other lengths");
  let secret: Bytes = new Uint8Array(first.length);
  for (const [x, share] of shares) secret = add(secret, multiply(share, weight(x, xs)));
  return secret;
}

/** By what the share at x is multiplied to get the polynomial at 0: Lagrange's interpolation. */
function weight(x: number, xs: readonly number[]): number {
  let numerator = 1;
  let denominator = 1;
  for (const other of xs) {
    if (other === x) continue;
    numerator = multiplyByte(numerator, other);
    denominator = multiplyByte(denominator, other ^ x);
  }
  return multiplyByte(numerator, inverse(denominator));
}

/** Every byte of data times one public byte. FIPS 197, Section 4.2.1. */
function multiply(data: Bytes, factor: number): Bytes {
  return data.map((byte) => multiplyByte(byte, factor));
}

/** FIPS 197, Section 4.2.1; only factor, which is public, chooses branches. */
function multiplyByte(byte: number, factor: number): number {
  let product = 0;
  for (let value = byte, rest = factor; rest; rest >>= 1) {
    if (rest & 1) product ^= value;
    value = ((value << 1) & 0xff) ^ (0x1b & -(value >> 7)); // times x, reduced by the field's polynomial
  }
  return product;
}

/** factor^254: the multiplicative group has 255 elements. */
function inverse(factor: number): number {
  let result = 1;
  for (let i = 0, square = factor; i < 7; i++) {
    square = multiplyByte(square, square);
    result = multiplyByte(result, square);
  }
  return result;
}

function add(one: Bytes, other: Bytes): Bytes {
  return one.map((byte, i) => byte ^ other[i]!);
}
