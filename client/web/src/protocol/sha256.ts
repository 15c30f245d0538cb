// SHA-256, FIPS 180-4, without promises: a tree is millions of short hashes, and WebCrypto takes
// longer to answer than to hash.
import type { Bytes } from "./bytes.ts";

const K = new Uint32Array(64);
const START = new Uint32Array(8);

// Section 4.2.2 and 5.3.3: the fractional parts of the roots of the first primes.
for (let candidate = 2, found = 0; found < 64; candidate++) {
  let isPrime = true;
  for (let i = 2; i * i <= candidate; i++) if (candidate % i === 0) isPrime = false;
  if (!isPrime) continue;
  if (found < 8) START[found] = fraction(candidate, 2);
  K[found++] = fraction(candidate, 3);
}

function fraction(prime: number, root: 2 | 3): number {
  // The integer root of prime · 2^(32·root), modulo 2^32: exact, where Math.cbrt is not.
  const target = BigInt(prime) << BigInt(32 * root);
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if ((root === 2 ? middle * middle : middle * middle * middle) <= target) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn);
}

const W = new Int32Array(64);
const state = new Int32Array(8);

function compress(data: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++, at += 4) {
    W[i] = (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
  }
  for (let i = 16; i < 64; i++) {
    const x = W[i - 15]!;
    const y = W[i - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    W[i] = (W[i - 16]! + s0 + W[i - 7]! + s1) | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + W[i]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
  state[4] = state[4]! + e;
  state[5] = state[5]! + f;
  state[6] = state[6]! + g;
  state[7] = state[7]! + h;
}

const tail = new Uint8Array(128);
const first = new Uint8Array(64);

/** The hash of a byte string, or of a short prefix (below 64 bytes) and further parts, 32 bytes. */
export function sha256(data: Uint8Array): Bytes {
  return digest(undefined, data);
}

/** The hash of one byte (a domain of RFC 6962) and a byte string behind it. */
export function sha256With(byte: number, data: Uint8Array): Bytes {
  return digest(byte, data);
}

function digest(byte: number | undefined, data: Uint8Array): Bytes {
  state.set(START);
  let at = 0;
  let size = data.length;
  let filled = 0; // of the last, unfinished block
  if (byte !== undefined) {
    size++;
    if (data.length >= 63) {
      first[0] = byte;
      first.set(data.subarray(0, 63), 1);
      compress(first, 0);
      at = 63;
    } else {
      tail[0] = byte;
      filled = 1;
    }
  }
  if (filled === 0) for (; at + 64 <= data.length; at += 64) compress(data, at);
  tail.set(data.subarray(at), filled);
  filled += data.length - at;
  tail[filled] = 0x80;
  const end = filled < 56 ? 64 : 128;
  tail.fill(0, filled + 1, end);
  const view = size * 8;
  const high = Math.floor(view / 0x100000000);
  for (let i = 0; i < 4; i++) {
    tail[end - 8 + i] = high >>> (24 - 8 * i);
    tail[end - 4 + i] = view >>> (24 - 8 * i);
  }
  compress(tail, 0);
  if (end === 128) compress(tail, 64);
  const hash = new Uint8Array(32);
  for (let i = 0; i < 8; i++) {
    const word = state[i]!;
    hash[4 * i] = word >>> 24;
    hash[4 * i + 1] = word >>> 16;
    hash[4 * i + 2] = word >>> 8;
    hash[4 * i + 3] = word;
  }
  return hash;
}
