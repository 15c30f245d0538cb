// The members of one JSON object (RFC 8259, Section 4), each taken once, by name and type: finish refuses what nobody
// took, so an unknown member fails closed. Errors name the place of a member and never its value.
import { hex, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import type { Json } from "./jcs.ts";
import { decodeBase64, decodeHex, isPlain, parseDay } from "./text.ts";

/** Language tag → text. */
export type Labels = Readonly<Record<string, string>>;

const MAX_LANGUAGES = 64;
export const LANGUAGE = /^[a-z]{2,3}(?:-[a-z0-9]{2,8}){0,4}$/; // RFC 5646, Section 2.1, in lower case
export const LINE = /^[^\n]+$/;

export class Members {
  readonly path: string;
  readonly #left: Map<string, Json>;

  constructor(value: Json, path: string) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      throw new MalformedError(`${path}: not an object`);
    }
    this.#left = new Map(Object.entries(value));
    this.path = path;
  }

  has(name: string): boolean {
    return this.#left.has(name);
  }

  take(name: string): Json {
    const value = this.#left.get(name);
    if (value === undefined) throw new MalformedError(`${this.path}.${name}: missing`);
    this.#left.delete(name);
    return value;
  }

  finish(): void {
    if (this.#left.size) throw new MalformedError(`${this.path}: ${this.#left.size} unknown members`);
  }

  /** A plain, non-empty string of at most maxChars code points. */
  text(name: string, maxChars: number, pattern?: RegExp): string {
    return checkText(this.take(name), `${this.path}.${name}`, maxChars, pattern);
  }

  /** A list of distinct strings. */
  texts(name: string, fewest: number, most: number, maxChars: number, pattern: RegExp): string[] {
    const path = `${this.path}.${name}`;
    const items = this.#list(name, fewest, most).map((item, i) => checkText(item, `${path}[${i}]`, maxChars, pattern));
    checkUnique(items, path);
    return items;
  }

  integer(name: string, minimum: number, maximum = Number.MAX_SAFE_INTEGER): number {
    const value = this.take(name);
    if (typeof value !== "number") throw new MalformedError(`${this.path}.${name}: not an integer`);
    if (value < minimum || value > maximum) throw new MalformedError(`${this.path}.${name}: out of range`);
    return value;
  }

  day(name: string): number {
    return this.decoded(name, parseDay);
  }

  hex32(name: string): Bytes {
    return this.decoded(name, (value) => decodeHex(value, 32));
  }

  /** Exactly size bytes in base64. */
  sized(name: string, size: number): Bytes {
    return this.decoded(name, (value) => decodeBase64(value, size));
  }

  /** What decode makes of the bytes. */
  base64<T>(name: string, decode: (data: Bytes) => T): T {
    return this.decoded(name, (value) => decode(decodeBase64(value)));
  }

  base64List(name: string, fewest: number, most: number, check: (data: Bytes) => Bytes): Bytes[] {
    const path = `${this.path}.${name}`;
    const items = this.#list(name, fewest, most).map((item, i) =>
      decode(item, `${path}[${i}]`, (value) => check(decodeBase64(value))),
    );
    checkUnique(items.map(hex), path);
    return items;
  }

  decoded<T>(name: string, read: (value: string) => T): T {
    return decode(this.take(name), `${this.path}.${name}`, read);
  }

  object(name: string): Members {
    return new Members(this.take(name), `${this.path}.${name}`);
  }

  objects(name: string, fewest: number, most: number): Members[] {
    return this.#list(name, fewest, most).map((item, i) => new Members(item, `${this.path}.${name}[${i}]`));
  }

  /** The same text in several languages, in exactly these if given. */
  labels(name: string, languages: readonly string[] | undefined, maxChars: number, pattern?: RegExp): Labels {
    const inner = this.object(name);
    const tags = inner.languages(languages);
    return Object.fromEntries(tags.map((tag) => [tag, inner.text(tag, maxChars, pattern)]));
  }

  /** A SHA-256 for each of exactly these languages. */
  hashes(name: string, languages: readonly string[]): Readonly<Record<string, Bytes>> {
    const inner = this.object(name);
    return Object.fromEntries(inner.languages(languages).map((tag) => [tag, inner.hex32(tag)]));
  }

  /** The names of all members as language tags, in order. */
  languages(expected: readonly string[] | undefined): string[] {
    const tags = [...this.#left.keys()].sort();
    if (expected && tags.join("\n") !== expected.join("\n")) {
      throw new MalformedError(`${this.path}: not the languages of the title`);
    }
    if (tags.length < 1 || tags.length > MAX_LANGUAGES || !tags.every((tag) => LANGUAGE.test(tag))) {
      throw new MalformedError(`${this.path}: not a map of language tags`);
    }
    return tags;
  }

  #list(name: string, fewest: number, most: number): Json[] {
    const value = this.take(name);
    if (!Array.isArray(value)) throw new MalformedError(`${this.path}.${name}: not a list`);
    if (value.length < fewest || value.length > most) {
      throw new MalformedError(`${this.path}.${name}: ${value.length} items where ${fewest} to ${most} may be`);
    }
    return value;
  }
}

export function checkText(value: Json, path: string, maxChars: number, pattern?: RegExp): string {
  if (typeof value !== "string") throw new MalformedError(`${path}: not a string`);
  const size = value.length > maxChars ? [...value].length : value.length;
  if (size < 1 || size > maxChars) throw new MalformedError(`${path}: ${size} characters where 1 to ${maxChars} may be`);
  if (!isPlain(value)) {
    throw new MalformedError(`${path}: not NFC, or with a character that is not assigned in Unicode 14`);
  }
  if (pattern && !pattern.test(value)) throw new MalformedError(`${path}: not of the form that is demanded`);
  return value;
}

export function checkUnique(items: readonly unknown[], path: string): void {
  if (new Set(items).size !== items.length) throw new MalformedError(`${path}: the same twice`);
}

function decode<T>(value: Json, path: string, read: (value: string) => T): T {
  if (typeof value !== "string") throw new MalformedError(`${path}: not a string`);
  try {
    return read(value);
  } catch (error) {
    if (error instanceof MalformedError) throw new MalformedError(`${path}: ${error.message}`);
    throw error;
  }
}
