// Seeds: everything a client draws at random, derived by HKDF-SHA-256 (RFC 5869) from 32 bytes that it saved first.
import { SALT_BYTES } from "./blind_rsa.ts";
import { concat, toBigInt, utf8, type Bytes } from "./bytes.ts";

export const SEED_BYTES = 32;
const WIDE_BYTES = 256 + 16; // 128 bits more than a modulus, so that the remainder is uniform to within 2^-128

/** The private seed of the revision key in a scope. */
export function revisionSeed(seed: Bytes, scopeId: Bytes): Promise<Bytes> {
  return derive(seed, "revision", scopeId, 32);
}

/** Salt and blind of the token request for a pledge to one issuer, 1 <= r < modulus. */
export async function blinding(
  seed: Bytes, nonce: Bytes, tokenKeyId: Bytes, modulus: bigint,
): Promise<{ salt: Bytes; r: bigint }> {
  const info = concat(nonce, tokenKeyId);
  const salt = await derive(seed, "salt", info, SALT_BYTES);
  const wide = await derive(seed, "blind", info, WIDE_BYTES);
  return { salt, r: 1n + (toBigInt(wide) % (modulus - 1n)) };
}

/**
 * The key of a sealed blob, and t - 1 coefficients of the polynomial that shares it, 32 bytes each; info is the context
 * and the hash of what the key is to cover.
 */
export async function sealing(seed: Bytes, info: Bytes, t: number): Promise<{ key: Bytes; coefficients: Bytes[] }> {
  const shares = t > 1 ? await derive(seed, "shares", info, 32 * (t - 1)) : new Uint8Array(0);
  const coefficients = Array.from({ length: t - 1 }, (_, i) => shares.slice(32 * i, 32 * i + 32));
  return { key: await derive(seed, "sealing", info, 32), coefficients };
}

async function derive(seed: Bytes, label: string, info: Bytes, size: number): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", seed, "HKDF", false, ["deriveBits"]);
  const full = concat(utf8(`headcount/seed/v1/${label}\0`), info);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: full };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, 8 * size));
}
