// The conversation with one issuer: its directory, a session, one blind signature. RFC 9578, Sections 4 and 6.
//
// The issuer learns that a person asks for a token of this scope; the message it signs is blinded. Everything is derived
// from the seed, so a repetition asks for the same signature.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { blind, finalize } from "../protocol/blind_rsa.ts";
import { MalformedError, SignatureError, UnknownKeyError } from "../protocol/errors.ts";
import { canonicalise, parseJson, type Json } from "../protocol/jcs.ts";
import { tokenInputs, type Manifest } from "../protocol/scope.ts";
import { blinding } from "../protocol/seed.ts";
import { decodeTokenKey } from "../protocol/spki.ts";
import type { IssuerTerms } from "../protocol/terms.ts";
import { decodeBase64url } from "../protocol/text.ts";
import { TOKEN_TYPE, encodeRequest, parseResponse } from "../protocol/token.ts";
import { solveWork } from "../protocol/work.ts";
import { check, join, originOf, type Transport } from "../reader/transport.ts";
import { isSession } from "./pledge_file.ts";

const DIRECTORY_PATH = ".well-known/private-token-issuer-directory";
const DIRECTORY_TYPE = "application/private-token-issuer-directory";
export const REQUEST_TYPE = "application/private-token-request";
export const RESPONSE_TYPE = "application/private-token-response";
const MAX_DIRECTORY_BYTES = 2 ** 20;

/** A token request, and what its answer is finished with. */
export interface Blinded {
  readonly request: Bytes; // 259 bytes, for the issuer
  readonly finish: (response: Bytes) => Promise<Bytes>; // the authenticator, verified; throws SignatureError
}

/** Blinds the pledge with this nonce for one issuer. The same seed gives the same request. */
export async function blindFor(manifest: Manifest, issuer: number, nonce: Bytes, seed: Bytes): Promise<Blinded> {
  const { name, tokenKey, tokenKeyId } = manifest.issuers[issuer]!;
  const key = decodeTokenKey(tokenKey);
  const input = tokenInputs(manifest, nonce)[issuer]!;
  const { salt, r } = await blinding(seed, nonce, tokenKeyId, key.n);
  const { blindedMsg, inv } = await blind(key, input, salt, r);
  return {
    request: encodeRequest({ truncatedTokenKeyId: tokenKeyId.at(-1)!, blindedMsg }),
    finish: async (response) => {
      try {
        return await finalize(key, input, parseResponse(response), inv);
      } catch (error) {
        if (!(error instanceof SignatureError)) throw error;
        throw new SignatureError(`${name} answered with what is not its signature; stopped`);
      }
    },
  };
}

/** A request that may be sent: the issuer's directory lists the key. */
export interface Prepared {
  readonly url: string;
  readonly blinded: Blinded;
}

/** A session as an issuer answers: pending until what it mailed is typed. */
export interface Session {
  readonly session: string;
  readonly state: "pending" | "proved";
}

/** One issuer of a scope, and the means to talk to it. */
export class Conversation {
  readonly manifest: Manifest;
  readonly index: number;
  readonly #transport: Transport;

  constructor(manifest: Manifest, index: number, transport: Transport) {
    this.manifest = manifest;
    this.index = index;
    this.#transport = transport;
  }

  get issuer(): IssuerTerms {
    return this.manifest.issuers[this.index]!;
  }

  /**
   * Where the issuer takes token requests for the manifest's key, which is used in any case: a directory that does not
   * list it, or lists it twice, belongs to an issuer that is not the one the terms were written for.
   */
  async requestUrl(): Promise<string> {
    const { name, url: base, tokenKey } = this.issuer;
    const url = join(base, DIRECTORY_PATH);
    const answer = await this.#transport("GET", url, { maxBytes: MAX_DIRECTORY_BYTES });
    const directory = parseJson(check(answer, name, DIRECTORY_TYPE), MAX_DIRECTORY_BYTES);
    const { "token-keys": keys, "issuer-request-uri": uri } = object(directory);
    if (!Array.isArray(keys) || typeof uri !== "string") {
      throw new MalformedError("the issuer's directory is not one (RFC 9578, Section 4)");
    }
    if (keys.filter((item) => isKey(item, tokenKey)).length !== 1) {
      throw new UnknownKeyError(`${name} does not list the scope's token key; nothing was sent`);
    }
    let requestUrl: string;
    try {
      requestUrl = new URL(uri, url).href;
    } catch {
      throw new MalformedError("the issuer's request address is not a URL");
    }
    if (originOf(requestUrl) !== originOf(base)) {
      throw new MalformedError("the issuer's request address is on another origin");
    }
    return requestUrl;
  }

  /** Asks for a session with the first evidence of an attester: {address} for email, {code} for in-person. */
  async open(attester: string, evidence: { readonly [name: string]: Json }): Promise<Session> {
    const { scope } = this.manifest;
    const { work } = attester === "email" ? await this.#post("sessions/challenge", { scope, attester }) : {};
    const more = work === undefined ? {} : { work: await solveWork(work, () => new Promise((go) => setTimeout(go))) };
    const asked = { scope, attester, evidence: { ...evidence, ...more } };
    const answer = await this.#post("sessions", asked, undefined, 201);
    const { session, state } = answer;
    if (!isSession(session)) throw new MalformedError("the issuer's session is not a bearer token");
    if (state !== "pending" && state !== "proved") {
      throw new MalformedError("the issuer's session is in an unknown state");
    }
    return { session, state };
  }

  /** Gives the further evidence that a pending session waits for: {code} for email. */
  async confirm(session: string, evidence: Json): Promise<void> {
    const answer = await this.#post("sessions/evidence", evidence, session);
    if (answer.state !== "proved") throw new MalformedError("the issuer's session is in an unknown state");
  }

  /** What is sent for a signature over this nonce, and where; the directory is asked meanwhile, and has to list the key. */
  async prepare(nonce: Bytes, seed: Bytes): Promise<Prepared> {
    const [url, blinded] = await Promise.all([this.requestUrl(), blindFor(this.manifest, this.index, nonce, seed)]);
    return { url, blinded };
  }

  /** The authenticator over the nonce of what was prepared, verified under the manifest's key. */
  async sign(session: string, { url, blinded }: Prepared): Promise<Bytes> {
    const answer = await this.#transport("POST", url, {
      body: blinded.request,
      headers: { "Content-Type": REQUEST_TYPE, Accept: RESPONSE_TYPE, Authorization: `Bearer ${session}` },
    });
    return blinded.finish(check(answer, this.issuer.name, RESPONSE_TYPE));
  }

  async #post(path: string, value: Json, session?: string, status = 200): Promise<{ readonly [name: string]: Json }> {
    const headers: Record<string, string> = { "Content-Type": "application/json" };
    if (session !== undefined) headers.Authorization = `Bearer ${session}`;
    const answer = await this.#transport("POST", join(this.issuer.url, path), { body: canonicalise(value), headers });
    return object(parseJson(check(answer, this.issuer.name, "application/json", status)));
  }
}

function object(value: Json): { readonly [name: string]: Json } {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new MalformedError("the issuer's answer is not an object");
  }
  return value;
}

function isKey(item: Json, tokenKey: Bytes): boolean {
  if (item === null || typeof item !== "object" || Array.isArray(item) || item["token-type"] !== TOKEN_TYPE) return false;
  const text = item["token-key"];
  try {
    return typeof text === "string" && equal(decodeBase64url(text), tokenKey);
  } catch {
    return false;
  }
}
