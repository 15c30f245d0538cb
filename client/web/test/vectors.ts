// The files of spec/vectors, each with what the protocol demands of a case; a file without a check is refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAccusation, refute, verifyAccusation, encodeAccusation } from "../src/protocol/accusation.ts";
import { parseAuthorization, parseWwwAuthenticate } from "../src/protocol/authorization.ts";
import { checkOrder, sortKey } from "../src/protocol/batch.ts";
import { blind, encode, finalize, power, verify } from "../src/protocol/blind_rsa.ts";
import { concat, equal, fromBigInt, fromHex, hex, toBigInt, utf8, type Bytes } from "../src/protocol/bytes.ts";
import { openCheckpoint, parseCheckpoint } from "../src/protocol/checkpoint.ts";
import { verifyCosignature } from "../src/protocol/cosignature.ts";
import { publicKey } from "../src/protocol/ed25519.ts";
import { encodeCertificate, parseCertificate, reachedMessage, verifyCertificate } from "../src/protocol/certificate.ts";
import { parseEntry } from "../src/protocol/entry.ts";
import { MalformedError, NotFoundError, OpeningError, ProofError, SignatureError } from "../src/protocol/errors.ts";
import "../src/protocol/fallbacks.ts";
import { fingerprint } from "../src/protocol/fingerprint.ts";
import { leafHash, root, rootFromSubtrees, verifyConsistency, verifyInclusion } from "../src/protocol/merkle.ts";
import {
  encodeNote, formatVkey, makeKey, parseNote, parsePrivateKey, parseVkey, verifyNote,
} from "../src/protocol/note.ts";
import { author, verifyNotice } from "../src/protocol/notice.ts";
import { encodePack, parsePack, verifyPack } from "../src/protocol/pack.ts";
import { encodePledge, nonce } from "../src/protocol/pledge.ts";
import { Policy, encodePolicy } from "../src/protocol/policy.ts";
import { encodePromise, parsePromise, verifyPromise } from "../src/protocol/promise.ts";
import { encodeRevision, revisionMessage } from "../src/protocol/revision.ts";
import { challengeOf, deadlineDay, parseManifest } from "../src/protocol/scope.ts";
import { chainExtend, chainStart } from "../src/protocol/seal.ts";
import { encodeBlob, openBody, openInner, openOuter, openShare, parseBlob, sealingContext } from "../src/protocol/sealed.ts";
import { blinding, revisionSeed } from "../src/protocol/seed.ts";
import { combine, split } from "../src/protocol/shamir.ts";
import { sha256 } from "../src/protocol/sha256.ts";
import { decodeTokenKey, encodeTokenKey, tokenKeyId } from "../src/protocol/spki.ts";
import { checkRevisionKey, verifyStrict } from "../src/protocol/strict.ts";
import { TileReader, decodeBundle, newBundles, newTiles, parsePath, tilePath } from "../src/protocol/tile.ts";
import { encodeProof, parseProof, verifyProof } from "../src/protocol/tlog_proof.ts";
import {
  challengeDigest, encodeChallenge, encodeRequest, encodeToken, parseChallenge, parseRequest, parseResponse, parseToken,
  tokenInput,
} from "../src/protocol/token.ts";
import { decodeTotals, encodeTotals } from "../src/protocol/totals.ts";
import { enoughAt, optionId } from "../src/protocol/options.ts";
import { isEnough, missingFor, optionCounts } from "../src/protocol/quotas.ts";

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Case = Record<string, any>;
type Check = (item: Case) => unknown;

/** A field that is usually text, or hex where it is not UTF-8. */
function octets(item: Case, field: string): Bytes {
  return field in item ? utf8(item[field]) : fromHex(item[`${field}_hex`]);
}

function same(item: Case, found: Case): void {
  for (const [name, value] of Object.entries(found)) assert.deepEqual(value, item[name], name);
}

const hexOf = (item: Case, ...names: string[]): Bytes[] => names.map((name) => fromHex(item[name]));

/** Hex by number, in the order of the file. */
function numbered(items: Record<string, string>): Map<number, Bytes> {
  return new Map(Object.entries(items).map(([i, value]) => [Number(i), fromHex(value)]));
}

const TOKEN_CHECKS: Record<string, (data: Bytes) => [Bytes, Case]> = {
  challenge(data) {
    const found = parseChallenge(data);
    const fields = {
      token_type: found.tokenType,
      issuer_name: found.issuerName,
      redemption_context: hex(found.redemptionContext),
      origin_info: found.originInfo,
      digest: hex(challengeDigest(found)),
    };
    return [encodeChallenge(found), fields];
  },
  request(data) {
    const found = parseRequest(data);
    const fields = { truncated_token_key_id: found.truncatedTokenKeyId, blinded_msg: hex(found.blindedMsg) };
    return [encodeRequest(found), fields];
  },
  response(data) {
    const found = parseResponse(data);
    return [found, { blind_sig: hex(found) }];
  },
  token(data) {
    const found = parseToken(data);
    const fields = {
      nonce: hex(found.nonce),
      challenge_digest: hex(found.challengeDigest),
      token_key_id: hex(found.tokenKeyId),
      authenticator: hex(found.authenticator),
    };
    return [encodeToken(found), fields];
  },
};

export const CHECKS: Record<string, Check> = {
  "merkle.json"(item) {
    const [expected] = hexOf(item, "root") as [Bytes];
    if (item.operation === "root") {
      const found = root(item.entries.map((entry: string) => leafHash(fromHex(entry))));
      if (!equal(found, expected)) throw new ProofError("another root");
      return;
    }
    const proof = item.proof.map(fromHex);
    if (item.operation === "inclusion") verifyInclusion(proof, item.index, item.size, fromHex(item.leaf_hash), expected);
    else verifyConsistency(proof, item.old_size, item.size, fromHex(item.old_root), expected);
  },

  async "tiles.json"(item) {
    if (item.operation === "path") {
      const tile = parsePath(item.path);
      same(item, { ...tile, path: tilePath(tile) });
    } else if (item.operation === "growth") {
      const tiles = [...newTiles(item.old_size, item.size), ...newBundles(item.old_size, item.size)];
      same(item, { paths: tiles.map(tilePath) });
    } else if (item.operation === "bundle") {
      same(item, { entries: decodeBundle(fromHex(item.bundle), item.width).map(hex) });
    } else {
      const fetch = async (path: string): Promise<Bytes> => {
        if (!(path in item.files)) throw new NotFoundError(path);
        return fromHex(item.files[path]);
      };
      const found = hex(await rootFromSubtrees(new TileReader(fetch, item.size).hash, item.size));
      if (found !== item.root) throw new ProofError("another root");
    }
  },

  async "notes.json"(item) {
    if (item.operation === "key") {
      const key = parseVkey(item.vkey);
      same(item, { type: key.type, public_key: hex(key.publicKey), vkey: formatVkey(key) });
    } else if (item.operation === "private-key") {
      const { name, keyId, seed } = parsePrivateKey(item.private_key);
      const key = makeKey(name, 1, await publicKey(seed));
      if (!equal(key.keyId, keyId)) throw new MalformedError("key id does not belong to the key");
      same(item, { vkey: formatVkey(key) });
    } else {
      const data = octets(item, "note");
      const note = parseNote(data);
      assert.deepEqual(encodeNote(note), data);
      same(item, { signers: (await verifyNote(note, item.keys.map(parseVkey))).map((line) => line.name) });
    }
  },

  async "checkpoints.json"(item) {
    const raw = octets(item, "checkpoint");
    if (item.operation === "open") {
      const { checkpoint } = await openCheckpoint(raw, parseVkey(item.log_key));
      same(item, { origin: checkpoint.origin, size: checkpoint.size, root: hex(checkpoint.root) });
    } else {
      const signed = parseCheckpoint(raw);
      const line = signed.note.signatures.at(-1)!;
      same(item, { time: await verifyCosignature(signed.checkpoint, line, parseVkey(item.witness_key)) });
    }
  },

  async "policies.json"(item) {
    const policy = Policy.fromBytes(octets(item, "policy"));
    assert.deepEqual(Policy.fromBytes(encodePolicy(policy)), policy);
    const { cosignatures } = await policy.verifyCheckpoint(octets(item, "checkpoint"));
    same(item, { witnesses: Object.fromEntries(cosignatures) });
  },

  async "proofs.json"(item) {
    const proof = parseProof(octets(item, "proof"));
    const found = await verifyProof(proof, fromHex(item.leaf_hash), Policy.fromBytes(octets(item, "policy")));
    same(item, { index: found.index, size: found.checkpoint.size, cosigners: Object.fromEntries(found.cosigners) });
    assert.deepEqual(encodeProof(proof), octets(item, "proof"));
  },

  "manifests.json"(item) {
    const manifest = parseManifest(octets(item, "manifest"));
    same(item, {
      scope_id: manifest.scope,
      challenges: manifest.issuers.map((_, i) => hex(encodeChallenge(challengeOf(manifest, i)))),
      deadline_day: deadlineDay(manifest),
    });
  },

  "nonces.json"(item) {
    const [scope, key, sealed] = hexOf(item, "scope_id", "revision_key", "sealed_hash") as [Bytes, Bytes, Bytes];
    same(item, { nonce: hex(nonce(scope, item.choice, key, sealed)) });
  },

  async "seeds.json"(item) {
    const [seed, scope, tokenKey] = hexOf(item, "seed", "scope_id", "token_key") as [Bytes, Bytes, Bytes];
    const secret = await revisionSeed(seed, scope);
    const revisionKey = await publicKey(secret);
    const nullifier = nonce(scope, item.choice, revisionKey, new Uint8Array(32));
    const key = decodeTokenKey(tokenKey);
    const { salt, r } = await blinding(seed, nullifier, tokenKeyId(tokenKey), key.n);
    const input = concat(Uint8Array.of(0, 2), nullifier, fromHex(item.token_input_tail));
    const { blindedMsg } = await blind(key, input, salt, r);
    same(item, {
      revision_seed: hex(secret),
      revision_key: hex(revisionKey),
      nonce: hex(nullifier),
      salt: hex(salt),
      r: hex(fromBigInt(r, 256)),
      blinded_msg: hex(blindedMsg),
    });
  },

  "shamir.json"(item) {
    const secret = combine(numbered(item.subset));
    if (hex(sha256(secret)) !== item.secret_hash) throw new OpeningError("another secret");
    same(item, { secret: hex(secret), shares: split(secret, item.coefficients.map(fromHex), item.n).map(hex) });
  },

  async "sealed.json"(item) {
    const [scope, key, organiser] = hexOf(item, "scope_id", "revision_key", "organiser_private_key") as [Bytes, Bytes, Bytes];
    const ctx = sealingContext(scope, key);
    const data = fromHex(item.blob);
    const blob = parseBlob(data, item.t, item.n);
    assert.deepEqual(encodeBlob(blob), data);
    const privateKeys = numbered(item.private_keys);
    const shares = new Map<number, Bytes>();
    for (const [i, privateKey] of privateKeys) shares.set(i, await openShare(blob, ctx, i, privateKey));
    const inner = await openBody(blob, ctx, shares);
    const { channel, value } = await openInner(inner, ctx, organiser);
    const shown = Object.fromEntries(Array.from(shares, ([i, share]) => [String(i), hex(share)]));
    same(item, { shares: shown, key: hex(combine(shares)), inner: hex(inner), channel, contact: value });
    assert.deepEqual(await openOuter(blob, ctx, privateKeys, [[...privateKeys.keys()]]), inner);
  },

  async "certificates.json"(item) {
    const data = octets(item, "certificate");
    const certificate = parseCertificate(data);
    assert.deepEqual(encodeCertificate(certificate), data);
    const reached = await verifyCertificate(certificate, parseManifest(octets(item, "contacts")));
    const message = hex(reachedMessage(reached));
    same(item, { message, signers: certificate.signers, scope_id: reached.scope, live: reached.live });
  },

  async "packs.json"(item) {
    const data = octets(item, "pack");
    const pack = parsePack(data);
    assert.deepEqual(encodePack(pack), data);
    const found = await verifyPack(pack, Policy.fromBytes(octets(item, "policy")));
    same(item, {
      scope_id: found.manifest.scope,
      size: found.checkpoint.size,
      growth: found.growth.map(({ batch, day, gross, live }) => [batch, day, gross, live]),
      issued: Object.fromEntries(Array.from(found.issued, ([name, said]) => [name, said.body.issued])),
      reached: found.reached?.count.batch ?? null,
      closed: found.closed?.count.batch ?? null,
      cosigners: found.cosigners.map((cosigner) => [...cosigner]),
    });
  },

  "entries.json"(item) {
    if (item.operation === "parse") {
      const data = fromHex(item.entry);
      const entry = parseEntry(data);
      same(item, { type: entry.kind, leaf_hash: hex(leafHash(data)) });
      if (entry.kind === "pledge") {
        same(item, { choice: entry.choice, nullifier: hex(entry.nullifier) });
        assert.deepEqual(encodePledge(entry), data);
      } else if (entry.kind === "revision") {
        same(item, { serial: entry.serial, choice: entry.choice, signed_message: hex(revisionMessage(entry)) });
        assert.deepEqual(encodeRevision(entry), data);
      } else if (entry.kind === "seal") {
        same(item, { batch: entry.batch, day: entry.day, pledges_total: entry.pledgesTotal });
      }
    } else if (item.operation === "order") {
      const keys = item.entries.map((entry: string) => sortKey(parseEntry(fromHex(entry)), leafHash(fromHex(entry))));
      same(item, { first_violation: checkOrder(keys) ?? null });
    } else if (item.operation === "chain") {
      const leaves: string[] = item.leaf_hashes;
      same(item, { chain: hex(leaves.reduce((c, leaf) => chainExtend(c, fromHex(leaf)), chainStart(item.origin))) });
    } else {
      const totals = decodeTotals(fromHex(item.file));
      same(item, { totals: Array.from(totals, ([scope_id, total]) => ({ scope_id, ...total })) });
      assert.equal(hex(encodeTotals(totals)), item.file);
    }
  },

  async "notices.json"(item) {
    const notice = parseEntry(fromHex(item.entry));
    if (notice.kind !== "notice") throw new MalformedError("not a notice");
    const manifest = parseManifest(octets(item, "manifest"));
    const place = item.previous;
    const previous = place ? ([place.seq, fromHex(place.leaf_hash)] as const) : undefined;
    const statement = await verifyNotice(notice, manifest, previous);
    same(item, { author: author(notice, manifest), type: statement.type, seq: statement.seq });
  },

  async "promises.json"(item) {
    const promise = parsePromise(fromHex(item.promise));
    await verifyPromise(promise, parseVkey(item.ledger_key));
    same(item, {
      leaf_hash: hex(promise.leafHash),
      kind: promise.kind,
      nullifier: hex(promise.nullifier),
      serial: promise.serial,
      deadline: promise.deadline,
    });
    assert.equal(hex(encodePromise(promise)), item.promise);
  },

  async "accusations.json"(item) {
    const data = octets(item, "accusation");
    const accusation = parseAccusation(data);
    const policy = Policy.fromBytes(octets(item, "policy"));
    const verified = await verifyAccusation(accusation, policy);
    if ("receipt" in item) {
      const found = await refute(verified, parseProof(octets(item, "receipt")), policy);
      same(item, { index: found.index });
      return;
    }
    assert.deepEqual(encodeAccusation(accusation), data);
    const { absence } = verified;
    same(item, {
      scope_id: absence.manifest.scope,
      first_batch: absence.firstBatch,
      last_batch: absence.lastBatch,
      first_index: absence.firstIndex,
      end_index: absence.endIndex,
      is_closing: absence.isClosing,
      is_replaced: absence.isReplaced,
    });
  },

  "tokens.json"(item) {
    if (item.operation === "token-key") {
      const data = fromHex(item.token_key);
      const key = decodeTokenKey(data);
      same(item, { n: key.n.toString(16), token_key_id: hex(tokenKeyId(data)) });
      assert.deepEqual(encodeTokenKey(key), data);
    } else if (item.operation === "www-authenticate") {
      const challenges = parseWwwAuthenticate(item.header).map((found) => ({
        challenge: hex(found.challenge),
        token_key: found.tokenKey && hex(found.tokenKey),
        max_age_s: found.maxAgeS,
      }));
      same(item, { challenges });
    } else if (item.operation === "authorization") {
      same(item, { token: hex(parseAuthorization(item.header)) });
    } else {
      const [again, fields] = TOKEN_CHECKS[item.operation]!(fromHex(item.bytes));
      same(item, fields);
      assert.equal(hex(again), item.bytes);
    }
  },

  async "blind_rsa.json"(item) {
    const key = decodeTokenKey(fromHex(item.token_key));
    if (item.operation === "blind") {
      const [msg, salt, r] = hexOf(item, "msg", "salt", "r") as [Bytes, Bytes, Bytes];
      const { blindedMsg, inv } = await blind(key, msg, salt, toBigInt(r));
      same(item, { blinded_msg: hex(blindedMsg), inv: hex(fromBigInt(inv, 256)) });
    } else if (item.operation === "blind-sign") {
      // An issuer's half, which no browser has: here only that the figures agree with the key.
      if (item.expect !== "ok") throw new NotHere(item.expect);
      const d = BigInt(`0x${item.private_key.d}`);
      const signed = power(toBigInt(fromHex(item.blinded_msg)), d, key.n);
      same(item, { blind_sig: hex(fromBigInt(signed, 256)) });
    } else if (item.operation === "finalize") {
      const [msg, blindSig, inv] = hexOf(item, "msg", "blind_sig", "inv") as [Bytes, Bytes, Bytes];
      same(item, { sig: hex(await finalize(key, msg, blindSig, toBigInt(inv))) });
    } else {
      await verify(key, fromHex(item.msg), fromHex(item.sig));
    }
  },

  "quotas.json"(item) {
    if (item.operation === "row") {
      same(item, { id: optionId(item.scope_id, item.option) });
      return;
    }
    const manifest = parseManifest(octets(item, "manifest"));
    const totals = decodeTotals(fromHex(item.totals));
    const counts = optionCounts(manifest, totals);
    const { quotas, scope } = manifest;
    same(item, {
      options: Object.fromEntries(Array.from(counts, ([option, live]) => [String(option), live])),
      enough: quotas ? enoughAt(quotas, counts.values()) : null,
      missing: quotas ? missingFor(quotas, counts.values()) : null,
      reached: isEnough(manifest, totals.get(scope)?.live ?? 0, counts, item.day),
    });
  },

  "fingerprints.json"(item) {
    const words = readFileSync(join(import.meta.dirname, "../../src/fingerprint/words.txt"), "utf8").trim().split(/\s+/);
    same(item, { words: fingerprint(fromHex(item.scope_id), words) });
  },

  async "ed25519.json"(item) {
    if (item.operation === "key") checkRevisionKey(fromHex(item.public_key));
    else await verifyStrict(fromHex(item.public_key), fromHex(item.msg), fromHex(item.signature));
  },

  async "rfc/rfc9474.json"(item) {
    const key = { n: toBigInt(fromHex(item.n)), e: toBigInt(fromHex(item.e)) };
    const [msg, salt, inv] = hexOf(item, "prepared_msg", "salt", "inv") as [Bytes, Bytes, Bytes];
    assert.equal(hex(await encode(key, msg, salt)), item.encoded_msg);
    // The blind r is the inverse of inv: r = inv^(λ-1) needs the factors, which the vector has.
    const [p, q] = [toBigInt(fromHex(item.p)), toBigInt(fromHex(item.q))];
    const r = power(toBigInt(inv), (p - 1n) * (q - 1n) - 1n, key.n);
    const found = await blind(key, msg, salt, r);
    same(item, { blinded_msg: hex(found.blindedMsg) });
    assert.equal(found.inv, toBigInt(inv));
    if (item.salt_len === 48) same(item, { sig: hex(await finalize(key, msg, fromHex(item.blind_sig), found.inv)) });
    else await assert.rejects(verify(key, msg, fromHex(item.sig)), SignatureError);
  },

  "rfc/rfc9577_headers.json"(item) {
    const challenges = parseWwwAuthenticate(item.header);
    assert.equal(challenges.length, item.challenges.length);
    challenges.forEach((found, i) => {
      same(item.challenges[i], { challenge: hex(found.challenge), token_key: hex(found.tokenKey!), max_age_s: found.maxAgeS });
      assert.deepEqual(encodeChallenge(parseChallenge(found.challenge)), found.challenge);
    });
  },

  "rfc/rfc9577_structures.json"(item) {
    const text = (name: string): string => String.fromCharCode(...fromHex(item[name]));
    const challenge = {
      tokenType: parseInt(item.token_type, 16),
      issuerName: text("issuer_name"),
      redemptionContext: fromHex(item.redemption_context),
      originInfo: text("origin_info"),
    };
    const input = tokenInput(fromHex(item.nonce), challengeDigest(challenge), fromHex(item.token_key_id));
    same(item, { token_authenticator_input: hex(input) });
  },

  "rfc/rfc9578_type2.json": issuance,
  "rfc/rfc9578_type2_rust.json": issuance,
};

/** A case that only the other half of the protocol can run. */
export class NotHere extends Error {
  readonly code: string;
  constructor(code: string) {
    super("not the client's");
    this.code = code;
  }
}

async function issuance(item: Case): Promise<void> {
  const [tokenKey, challenge, number, salt, r] = hexOf(
    item, "token_key", "token_challenge", "nonce", "salt", "blind",
  ) as [Bytes, Bytes, Bytes, Bytes, Bytes];
  const key = decodeTokenKey(tokenKey);
  const id = tokenKeyId(tokenKey);
  const digest = challengeDigest(parseChallenge(challenge));
  const msg = tokenInput(number, digest, id);
  const { blindedMsg, inv } = await blind(key, msg, salt, toBigInt(r));
  same(item, { token_request: hex(encodeRequest({ truncatedTokenKeyId: id.at(-1)!, blindedMsg })) });
  const authenticator = await finalize(key, msg, parseResponse(fromHex(item.token_response)), inv);
  same(item, { token: hex(encodeToken({ nonce: number, challengeDigest: digest, tokenKeyId: id, authenticator })) });
}
