// Canonical JSON, RFC 8785, restricted to what every language reads alike: I-JSON (RFC 7493) without floats,
// integers below 2^53 in magnitude, unique keys, no lone surrogates, depth below 32.
import { equal, fromUtf8, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { hasLoneSurrogate } from "./text.ts";

export type Json = { [name: string]: Json } | Json[] | string | number | boolean | null;

const MAX_DEPTH = 32; // our manifests need 6

export function canonicalise(value: Json): Bytes {
  return utf8(write(value, 0));
}

function write(value: Json, depth: number): string {
  if (depth >= MAX_DEPTH) throw new MalformedError("JSON nested too deeply");
  if (typeof value === "string") {
    if (hasLoneSurrogate(value)) throw new MalformedError("lone surrogate in JSON");
    return JSON.stringify(value); // RFC 8785, Section 3.2.2.2 is ECMAScript's own
  }
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new MalformedError("JSON integer out of range");
    return String(value);
  }
  if (value === null || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join()}]`;
  const members = Object.keys(value).sort(); // by UTF-16 code units, Section 3.2.3
  return `{${members.map((name) => `${write(name, depth)}:${write(value[name]!, depth + 1)}`).join()}}`;
}

/** The value of a JSON text in any spelling (white space, key order). */
export function parseJson(data: Uint8Array, maxBytes = 65535): Json {
  if (data.length > maxBytes) throw new MalformedError(`JSON longer than ${maxBytes} bytes`);
  const parser = new Parser(fromUtf8(data));
  return parser.whole();
}

/** The value of a JSON text that is in RFC 8785 form. */
export function parseCanonical(data: Uint8Array, maxBytes = 65535): Json {
  const value = parseJson(data, maxBytes);
  if (!equal(canonicalise(value), data)) throw new MalformedError("JSON is not in canonical form (RFC 8785)");
  return value;
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WORDS: readonly [string, Json][] = [["true", true], ["false", false], ["null", null]];

/** JSON.parse keeps the last of two equal keys and reads floats: this refuses both. */
class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Json {
    const value = this.#value(0);
    this.#match(SPACE);
    if (this.#at < this.#text.length) throw new MalformedError("not JSON");
    return value;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #take(token: string): boolean {
    this.#match(SPACE);
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  #value(depth: number): Json {
    if (depth >= MAX_DEPTH) throw new MalformedError("JSON nested too deeply");
    if (this.#take("{")) return this.#object(depth);
    if (this.#take("[")) return this.#array(depth);
    for (const [word, value] of WORDS) if (this.#take(word)) return value;
    if (this.#text[this.#at] === '"') return this.#string();
    const number = this.#match(NUMBER);
    if (number === undefined) throw new MalformedError("not JSON");
    if (!/^-?[0-9]+$/.test(number)) throw new MalformedError("JSON number is not an integer");
    const value = Number(number);
    if (number.length > 17 || number === "-0" || !Number.isSafeInteger(value)) {
      throw new MalformedError("JSON integer out of range");
    }
    return value;
  }

  #string(): string {
    this.#match(SPACE);
    const text = this.#match(STRING);
    if (text === undefined) throw new MalformedError("not JSON");
    const value = JSON.parse(text) as string;
    if (hasLoneSurrogate(value)) throw new MalformedError("lone surrogate in JSON");
    return value;
  }

  #object(depth: number): Json {
    const value = Object.create(null) as { [name: string]: Json }; // "__proto__" is a name like others
    if (this.#take("}")) return value;
    do {
      const name = this.#string();
      if (name in value) throw new MalformedError("duplicate key in JSON");
      if (!this.#take(":")) throw new MalformedError("not JSON");
      value[name] = this.#value(depth + 1);
    } while (this.#take(","));
    if (!this.#take("}")) throw new MalformedError("not JSON");
    return value;
  }

  #array(depth: number): Json {
    const items: Json[] = [];
    if (this.#take("]")) return items;
    do items.push(this.#value(depth + 1));
    while (this.#take(","));
    if (!this.#take("]")) throw new MalformedError("not JSON");
    return items;
  }
}
