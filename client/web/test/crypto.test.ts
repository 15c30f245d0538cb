// Our own arithmetic against other people's: WebCrypto, @noble, @cloudflare/blindrsa-ts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { RSABSSA } from "@cloudflare/blindrsa-ts";
import { blind, finalize, importKey, isSignature, power } from "../src/protocol/blind_rsa.ts";
import { concat, equal, fromBigInt, fromHex, hex, toBigInt, type Bytes } from "../src/protocol/bytes.ts";
import { checkPublicKey, isAvailable, publicKey, sign, verify } from "../src/protocol/ed25519.ts";
import { LOCALES, smallNumber } from "../src/pages/ui/digits.ts";
import { passedBefore, whatPassed } from "../src/protocol/passed.ts";
import { sha256, sha256With } from "../src/protocol/sha256.ts";
import { decodeTokenKey } from "../src/protocol/spki.ts";
import { noble } from "../src/protocol/strict.ts";
import { encodeBase64url } from "../src/protocol/text.ts";
import { x25519PublicKey } from "../src/protocol/x25519.ts";

const vectors = process.env.HEADCOUNT_VECTORS ?? join(import.meta.dirname, "../../../../spec/vectors");
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Case = Record<string, any>;
const cases = (file: string): Case[] =>
  (JSON.parse(readFileSync(join(vectors, file), "utf8")) as { cases: Case[] }).cases;

const random = (size: number): Bytes => crypto.getRandomValues(new Uint8Array(size));

test("SHA-256 is WebCrypto's, for every length around the blocks", async () => {
  for (let size = 0; size < 200; size++) {
    const data = random(size);
    assert.equal(hex(sha256(data)), hex(new Uint8Array(await crypto.subtle.digest("SHA-256", data))));
    const prefixed = concat(Uint8Array.of(7), data);
    assert.equal(hex(sha256With(7, data)), hex(sha256(prefixed)), `${size}`);
  }
  const large = random(65_535);
  assert.equal(hex(sha256(large)), hex(new Uint8Array(await crypto.subtle.digest("SHA-256", large))));
});

const signing = cases("blind_rsa.json").find((item) => item.name === "blind-sign")!;
const token = decodeTokenKey(fromHex(signing.token_key));

/** The issuer's half, with the private key of the vectors. */
const issue = (blinded: Bytes): Bytes =>
  fromBigInt(power(toBigInt(blinded), BigInt(`0x${signing.private_key.d}`), token.n), 256);

test("@cloudflare/blindrsa-ts verifies what we unblind, and we finalize what it blinds", async () => {
  const suite = RSABSSA.SHA384.PSS.Deterministic();
  const text = (value: bigint, size: number): string => encodeBase64url(fromBigInt(value, size)).replace(/=+$/, "");
  const jwk = { kty: "RSA", n: text(token.n, 256), e: "AQAB", alg: "PS384", ext: true };
  const key = await crypto.subtle.importKey("jwk", jwk, { name: "RSA-PSS", hash: "SHA-384" }, true, ["verify"]);
  for (let i = 0; i < 3; i++) {
    const msg = random(98);
    const ours = await blind(token, msg, random(48), 1n + (toBigInt(random(272)) % (token.n - 1n)));
    const sig = await finalize(token, msg, issue(ours.blindedMsg), ours.inv);
    assert.ok(await suite.verify(key, sig, suite.prepare(msg)));
    const theirs = await suite.blind(key, suite.prepare(msg));
    const other = await suite.finalize(key, suite.prepare(msg), issue(Uint8Array.from(theirs.blindedMsg)), theirs.inv);
    assert.ok(await isSignature(await importKey(token), msg, Uint8Array.from(other)));
    // The blinding is undone by our finalize as well.
    const inv = toBigInt(Uint8Array.from(theirs.inv));
    assert.equal(hex(await finalize(token, msg, issue(Uint8Array.from(theirs.blindedMsg)), inv)), hex(Uint8Array.from(other)));
  }
});

test("blinding takes ten milliseconds at most", async () => {
  const times: number[] = [];
  for (let i = 0; i < 15; i++) {
    const [msg, salt, r] = [random(98), random(48), 1n + (toBigInt(random(272)) % (token.n - 1n))];
    const began = performance.now();
    await blind(token, msg, salt, r);
    times.push(performance.now() - began);
  }
  // The best of them: others share the processors.
  assert.ok(Math.min(...times) < 10, `${times}`);
});

test("one inversion stands for two: what has no inverse is named as before", async () => {
  const [msg, salt] = [random(98), random(48)];
  for (const r of [0n, token.n, -1n]) await assert.rejects(blind(token, msg, salt, r), /the blind has no inverse/);
  const factor = BigInt(`0x${signing.private_key.p ?? "0"}`);
  if (factor) await assert.rejects(blind(token, msg, salt, factor), /the blind has no inverse/);
  const r = 1n + (toBigInt(random(272)) % (token.n - 1n));
  assert.equal(((await blind(token, msg, salt, r)).inv * r) % token.n, 1n);
});

test("only a key that has passed is not checked again, byte for byte", () => {
  const good = fromHex(signing.token_key);
  const wrong = (change: (key: Bytes) => void): Bytes => {
    const key = good.slice();
    change(key);
    return key;
  };
  decodeTokenKey(good);
  const kept = whatPassed();
  assert.ok(kept.length);
  passedBefore(kept);
  // The last byte of the modulus stands before the five of the exponent: an even number has a factor that anybody finds.
  const even = wrong((key) => (key[key.length - 6]! ^= 1));
  const isUnsound = /not a product of two large primes/;
  assert.throws(() => decodeTokenKey(even), isUnsound);
  assert.throws(() => decodeTokenKey(even), isUnsound, "what has failed has not passed");
  assert.deepEqual(whatPassed(), kept);
  const modulus = hex(even.slice(-261, -5));
  for (const said of [`0 modulus ${modulus}`, `1 ed25519 ${modulus}`, `1 modulus ${modulus.slice(2)}`, modulus, 7, null]) {
    passedBefore([said]);
    passedBefore(said);
    assert.throws(() => decodeTokenKey(even), isUnsound, `${said}`);
  }
  const small = Uint8Array.from({ length: 32 }, (_, i) => (i ? 0 : 1));
  assert.throws(() => checkPublicKey(small), /small order/);
  assert.throws(() => checkPublicKey(small), /small order/);
});

test("numbers below a thousand are written as Intl writes them, in every language", () => {
  for (const language of ["en", "fr", "de", "es", "it", "nl", "ru", "ar"]) {
    const locale = LOCALES[language] ?? language;
    const format = new Intl.NumberFormat(locale);
    for (let n = 0; n < 1000; n++) assert.equal(smallNumber(n, locale), format.format(n), `${language} ${n}`);
    for (const n of [1000, 0.5, -1, -0, NaN, Infinity]) assert.equal(smallNumber(n, locale), undefined, `${n}`);
  }
});

test("WebCrypto refuses a signature that is not below n, or has another length", async () => {
  const good = cases("blind_rsa.json").find((item) => item.operation === "verify" && item.expect === "ok")!;
  const key = await importKey(decodeTokenKey(fromHex(good.token_key)));
  const { n } = decodeTokenKey(fromHex(good.token_key));
  const [msg, sig] = [fromHex(good.msg), fromHex(good.sig)];
  assert.ok(await isSignature(key, msg, sig));
  const above = toBigInt(sig) + n;
  if (above < 1n << 2048n) assert.ok(!(await isSignature(key, msg, fromBigInt(above, 256))));
  assert.ok(!(await isSignature(key, msg, fromBigInt(n, 256))));
  for (const other of [sig.slice(1), sig.slice(0, 255), concat(sig, Uint8Array.of(0)), concat(Uint8Array.of(0), sig)]) {
    assert.ok(!(await isSignature(key, msg, other)));
  }
});

test("WebCrypto's Ed25519 is used here, and the fallback gives the same verdict on every vector", async () => {
  assert.ok(await isAvailable(), "without a fallback being named");
  const accepts = async (key: Bytes, msg: Bytes, signature: Bytes): Promise<boolean> => {
    try {
      await verify(key, msg, signature);
      return true;
    } catch {
      return false;
    }
  };
  let checked = 0;
  for (const item of cases("ed25519.json").filter((one) => one.operation === "verify")) {
    const [key, msg, signature] = [fromHex(item.public_key), fromHex(item.msg), fromHex(item.signature)];
    // Points of small order and of other encodings are refused before anything is verified, as the protocol demands.
    const isPlain = item.expect === "ok" || !/order|canonical|identity|torsion|curve|point/.test(item.name);
    if (!isPlain || key.length !== 32) continue;
    const native = await accepts(key, msg, signature);
    assert.equal(native, item.expect === "ok", item.name);
    assert.equal(signature.length === 64 && noble.verify(key, msg, signature), native, item.name);
    checked++;
  }
  assert.ok(checked > 5, `${checked}`);
  for (let i = 0; i < 5; i++) {
    const [seed, msg] = [random(32), random(i * 40)];
    const signature = await sign(seed, msg);
    assert.ok(equal(signature, noble.sign(seed, msg)));
    assert.ok(equal(await publicKey(seed), noble.publicKey(seed)));
    assert.ok(noble.verify(await publicKey(seed), msg, signature));
    assert.ok(!noble.verify(await publicKey(seed), random(9), signature));
  }
});

test("X25519 public keys are WebCrypto's", async () => {
  for (let i = 0; i < 3; i++) {
    const pair = (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
    const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
    const bytes = (text: string): Bytes => new Uint8Array(Buffer.from(text, "base64url"));
    assert.equal(hex(x25519PublicKey(bytes(jwk.d!))), hex(bytes(jwk.x!)));
  }
});
