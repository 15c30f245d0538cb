// The PrivateToken HTTP authentication scheme, RFC 9577, Section 2, as header values.
import type { Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { decodeBase64url, parseDecimal } from "./text.ts";

const SCHEME = "privatetoken";
const MAX_HEADER_CHARS = 16384;
const MAX_AGE_S = 2 ** 31 - 1;

// RFC 9110, Sections 5.6.2, 5.6.4 and 11.2
const TCHARS = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const QUOTED = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e]|\\\\[\\t \\x21-\\x7e])*"';
const END = "[ \\t]*(?=,|$)";
const PARAM = new RegExp(`(${TCHARS})[ \\t]*=[ \\t]*(${TCHARS}|${QUOTED})${END}`, "y");
const SCHEME_NAME = new RegExp(`(${TCHARS})(?: +|(?=,|$))`, "y");
const TOKEN68 = new RegExp(`[A-Za-z0-9\\-._~+/]+=*${END}`, "y");
const COMMAS = /[ \t]*(?:,[ \t]*)*/y;

export interface Challenge {
  readonly challenge: Bytes;
  readonly tokenKey: Bytes | null;
  readonly maxAgeS: number | null;
}

/** The PrivateToken challenges of one WWW-Authenticate value, in their order; there may be none. */
export function parseWwwAuthenticate(value: string): Challenge[] {
  const challenges: Challenge[] = [];
  for (const [scheme, params] of parse(value)) {
    if (scheme.toLowerCase() !== SCHEME) continue;
    const challenge = params.get("challenge");
    if (challenge === undefined) throw new MalformedError("a PrivateToken challenge carries no challenge");
    const tokenKey = params.get("token-key");
    const maxAge = params.get("max-age");
    challenges.push({
      tokenKey: tokenKey === undefined ? null : decodeBase64url(tokenKey),
      maxAgeS: maxAge === undefined ? null : parseDecimal(maxAge, MAX_AGE_S),
      challenge: decodeBase64url(challenge),
    });
  }
  return challenges;
}

/** The token bytes of an Authorization value. */
export function parseAuthorization(value: string): Bytes {
  const found = [...parse(value)];
  const token = found[0]?.[1].get("token");
  if (found.length !== 1 || found[0]![0].toLowerCase() !== SCHEME || token === undefined) {
    throw new MalformedError("not a PrivateToken authorization");
  }
  return decodeBase64url(token);
}

function* parse(value: string): Generator<[string, Map<string, string>]> {
  // RFC 9110, Section 11.6.1: a list of auth-scheme [ 1*SP ( token68 / #auth-param ) ]. A comma separates both challenges
  // and parameters: what follows one is a parameter if it reads as name = value, else a scheme.
  if (value.length > MAX_HEADER_CHARS) throw new MalformedError("the header is too long");
  let scheme: string | undefined;
  let params = new Map<string, string>();
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(value);
    if (found) at += found[0].length;
    return found;
  };
  match(COMMAS);
  while (at < value.length) {
    let param = scheme === undefined ? null : match(PARAM);
    if (!param) {
      if (scheme !== undefined) yield [scheme, params];
      const start = match(SCHEME_NAME);
      if (!start) throw new MalformedError("not a list of authentication challenges");
      scheme = start[1]!;
      params = new Map();
      param = match(PARAM);
    }
    if (param) {
      const name = param[1]!.toLowerCase();
      if (params.has(name)) throw new MalformedError("an authentication parameter stands twice");
      params.set(name, unquote(param[2]!));
    } else {
      match(TOKEN68);
    }
    if (at < value.length && value[at] !== ",") throw new MalformedError("not a list of authentication challenges");
    match(COMMAS);
  }
  if (scheme !== undefined) yield [scheme, params];
}

function unquote(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, "$1") : text;
}
