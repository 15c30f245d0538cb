// Byte strings: joined, compared, in hex and UTF-8.
import { MalformedError } from "./errors.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
// Without ignoreBOM the decoder would drop a U+FEFF, and two byte strings would read alike.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function concat(...parts: Uint8Array[]): Bytes {
  let size = 0;
  for (const part of parts) size += part.length;
  const joined = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Nothing here is secret: the first difference ends the comparison. */
export function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && compare(one, other) === 0;
}

/** Below, at or above zero, as byte strings sort; a prefix comes first. */
export function compare(one: Uint8Array, other: Uint8Array): number {
  const size = Math.min(one.length, other.length);
  for (let i = 0; i < size; i++) {
    const difference = one[i]! - other[i]!;
    if (difference) return difference;
  }
  return one.length - other.length;
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

export function hex(data: Uint8Array): string {
  let text = "";
  for (let i = 0; i < data.length; i++) text += HEX[data[i]!];
  return text;
}

/** Of text that is known to be hex; text.decodeHex is for input. */
export function fromHex(text: string): Bytes {
  const data = new Uint8Array(text.length / 2);
  for (let i = 0; i < data.length; i++) data[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return data;
}

export function utf8(text: string): Bytes {
  return encoder.encode(text) as Bytes;
}

/** Throws MalformedError where it is not UTF-8. */
export function fromUtf8(data: Uint8Array): string {
  try {
    return decoder.decode(data);
  } catch {
    throw new MalformedError("not UTF-8");
  }
}

/** ASCII, one character a byte; throws MalformedError for anything else. */
export function fromAscii(data: Uint8Array): string {
  if (data.some((byte) => byte > 0x7f)) throw new MalformedError("not ASCII");
  return decoder.decode(data);
}

/** A copy that owns its bytes. */
export function copy(data: Uint8Array): Bytes {
  return new Uint8Array(data);
}

/** Big-endian. */
export function toBigInt(data: Uint8Array): bigint {
  return data.length ? BigInt(`0x${hex(data)}`) : 0n;
}

/** Big-endian, in size bytes. */
export function fromBigInt(value: bigint, size: number): Bytes {
  return fromHex(value.toString(16).padStart(2 * size, "0"));
}

/** Little-endian (RFC 8032, RFC 7748). */
export function littleEndian(data: Uint8Array): bigint {
  return toBigInt(copy(data).reverse());
}
