// HTTP as a client needs it: one request, one capped answer; problem documents (RFC 9457) become errors of our tree.
import { concat, type Bytes } from "../protocol/bytes.ts";
import {
  ChallengeError, CodeRefusedError, MalformedError, NotEligibleError, NotFoundError, NoticeConflictError, ProofError,
  ProtocolError, RefusedError, RevisionConflictError, ScopeClosedError, SignatureError, UnavailableError, UnknownKeyError,
} from "../protocol/errors.ts";
import { parseJson, type Json } from "../protocol/jcs.ts";
import { isPlain } from "../protocol/text.ts";

const TIMEOUT_MS = 20_000;
const MAX_PROBLEM_BYTES = 4096;
const MAX_DETAIL = 300; // characters shown to a person

export interface Answer {
  readonly status: number;
  readonly mediaType: string; // without parameters, lower case
  readonly body: Bytes;
}

export interface Request {
  readonly body?: Bytes;
  readonly headers?: Readonly<Record<string, string>>;
  readonly maxBytes?: number;
}

/** Sends one request and returns its answer, whatever its status; throws UnavailableError without one. */
export type Transport = (method: string, url: string, request?: Request) => Promise<Answer>;

/** Over fetch: no cookies, no referrer, no redirects. */
export const httpTransport: Transport = async (method, url, request = {}) => {
  const who = originOf(url);
  const { body, headers = {}, maxBytes = 65_536 } = request;
  try {
    const response = await fetch(url, {
      method,
      headers,
      ...(body ? { body } : {}),
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      cache: method === "GET" && !url.includes("/tile/") ? "no-store" : "default",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const mediaType = (response.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
    return { status: response.status, mediaType, body: await capped(response, maxBytes, who) };
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new UnavailableError(`${who} cannot be reached`);
  }
};

async function capped(response: Response, maxBytes: number, who: string): Promise<Bytes> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > maxBytes) {
      await reader.cancel();
      throw new UnavailableError(`${who} answers with more than ${maxBytes} bytes`);
    }
    chunks.push(value);
  }
  return concat(...chunks);
}

/** The origin of an http(s) URL, RFC 6454, Section 6.2; throws MalformedError. */
export function originOf(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new MalformedError("not a URL");
  }
  if (!["http:", "https:"].includes(parsed.protocol) || parsed.username || parsed.password) {
    throw new MalformedError("not an http or https URL");
  }
  return parsed.origin;
}

/** The URL of a relative path below base, which is taken as a folder. */
export function join(base: string, path: string): string {
  const origin = originOf(base);
  const url = new URL(path, base.endsWith("/") ? base : `${base}/`).href;
  if (originOf(url) !== origin) throw new MalformedError("a link leads to another origin");
  return url;
}

/** The body of an answer that has this status and media type; otherwise throws what the problem document names. */
export function check(answer: Answer, who: string, mediaType: string, status = 200): Bytes {
  if (answer.status !== status) throw errorOf(answer, who);
  if (answer.mediaType !== mediaType) throw new UnavailableError(`${who} answers with another kind of document`);
  return answer.body;
}

// What another party may say about itself or about us; that somebody misbehaved is found out here, not told.
const STATUS: Readonly<Record<string, number>> = {
  malformed: 400, "bad-signature": 401, "bad-proof": 422, "unknown-key": 401, "wrong-challenge": 401, "cannot-open": 422,
  "not-eligible": 403, "code-refused": 403, "already-issued": 409, "quota-used": 403, "revision-conflict": 409,
  "notice-conflict": 409, "closed-scope": 403, "link-ended": 410, "not-found": 404, "method-refused": 405,
  "too-large": 413, "wrong-type": 415, "rate-limited": 429, unavailable: 503,
};

/** The error that an answer reports; what cannot be understood is UnavailableError. */
export function errorOf(answer: Answer, who: string): ProtocolError {
  const { status } = answer;
  const members = readProblem(answer.body);
  const code = typeof members.code === "string" && STATUS[members.code] === status ? members.code : codeOf(status);
  const said = members.code === code ? members.detail : undefined;
  const isSayable =
    typeof said === "string" && said.length > 0 && said.length <= MAX_DETAIL && !said.includes("\n") && isPlain(said);
  const detail = `${who} says: ${isSayable ? said : `HTTP status ${status}`}`;
  const wait = number(members.retry_after_s) ?? 5;
  if (code === "malformed") return new MalformedError(detail);
  if (code === "bad-signature") return new SignatureError(detail);
  if (code === "bad-proof") return new ProofError(detail);
  if (code === "unknown-key") return new UnknownKeyError(detail);
  if (code === "wrong-challenge") return new ChallengeError(detail);
  if (code === "not-eligible") return new NotEligibleError(detail);
  if (code === "code-refused") return new CodeRefusedError(detail);
  if (code === "closed-scope") return new ScopeClosedError(detail);
  if (code === "not-found") return new NotFoundError(detail);
  if (code === "revision-conflict") return new RevisionConflictError(detail, number(members.serial) ?? 0);
  if (code === "notice-conflict") return new NoticeConflictError(detail, number(members.seq) ?? 0);
  if (code === "unavailable") return new UnavailableError(detail, wait);
  return new RefusedError(code, detail, code === "rate-limited" ? wait : undefined);
}

function readProblem(body: Bytes): Readonly<Record<string, Json>> {
  try {
    const value = parseJson(body, MAX_PROBLEM_BYTES);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}

/** What an answer means that is no problem document of ours, such as a proxy's own page. */
function codeOf(status: number): string {
  const codes: Record<number, string> = {
    404: "not-found", 405: "method-refused", 413: "too-large", 415: "wrong-type", 429: "rate-limited",
  };
  return codes[status] ?? (status >= 400 && status < 500 ? "malformed" : "unavailable");
}

function number(value: Json | undefined): number | undefined {
  return typeof value === "number" && value >= 0 && value < 2 ** 32 ? value : undefined;
}
