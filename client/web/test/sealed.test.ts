// sealed/1 against other people's code (@hpke/core, shamir-secret-sharing), and with every bit of trust bent.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import * as foreignShamir from "shamir-secret-sharing";
import { agree, agreementKey } from "../src/protocol/agreement.ts";
import { concat, equal, fromHex, hex, utf8, type Bytes } from "../src/protocol/bytes.ts";
import { makeContact } from "../src/protocol/contact.ts";
import { depositNullifier, encodeDeposit, encodeErasure, parseDeposit, parseErasure } from "../src/protocol/deposit.ts";
import { MalformedError, OpeningError } from "../src/protocol/errors.ts";
import { openBox, sealBox, type HpkeSeal } from "../src/protocol/hpke.ts";
import { nonce } from "../src/protocol/pledge.ts";
import { openBody, openInner, openOuter, openShare, parseBlob, seal, sealingContext } from "../src/protocol/sealed.ts";
import { combine, split } from "../src/protocol/shamir.ts";
import { sha256 } from "../src/protocol/sha256.ts";
import { nobleAgreement } from "../src/protocol/strict.ts";

const folder = process.env.HEADCOUNT_VECTORS ?? join(import.meta.dirname, "../../../../spec/vectors");
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Case = Record<string, any>;
const { cases } = JSON.parse(readFileSync(join(folder, "sealed.json"), "utf8")) as { cases: Case[] };
const good = cases.filter((item) => item.expect === "ok");

const random = (size: number): Bytes => crypto.getRandomValues(new Uint8Array(size));
const drawn: HpkeSeal = (publicKey, info, plaintext) => sealBox(publicKey, info, plaintext, random(32));

function* subsets(n: number, t: number, from = 1): Generator<number[]> {
  if (t === 0) yield [];
  else for (let i = from; i <= n - t + 1; i++) for (const rest of subsets(n, t - 1, i + 1)) yield [i, ...rest];
}

/** Trustees 1 to n, an organiser, and a contact sealed to them. */
async function sealedTo(n: number, t: number) {
  const secrets = new Map(Array.from({ length: n }, (_, i) => [i + 1, random(32)] as const));
  const keys = await Promise.all([...secrets.values()].map(agreementKey));
  const organiser = random(32);
  const ctx = sealingContext(random(32), random(32));
  const contact = makeContact("email", "ada@example.org");
  const data = await seal(contact, ctx, await agreementKey(organiser), keys, t, random(32), drawn);
  return { secrets, keys, organiser, ctx, contact, data, blob: parseBlob(data, t, n) };
}

test("what Python sealed is sealed again to the same bytes", async () => {
  // As tests/reference_hpke.py draws them for the vectors.
  const keys = new Map<number, Bytes>();
  for (const { private_keys } of good) {
    for (const [i, key] of Object.entries(private_keys as Record<string, string>)) keys.set(Number(i), fromHex(key));
  }
  for (const item of good) {
    const [seed, scope, revisionKey] = [fromHex(item.seed), fromHex(item.scope_id), fromHex(item.revision_key)];
    const boxer: HpkeSeal = (publicKey, info, plaintext) =>
      sealBox(publicKey, info, plaintext, sha256(concat(utf8("ephemeral"), seed, publicKey, info)));
    const trustees: Bytes[] = [];
    for (let i = 1; i <= item.n; i++) trustees.push(await agreementKey(keys.get(i)!));
    const organiser = await agreementKey(fromHex(item.organiser_private_key));
    const contact = makeContact(item.channel, item.contact);
    const again = await seal(contact, sealingContext(scope, revisionKey), organiser, trustees, item.t, seed, boxer);
    assert.equal(hex(again), item.blob, item.name);
  }
});

test("every subset of t trustees reads the same, and no other number of them anything", async () => {
  const { secrets, organiser, ctx, contact, blob } = await sealedTo(5, 3);
  for (const subset of subsets(5, 3)) {
    assert.deepEqual(await openInner(await openOuter(blob, ctx, secrets, [subset]), ctx, organiser), contact);
  }
  for (const t of [1, 2, 4, 5]) {
    for (const subset of subsets(5, t)) await assert.rejects(openOuter(blob, ctx, secrets, [subset]), OpeningError);
  }
  await assert.rejects(openOuter(blob, ctx, secrets, []), OpeningError);
});

test("another scope, another entry or another organiser opens nothing", async () => {
  const { secrets, organiser, ctx, blob } = await sealedTo(3, 2);
  const inner = await openOuter(blob, ctx, secrets, [[1, 3]]);
  for (const other of [concat(random(32), ctx.slice(32)), concat(ctx.slice(0, 32), random(32))]) {
    await assert.rejects(openOuter(blob, other, secrets, [[1, 3]]), OpeningError);
    await assert.rejects(openInner(inner, other, organiser), OpeningError);
  }
  await assert.rejects(openInner(inner, ctx, secrets.get(1)!), OpeningError);
  await assert.rejects(openShare(blob, ctx, 1, secrets.get(2)!), OpeningError);
  await assert.rejects(openShare(blob, ctx, 2, secrets.get(1)!), OpeningError);
});

test("one flipped bit anywhere is refused, by every subset that reads it", async () => {
  const { secrets, ctx, data } = await sealedTo(3, 2);
  const boxes = 355;
  for (let at = 0; at < data.length; at++) {
    const bent = data.slice();
    bent[at]! ^= 1 << (at % 8);
    if (at < 3) {
      assert.throws(() => parseBlob(bent, 2, 3), MalformedError);
      continue;
    }
    const blob = parseBlob(bent, 2, 3);
    const hit = at < boxes ? 0 : Math.floor((at - boxes) / 81) + 1;
    const read = hit === 1 ? [1, 2] : hit === 2 ? [1, 2] : [1, 3];
    // The last bit of an encapsulated key is no part of it (RFC 7748, Section 5); the key schedule binds it all the same.
    await assert.rejects(openOuter(blob, ctx, secrets, [read]), OpeningError, `byte ${at}`);
  }
});

test("a false share hides nothing while t true ones are tried", async () => {
  const { secrets, organiser, ctx, contact, data } = await sealedTo(4, 2);
  const bent = data.slice();
  bent[355 + 50]! ^= 1;
  const blob = parseBlob(bent, 2, 4);
  const inner = await openOuter(blob, ctx, secrets, subsets(4, 2));
  assert.deepEqual(await openInner(inner, ctx, organiser), contact);
  await assert.rejects(openBody(blob, ctx, new Map([[2, random(32)], [3, random(32)]])), OpeningError);
});

test("no two blobs of one person are alike, and all have one size", async () => {
  const { keys, organiser, ctx } = await sealedTo(3, 2);
  const key = await agreementKey(organiser);
  const seed = random(32);
  const sizes = new Set<number>();
  const heads = new Set<string>();
  for (const contact of [makeContact("none", ""), makeContact("phone", "+4915112345678"), makeContact("matrix", "@a:b.c")]) {
    for (let i = 0; i < 2; i++) {
      const blob = await seal(contact, ctx, key, keys, 2, seed, drawn);
      sizes.add(blob.length);
      heads.add(hex(blob.slice(3, 35)));
    }
  }
  assert.deepEqual([...sizes], [355 + 3 * 81]);
  assert.equal(heads.size, 6, "K never covers two inner layers");
});

test("@hpke/core opens our boxes and we open its", async () => {
  const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes128Gcm() });
  const [secret, info, text] = [random(32), random(77), random(256)];
  const publicKey = await agreementKey(secret);
  const recipientKey = await suite.kem.importKey("raw", secret.buffer, false);
  const ours = await sealBox(publicKey, info, text, random(32));
  const opened = await suite.open(
    { recipientKey, enc: ours.slice(0, 32).buffer, info: info.buffer }, ours.slice(32).buffer,
  );
  assert.deepEqual(new Uint8Array(opened), text);
  const recipientPublicKey = await suite.kem.deserializePublicKey(publicKey.buffer);
  const theirs = await suite.seal({ recipientPublicKey, info: info.buffer }, text.buffer);
  const box = concat(new Uint8Array(theirs.enc), new Uint8Array(theirs.ct));
  assert.deepEqual(await openBox(secret, info, box), text);
  await assert.rejects(openBox(secret, random(77), box), OpeningError);
  await assert.rejects(openBox(secret, info, box.slice(0, 40)), OpeningError);
});

test("shamir-secret-sharing combines our shares and we combine its", async () => {
  const secret = random(32);
  const ours = split(secret, [random(32), random(32)], 5);
  for (const subset of subsets(5, 3)) {
    const shares = subset.map((i) => concat(ours[i - 1]!, Uint8Array.of(i)));
    assert.deepEqual(Uint8Array.from(await foreignShamir.combine(shares)), secret);
  }
  const theirs = (await foreignShamir.split(secret, 5, 3)).map((share) => Uint8Array.from(share));
  const placed = theirs.map((share) => [share.at(-1)!, share.slice(0, -1)] as const);
  for (const subset of subsets(5, 3)) assert.deepEqual(combine(new Map(subset.map((i) => placed[i - 1]!))), secret);
  assert.ok(!equal(combine(new Map(placed.slice(0, 2))), secret));
  for (const shares of [new Map(), new Map([[0, secret]]), new Map([[256, secret]]), new Map([[1, secret], [2, random(31)]])]) {
    assert.throws(() => combine(shares), RangeError);
  }
  for (const n of [0, 256]) assert.throws(() => split(secret, [], n), RangeError);
  assert.throws(() => split(secret, [random(31)], 3), RangeError);
});

test("X25519 by @noble/curves is WebCrypto's, and neither agrees on nothing", async () => {
  const [one, other] = [random(32), random(32)];
  const [keyOfOne, keyOfOther] = [await agreementKey(one), await agreementKey(other)];
  assert.deepEqual(nobleAgreement.publicKey(one), keyOfOne);
  assert.deepEqual(await agree(one, keyOfOther), Uint8Array.from(nobleAgreement.agree(other, keyOfOne)));
  await assert.rejects(agree(one, new Uint8Array(32)), OpeningError);
  assert.throws(() => nobleAgreement.agree(one, new Uint8Array(32)));
  await assert.rejects(sealBox(new Uint8Array(32), one, one, other), MalformedError);
});

test("contacts have one form a channel", () => {
  for (const [channel, value] of [
    ["email", "a@b.example"], ["email", "a?=b=@b.example"], ["email", "zo\u00eb@k\u00f6ln.example"], ["matrix", "@ada:example.org:8448"],
    ["phone", "+4915112345678"], ["none", ""],
  ]) {
    assert.deepEqual(makeContact(channel!, value!), { channel, value });
  }
  for (const [channel, value] of [
    ["email", "a@b"], ["email", "a b@c.example"], ["email", "<a@b.example>"], ["email", "a@b.example\nBcc: c@d.example"],
    ["email", "a@b.example,c@d.example"], ["email", `${"a".repeat(65)}@b.example`], ["email", "a@-b.example"],
    ["email", "a\u00a0b@c.example"], ["email", "a\u2028@c.example"], ["email", "e\u0301@c.example"],
    ["email", "=?utf-8?q?=0a?=@b.example"], ["email", "a=?utf-8?b?w6k=?=@b.example"], ["matrix", "ada:example.org"],
    ["phone", "0151 12345678"], ["phone", "+0151123456"], ["none", "x"], ["post", "here"],
    ["email", `a@${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(63)}.${"e".repeat(60)}.example`],
  ]) {
    assert.throws(() => makeContact(channel!, value!), MalformedError, value!);
  }
});

test("deposits and erasures are read as written, and one byte more or less is refused", () => {
  const promise = {
    leafHash: random(32), kind: 1, nullifier: random(32), serial: 0, deadline: 20_500, signature: random(64),
  };
  const deposit = { scopeId: random(32), revisionKey: random(32), promise, blob: random(355 + 81 * 3) };
  const data = encodeDeposit(deposit);
  assert.deepEqual(parseDeposit(data), deposit);
  assert.deepEqual(depositNullifier(deposit), nonce(deposit.scopeId, 0, deposit.revisionKey, sha256(deposit.blob)));
  const erasure = { scopeId: random(32), revisionKey: random(32), sealedHash: random(32), signature: random(64) };
  assert.equal(encodeErasure(erasure).length, 161);
  assert.deepEqual(parseErasure(encodeErasure(erasure)), erasure);
  const bent = (bytes: Bytes): Bytes[] => [
    bytes.slice(0, -1), concat(bytes, Uint8Array.of(0)), concat(Uint8Array.of(2), bytes.slice(1)),
  ];
  for (const bytes of bent(data)) assert.throws(() => parseDeposit(bytes), MalformedError);
  for (const bytes of bent(encodeErasure(erasure))) assert.throws(() => parseErasure(bytes), MalformedError);
  assert.throws(() => parseDeposit(encodeDeposit({ ...deposit, blob: random(355 + 81 * 33) })), MalformedError);
});
