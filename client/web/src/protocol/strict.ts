// Ed25519 with the checks that make every implementation agree, and the fallback for browsers without it or X25519.
//
// A chunk of its own: @noble/curves is fetched only for a revision, or where WebCrypto has not both.
import type { X25519 } from "./agreement.ts";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concat, equal, littleEndian, type Bytes } from "./bytes.ts";
import { verify as verifyPlain, type Ed25519 } from "./ed25519.ts";
import { MalformedError, SignatureError } from "./errors.ts";

const { Point } = ed25519;

function isValidPoint(encoded: Uint8Array): boolean {
  try {
    const point = Point.fromBytes(encoded, false); // not ZIP 215: canonical encodings only
    return !point.is0() && point.isTorsionFree();
  } catch {
    return false;
  }
}

/** Refuses a revision key: not canonical, not a point, of small or mixed order, the identity. */
export function checkRevisionKey(key: Uint8Array): void {
  if (key.length !== 32 || !isValidPoint(key)) throw new MalformedError("not a canonical, torsion-free Ed25519 key");
}

/** Checks a revision's signature. RFC 8032, Section 5.1.7; key and R canonical and torsion-free, S below the order. */
export async function verifyStrict(key: Bytes, message: Bytes, signature: Bytes): Promise<void> {
  const isSound =
    signature.length === 64 && key.length === 32 && isValidPoint(signature.subarray(0, 32)) && isValidPoint(key);
  if (!isSound) throw new SignatureError("the signature does not verify");
  await verifyPlain(key, message, signature, "the signature does not verify");
}

/** Without WebCrypto. The equation is the one without the cofactor, which noble's own verify does not ask. */
export const noble: Ed25519 = {
  verify(key, message, signature) {
    try {
      const r = signature.subarray(0, 32);
      const s = littleEndian(signature.subarray(32));
      if (s >= Point.Fn.ORDER) return false;
      const a = Point.fromBytes(key, false);
      const k = ed25519Hash(r, key, message);
      const sB = s === 0n ? Point.ZERO : Point.BASE.multiplyUnsafe(s);
      const kA = k === 0n ? Point.ZERO : a.multiplyUnsafe(k);
      return equal(sB.subtract(kA).toBytes(), r);
    } catch {
      return false;
    }
  },
  sign: (seed, message) => ed25519.sign(message, seed),
  publicKey: (seed) => ed25519.getPublicKey(seed),
};

export const nobleAgreement: X25519 = {
  publicKey: (key) => x25519.getPublicKey(key),
  agree: (key, other) => x25519.getSharedSecret(key, other),
};

function ed25519Hash(r: Uint8Array, key: Uint8Array, message: Uint8Array): bigint {
  return littleEndian(sha512(concat(r, key, message))) % Point.Fn.ORDER;
}
