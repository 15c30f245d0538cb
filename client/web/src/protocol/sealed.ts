// Sealed contacts, format sealed/1: t of n trustees open the outer layer, the organiser the inner one.
//
// Protocol, Section 9.2. Every layer is bound to the scope and to the deposit's revision key, so a blob opens in no
// other scope and for no other entry; the commitment to K makes what opens open alike for everybody.
import { concat, equal, utf8, type Bytes } from "./bytes.ts";
import { CONTACT_BYTES, encodeContact, parseContact, type Contact } from "./contact.ts";
import { MalformedError, OpeningError, VerificationError } from "./errors.ts";
import { OVERHEAD_BYTES, openAead, openBox, type HpkeSeal } from "./hpke.ts";
import { sealing } from "./seed.ts";
import { sha256 } from "./sha256.ts";
import { combine, split } from "./shamir.ts";
import { Reader } from "./wire.ts";

const SUITE = 1; // of all layers; 2 is kept for X-Wing, whose boxes have another length
const SHARE_BYTES = 32 + 1; // y, then x: as the shares of others carry it
export const BOX_BYTES = SHARE_BYTES + OVERHEAD_BYTES; // 81
const BODY_BYTES = CONTACT_BYTES + OVERHEAD_BYTES + 16; // 320
export const HEAD_BYTES = 3 + 32 + BODY_BYTES; // 355
const IV = new Uint8Array(12); // K is used once

/** A sealed contact as it lies in the contact store. */
export interface Blob {
  readonly t: number;
  readonly commit: Bytes; // 32 bytes
  readonly body: Bytes; // 320 bytes
  readonly boxes: readonly Bytes[]; // n of 81 bytes, trustee i's at i - 1
}

export function blobBytes(n: number): number {
  return HEAD_BYTES + BOX_BYTES * n;
}

export function encodeBlob(blob: Blob): Bytes {
  return concat(Uint8Array.of(SUITE, blob.t, blob.boxes.length), blob.commit, blob.body, ...blob.boxes);
}

/** Reads a blob of a scope in which t of n trustees open; throws MalformedError. */
export function parseBlob(data: Bytes, t: number, n: number): Blob {
  const reader = new Reader(data);
  reader.expect(Uint8Array.of(SUITE), "suite");
  if (reader.u8() !== t || reader.u8() !== n) throw new MalformedError("the numbers of trustees are not the scope's");
  const [commit, body] = [reader.take(32), reader.take(BODY_BYTES)];
  const boxes = Array.from({ length: n }, () => reader.take(BOX_BYTES));
  reader.finish();
  return { t, commit, body, boxes };
}

/** What every layer is bound to, 64 bytes. */
export function sealingContext(scopeId: Bytes, revisionKey: Bytes): Bytes {
  return concat(scopeId, revisionKey);
}

/**
 * The blob of a contact for these X25519 keys, the trustees' in the manifest's order. K and the polynomial are derived
 * from the client's seed and the inner layer, so that no K ever covers two of them.
 */
export async function seal(
  contact: Contact, ctx: Bytes, organiserKey: Bytes, trusteeKeys: readonly Bytes[], t: number, seed: Bytes,
  sealBox: HpkeSeal,
): Promise<Bytes> {
  const inner = await sealBox(organiserKey, innerInfo(ctx), encodeContact(contact));
  const { key, coefficients } = await sealing(seed, concat(ctx, sha256(inner)), t);
  const commit = keyCommitment(ctx, key);
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  const body = new Uint8Array(await crypto.subtle.encrypt(bodyParams(ctx, commit), aes, inner));
  const bound = { commit, body };
  const boxes = await Promise.all(
    split(key, coefficients, trusteeKeys.length).map((share, i) =>
      sealBox(trusteeKeys[i]!, shareInfo(bound, ctx, i + 1), concat(share, Uint8Array.of(i + 1))),
    ),
  );
  return encodeBlob({ t, commit, body, boxes });
}

/** The share in the box of trustee i, from 1; 32 bytes. Throws OpeningError. */
export async function openShare(blob: Blob, ctx: Bytes, i: number, privateKey: Bytes): Promise<Bytes> {
  const share = await openBox(privateKey, shareInfo(blob, ctx, i), blob.boxes[i - 1]!);
  if (share.length !== SHARE_BYTES || share[SHARE_BYTES - 1] !== i) {
    throw new OpeningError("the box holds no share of this trustee");
  }
  return share.slice(0, -1);
}

/** The inner layer, by exactly t shares; 304 bytes. Throws OpeningError: they do not lead to the committed key. */
export async function openBody(blob: Blob, ctx: Bytes, shares: ReadonlyMap<number, Bytes>): Promise<Bytes> {
  if (shares.size !== blob.t) throw new OpeningError(`${shares.size} shares where ${blob.t} open`);
  const key = combine(shares);
  if (!equal(keyCommitment(ctx, key), blob.commit)) {
    throw new OpeningError("the shares lead to another key than the blob is committed to");
  }
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const text = "the body is of another context, or was changed";
  return openAead(aes, bodyParams(ctx, blob.commit), blob.body, text);
}

/**
 * The inner layer by the first of these subsets of trustees whose shares open it. A false share in one box hides nothing
 * as long as t true ones are among the subsets: whatever opens is what the commitment binds.
 */
export async function openOuter(
  blob: Blob, ctx: Bytes, privateKeys: ReadonlyMap<number, Bytes>, subsets: Iterable<readonly number[]>,
): Promise<Bytes> {
  const shares = new Map<number, Bytes>();
  const spoilt = new Set<number>();
  let problem: VerificationError = new OpeningError("no subset of trustees was tried");
  for (const subset of subsets) {
    try {
      for (const i of subset) if (!shares.has(i) && !spoilt.has(i)) await openInto(shares, spoilt, blob, ctx, i, privateKeys);
      if (subset.some((i) => spoilt.has(i))) continue;
      return await openBody(blob, ctx, new Map(subset.map((i) => [i, shares.get(i)!])));
    } catch (error) {
      if (!(error instanceof OpeningError)) throw error;
      problem = error;
    }
  }
  throw problem;
}

async function openInto(
  shares: Map<number, Bytes>, spoilt: Set<number>, blob: Blob, ctx: Bytes, i: number,
  privateKeys: ReadonlyMap<number, Bytes>,
): Promise<void> {
  try {
    shares.set(i, await openShare(blob, ctx, i, privateKeys.get(i)!));
  } catch (error) {
    spoilt.add(i);
    throw error;
  }
}

/** The contact, by the organiser's key; throws OpeningError, or MalformedError where no contact was sealed. */
export async function openInner(inner: Bytes, ctx: Bytes, organiserPrivateKey: Bytes): Promise<Contact> {
  return parseContact(await openBox(organiserPrivateKey, innerInfo(ctx), inner));
}

/** What binds a blob to one K; AES-GCM alone would not. */
function keyCommitment(ctx: Bytes, key: Bytes): Bytes {
  return sha256(concat(utf8("sealed/1/commit\0"), ctx, key));
}

function innerInfo(ctx: Bytes): Bytes {
  return concat(utf8("sealed/1/inner\0"), ctx);
}

function shareInfo(blob: Pick<Blob, "commit" | "body">, ctx: Bytes, i: number): Bytes {
  return concat(utf8("sealed/1/share\0"), ctx, Uint8Array.of(i), sha256(concat(blob.commit, blob.body)));
}

function bodyParams(ctx: Bytes, commit: Bytes): AesGcmParams {
  return { name: "AES-GCM", iv: IV, additionalData: concat(utf8("sealed/1/body\0"), ctx, commit) };
}
