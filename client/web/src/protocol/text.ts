// Values inside text, each with one spelling: base64 (RFC 4648), hex, decimals, days, NFC strings.
import { fromHex, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { isCharacter } from "./unicode14.ts";

export function encodeBase64(data: Uint8Array): string {
  let binary = "";
  // In pieces: String.fromCharCode takes no hundred thousand arguments.
  for (let i = 0; i < data.length; i += 8192) binary += String.fromCharCode(...data.subarray(i, i + 8192));
  return btoa(binary);
}

/** The bytes of the one canonical encoding (Section 4, padded), of size bytes if given. */
export function decodeBase64(text: string, size?: number): Bytes {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    throw new MalformedError("not canonical base64");
  }
  const data = new Uint8Array(binary.length);
  for (let i = 0; i < data.length; i++) data[i] = binary.charCodeAt(i);
  // atob takes white space, missing padding and loose bits.
  if (btoa(binary) !== text) throw new MalformedError("not canonical base64");
  return sized(data, size);
}

export function encodeBase64url(data: Uint8Array): string {
  return encodeBase64(data).replaceAll("+", "-").replaceAll("/", "_");
}

/** Section 5, padded (RFC 9577, Section 2). */
export function decodeBase64url(text: string, size?: number): Bytes {
  if (/[+/]/.test(text)) throw new MalformedError("not canonical base64");
  return decodeBase64(text.replaceAll("-", "+").replaceAll("_", "/"), size);
}

/** Lower case. */
export function decodeHex(text: string, size?: number): Bytes {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new MalformedError("not lower-case hex");
  return sized(fromHex(text), size);
}

function sized(data: Bytes, size: number | undefined): Bytes {
  if (size !== undefined && data.length !== size) {
    throw new MalformedError(`${data.length} bytes where ${size} are expected`);
  }
  return data;
}

/**
 * An ASCII decimal without sign or leading zeros, at most maximum.
 *
 * The protocol's numbers end at 2^63 - 1; beyond 2^53 this implementation refuses.
 */
export function parseDecimal(text: string, maximum = Number.MAX_SAFE_INTEGER): number {
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) throw new MalformedError("not a canonical decimal");
  const value = Number(text);
  if (value > maximum) throw new MalformedError("decimal out of range");
  return value;
}

const DAY_MS = 86_400_000;

/** Days since 1970-01-01 of an ISO 8601 date YYYY-MM-DD from 1970 on. */
export function parseDay(text: string): number {
  if (!/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text)) throw new MalformedError("not a date YYYY-MM-DD");
  const day = Date.parse(`${text}T00:00:00Z`) / DAY_MS;
  if (!Number.isInteger(day) || text.startsWith("0000") || formatDay(day) !== text) {
    throw new MalformedError("no such day");
  }
  if (day < 0) throw new MalformedError("a day before 1970");
  return day;
}

/** The date of a day number, YYYY-MM-DD; beyond the year 9999 "day N". */
export function formatDay(day: number): string {
  return day > 2_932_896 ? `day ${day}` : new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** The UTC day of a time in seconds since 1970. */
export function dayOf(seconds: number): number {
  return Math.floor(seconds / 86400);
}

/** Whether every implementation reads this text alike: NFC, assigned in Unicode 14, no control characters. */
export function isPlain(text: string): boolean {
  for (const char of text) if (char !== "\n" && !isCharacter(char.codePointAt(0)!)) return false;
  return text.normalize("NFC") === text;
}

/** Whether a surrogate stands alone, so that the text has no UTF-8. */
export function hasLoneSurrogate(text: string): boolean {
  return /[\ud800-\udfff]/u.test(text);
}
