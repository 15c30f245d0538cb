// HPKE, RFC 9180, in base mode and one message each: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, without
// additional data. A box is the encapsulated key (32 bytes), then the ciphertext.
//
// The key schedule hashes a few hundred bytes, for which WebCrypto's promises take longer than the hashing.
import { agree, agreementKey } from "./agreement.ts";
import { concat, utf8, type Bytes } from "./bytes.ts";
import { checkAgreementKey } from "./ed25519.ts";
import { MalformedError, OpeningError } from "./errors.ts";
import { sha256 } from "./sha256.ts";
import { u16 } from "./wire.ts";

export const OVERHEAD_BYTES = 32 + 16; // encapsulated key and tag

/** A box for a public key under an info; draws the ephemeral key. */
export type HpkeSeal = (publicKey: Bytes, info: Bytes, plaintext: Bytes) => Promise<Bytes>;

const NOTHING: Bytes = new Uint8Array(0);
const VERSION = utf8("HPKE-v1");
const KEM = concat(utf8("KEM"), u16(0x0020));
const HPKE = concat(utf8("HPKE"), u16(0x0020), u16(0x0001), u16(0x0001));

/** A box that only the holder of the private half opens, by a fresh ephemeral key. Section 6.1: SealBase. */
export async function sealBox(publicKey: Bytes, info: Bytes, plaintext: Bytes, ephemeral: Bytes): Promise<Bytes> {
  const [enc, secret] = await Promise.all([
    agreementKey(ephemeral), agree(ephemeral, checkAgreementKey(publicKey)),
  ]);
  const { key, iv } = await schedule(secret, enc, publicKey, info, "encrypt");
  return concat(enc, new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plaintext)));
}

/** The plaintext of a box. Section 6.1: OpenBase. Throws OpeningError: of another key or info, or changed. */
export async function openBox(privateKey: Bytes, info: Bytes, box: Bytes): Promise<Bytes> {
  if (box.length < OVERHEAD_BYTES) throw new OpeningError("the box is too short");
  const enc = box.slice(0, 32);
  const [publicKey, secret] = await Promise.all([agreementKey(privateKey), agree(privateKey, enc)]);
  const { key, iv } = await schedule(secret, enc, publicKey, info, "decrypt");
  return openAead(key, { name: "AES-GCM", iv }, box.slice(32), "the box is of another key or context, or was changed");
}

/** What AES-GCM was given; throws OpeningError with this text where the tag is wrong. */
export async function openAead(key: CryptoKey, how: AesGcmParams, ciphertext: Bytes, text: string): Promise<Bytes> {
  try {
    return new Uint8Array(await crypto.subtle.decrypt(how, key, ciphertext));
  } catch (error) {
    if (error instanceof DOMException && error.name === "OperationError") throw new OpeningError(text);
    throw error;
  }
}

/** Sections 4.1 (shared secret) and 5.1 (key schedule), mode_base with empty psk. */
async function schedule(
  dh: Bytes, enc: Bytes, publicKey: Bytes, info: Bytes, use: "encrypt" | "decrypt",
): Promise<{ key: CryptoKey; iv: Bytes }> {
  const eae = extract(KEM, NOTHING, "eae_prk", dh);
  const secret = expand(KEM, eae, "shared_secret", concat(enc, publicKey), 32);
  const context = concat(
    Uint8Array.of(0), extract(HPKE, NOTHING, "psk_id_hash", NOTHING), extract(HPKE, NOTHING, "info_hash", info),
  );
  const prk = extract(HPKE, secret, "secret", NOTHING);
  const key = expand(HPKE, prk, "key", context, 16);
  const iv = expand(HPKE, prk, "base_nonce", context, 12);
  return { key: await crypto.subtle.importKey("raw", key, "AES-GCM", false, [use]), iv };
}

/** LabeledExtract, Section 4. */
function extract(suite: Bytes, salt: Bytes, label: string, ikm: Bytes): Bytes {
  return hmac(salt, concat(VERSION, suite, utf8(label), ikm));
}

/** LabeledExpand, Section 4, for at most one block of HKDF-Expand. */
function expand(suite: Bytes, prk: Bytes, label: string, info: Bytes, size: number): Bytes {
  if (size > 32) throw new MalformedError("more than one block of HKDF");
  return hmac(prk, concat(u16(size), VERSION, suite, utf8(label), info, Uint8Array.of(1))).slice(0, size);
}

/** HMAC-SHA-256, RFC 2104, with a key of at most 64 bytes. */
function hmac(key: Bytes, data: Bytes): Bytes {
  const padded = new Uint8Array(64);
  padded.set(key);
  const inner = sha256(concat(padded.map((byte) => byte ^ 0x36), data));
  return sha256(concat(padded.map((byte) => byte ^ 0x5c), inner));
}
