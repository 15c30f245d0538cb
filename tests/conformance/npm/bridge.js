// One JSON request a line on stdin, one JSON answer a line on stdout; bytes are hex.
import { createInterface } from "node:readline";
import { RSABSSA } from "@cloudflare/blindrsa-ts";
import * as pp from "@cloudflare/privacypass-ts";

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
