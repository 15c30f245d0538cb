// One JSON request a line on stdin, one JSON answer a line on stdout; bytes are hex.
import { createInterface } from "node:readline";
import { RSABSSA } from "@cloudflare/blindrsa-ts";
import * as pp from "@cloudflare/privacypass-ts";
import { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import * as shamir from "shamir-secret-sharing";

const { BlindRSAMode, Client, Issuer, Origin, TokenRequest, convertRSASSAPSSToEnc } = pp.publicVerif;
const { BLIND_RSA } = pp.TOKEN_TYPES;
const PSS = { name: "RSA-PSS", hash: "SHA-384" };
const VARIANTS = {
  "RSABSSA-SHA384-PSS-Deterministic": RSABSSA.SHA384.PSS.Deterministic(),
  "RSABSSA-SHA384-PSSZERO-Deterministic": RSABSSA.SHA384.PSSZero.Deterministic(),
  "RSABSSA-SHA384-PSS-Randomized": RSABSSA.SHA384.PSS.Randomized(),
  "RSABSSA-SHA384-PSSZERO-Randomized": RSABSSA.SHA384.PSSZero.Randomized(),
};
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const publicKey = (spki) =>
  crypto.subtle.importKey("spki", convertRSASSAPSSToEnc(unhex(spki)), PSS, true, ["verify"]);
const privateKey = (pkcs8) => crypto.subtle.importKey("pkcs8", unhex(pkcs8), PSS, true, ["sign"]);
const clients = [];
const hpke = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes128Gcm(),
});
const utf8 = (text) => new TextEncoder().encode(text);
const join = (...parts) => Buffer.concat(parts.map((part) => Uint8Array.from(part)));
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));
const buffer = (bytes) => new Uint8Array(bytes).buffer;

async function sealBox(key, info, plaintext) {
  const recipientPublicKey = await hpke.kem.deserializePublicKey(buffer(key));
  const sealed = await hpke.seal({ recipientPublicKey, info: buffer(info) }, buffer(plaintext));
  return join(new Uint8Array(sealed.enc), new Uint8Array(sealed.ct));
}

async function openBox(key, info, box) {
  const recipientKey = await hpke.kem.importKey("raw", buffer(key), false);
  const enc = buffer(box.slice(0, 32));
  return new Uint8Array(await hpke.open({ recipientKey, enc, info: buffer(info) }, buffer(box.slice(32))));
}

const gcm = (key, usage) => crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
const bodyOptions = (ctx, commit) => ({
  name: "AES-GCM",
  iv: new Uint8Array(12),
  additionalData: join(utf8("sealed/1/body\0"), ctx, commit),
});
const shareInfo = async (ctx, i, commit, body) =>
  join(utf8("sealed/1/share\0"), ctx, [i], await sha256(join(commit, body)));

// GF(2^8) once more, bit by bit.
function times(a, b) {
  let product = 0;
  for (; b; b >>= 1, a = (a << 1) ^ (a & 0x80 ? 0x11b : 0)) if (b & 1) product ^= a;
  return product;
}

const operations = {
  // @cloudflare/blindrsa-ts
  async prepare({ variant, msg }) {
    return { prepared_msg: hex(VARIANTS[variant].prepare(unhex(msg))) };
  },
  async blind({ variant, token_key, msg }) {
    const { blindedMsg, inv } = await VARIANTS[variant].blind(await publicKey(token_key), unhex(msg));
    return { blinded_msg: hex(blindedMsg), inv: hex(inv) };
  },
  async blind_sign({ variant, private_key, blinded_msg }) {
    const key = await privateKey(private_key);
    return { blind_sig: hex(await VARIANTS[variant].blindSign(key, unhex(blinded_msg))) };
  },
  async finalize({ variant, token_key, msg, blind_sig, inv }) {
    const key = await publicKey(token_key);
    return { sig: hex(await VARIANTS[variant].finalize(key, unhex(msg), unhex(blind_sig), unhex(inv))) };
  },
  async verify({ variant, token_key, msg, sig }) {
    const key = await publicKey(token_key);
    return { verified: await VARIANTS[variant].verify(key, unhex(sig), unhex(msg)) };
  },

  // shamir-secret-sharing: the x of a share is its last byte
  async shamir_split({ secret, n, t }) {
    return { shares: (await shamir.split(unhex(secret), n, t)).map(hex) };
  },
  async shamir_combine({ shares }) {
    return { secret: hex(await shamir.combine(shares.map(unhex))) };
  },

  // @hpke/core
  async hpke_seal({ public_key, info, plaintext }) {
    return { box: hex(await sealBox(unhex(public_key), unhex(info), unhex(plaintext))) };
  },
  async hpke_open({ private_key, info, box }) {
    return { plaintext: hex(await openBox(unhex(private_key), unhex(info), unhex(box))) };
  },

  // sealed/1 with these two and WebCrypto
  async open_blob({ blob, ctx, private_keys, organiser_private_key }) {
    const [data, context] = [unhex(blob), unhex(ctx)];
    const [commit, body] = [data.slice(3, 35), data.slice(35, 355)];
    const shares = [];
    for (const [i, key] of Object.entries(private_keys)) {
      const at = 355 + 81 * (i - 1);
      shares.push(
        await openBox(unhex(key), await shareInfo(context, i, commit, body), data.slice(at, at + 81)),
      );
    }
    const key = await shamir.combine(shares);
    const committed = await sha256(join(utf8("sealed/1/commit\0"), context, key));
    if (hex(committed) !== hex(commit)) throw new Error("another key");
    const options = bodyOptions(context, commit);
    const inner = new Uint8Array(await crypto.subtle.decrypt(options, await gcm(key, "decrypt"), body));
    const info = join(utf8("sealed/1/inner\0"), context);
    return { contact: hex(await openBox(unhex(organiser_private_key), info, inner)) };
  },
  async seal_blob({ contact, ctx, organiser_key, trustee_keys, t, key, coefficients }) {
    const [context, secret] = [unhex(ctx), unhex(key)];
    const inner = await sealBox(
      unhex(organiser_key),
      join(utf8("sealed/1/inner\0"), context),
      unhex(contact),
    );
    const commit = await sha256(join(utf8("sealed/1/commit\0"), context, secret));
    const options = bodyOptions(context, commit);
    const body = new Uint8Array(await crypto.subtle.encrypt(options, await gcm(secret, "encrypt"), inner));
    const boxes = [];
    for (const [at, publicKey] of trustee_keys.entries()) {
      let share = new Uint8Array(32);
      for (const c of [...coefficients.map(unhex).reverse(), secret])
        share = share.map((y, k) => times(y, at + 1) ^ c[k]);
      const info = await shareInfo(context, at + 1, commit, body);
      boxes.push(await sealBox(unhex(publicKey), info, join(share, [at + 1])));
    }
    return { blob: hex(join([1, t, trustee_keys.length], commit, body, ...boxes)) };
  },

  // @cloudflare/privacypass-ts
  async create_token_request({ challenge, token_key }) {
    const client = new Client(BlindRSAMode.PSS);
    const request = await client.createTokenRequest(
      pp.TokenChallenge.deserialize(unhex(challenge)),
      unhex(token_key),
    );
    return { client: clients.push(client) - 1, token_request: hex(request.serialize()) };
  },
  async finish_token({ client, token_response }) {
    const response = clients[client].deserializeTokenResponse(unhex(token_response));
    return { token: hex((await clients[client].finalize(response)).serialize()) };
  },
  async issue({ issuer_name, private_key, token_key, token_request }) {
    const issuer = new Issuer(
      BlindRSAMode.PSS,
      issuer_name,
      await privateKey(private_key),
      await publicKey(token_key),
    );
    const response = await issuer.issue(TokenRequest.deserialize(BLIND_RSA, unhex(token_request)));
    return { token_response: hex(response.serialize()) };
  },
  async verify_token({ token_key, token }) {
    const origin = new Origin(BlindRSAMode.PSS, []);
    const parsed = pp.Token.deserialize(BLIND_RSA, unhex(token));
    return { verified: await origin.verify(parsed, await publicKey(token_key)) };
  },
  // For the benchmarks: how long it takes to verify so many, after each was seen once.
  async time_tokens({ token_key, tokens }) {
    const origin = new Origin(BlindRSAMode.PSS, []);
    const key = await publicKey(token_key);
    const parsed = tokens.map((token) => pp.Token.deserialize(BLIND_RSA, unhex(token)));
    let verified = 0;
    for (const token of parsed) verified += await origin.verify(token, key);
    const began = performance.now();
    for (const token of parsed) await origin.verify(token, key);
    return { verified, seconds: (performance.now() - began) / 1000 };
  },
  async parse_challenges({ header }) {
    const parsed = pp.WWWAuthenticateHeader.parse(header);
    return {
      challenges: parsed.map((c) => ({
        challenge: hex(c.challenge.serialize()),
        token_key: hex(c.tokenKey),
        max_age_s: c.maxAge ?? null,
      })),
    };
  },
  async format_challenge({ challenge, token_key, max_age_s }) {
    const parsed = pp.TokenChallenge.deserialize(unhex(challenge));
    return { header: new pp.WWWAuthenticateHeader(parsed, unhex(token_key), max_age_s).toString(true) };
  },
  async parse_authorization({ header }) {
    return { tokens: pp.AuthorizationHeader.parse(BLIND_RSA, header).map((a) => hex(a.token.serialize())) };
  },
  async format_authorization({ token }) {
    const parsed = pp.Token.deserialize(BLIND_RSA, unhex(token));
    return { header: new pp.AuthorizationHeader(parsed).toString(true) };
  },
  async send_token_request({ url, session, token_request }) {
    const headers = new Headers({ Authorization: `Bearer ${session}` });
    return { token_response: hex(await pp.sendTokenRequest(unhex(token_request), url, headers)) };
  },
  async directory({ url }) {
    const answer = await fetch(url + pp.PRIVATE_TOKEN_ISSUER_DIRECTORY);
    return { type: answer.headers.get("content-type"), directory: await answer.json() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...inputs } = JSON.parse(line);
  let answer;
  try {
    answer = await operations[operation](inputs);
  } catch (error) {
    answer = { error: String(error?.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
