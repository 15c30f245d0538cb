// Big-endian fixed-layout structures in the presentation language of RFC 8446, Section 3.
import { concat, equal, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";

/** Takes fields from the front of a byte string and ends with finish: nothing may be left over. */
export class Reader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  #advance(size: number): number {
    const start = this.#at;
    if (start + size > this.#data.length) throw new MalformedError(`truncated: ${size} bytes expected at offset ${start}`);
    this.#at += size;
    return start;
  }

  take(size: number): Bytes {
    const start = this.#advance(size);
    return this.#data.slice(start, start + size) as Bytes;
  }

  /** As take, without a copy: for what is read by the million and never written. */
  view(size: number): Bytes {
    const start = this.#advance(size);
    return this.#data.subarray(start, start + size) as Bytes;
  }

  #number(size: number): number {
    // Above 2^53 this rounds; nothing that exists is so large, and what claims to be differs from it.
    let value = 0;
    for (let at = this.#advance(size); at < this.#at; at++) value = value * 256 + this.#data[at]!;
    return value;
  }

  u8(): number {
    return this.#number(1);
  }

  u16(): number {
    return this.#number(2);
  }

  u32(): number {
    return this.#number(4);
  }

  u64(): number {
    return this.#number(8);
  }

  opaque8(): Bytes {
    return this.take(this.u8());
  }

  opaque16(): Bytes {
    return this.take(this.u16());
  }

  expect(constant: Uint8Array, name: string): void {
    if (!equal(this.view(constant.length), constant)) throw new MalformedError(`wrong ${name}`);
  }

  get left(): number {
    return this.#data.length - this.#at;
  }

  finish(): void {
    if (this.left) throw new MalformedError(`${this.left} trailing bytes`);
  }
}

function number(value: number, size: number): Bytes {
  const data = new Uint8Array(size);
  let rest = value;
  for (let i = size - 1; i >= 0; i--) {
    data[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  if (rest || !Number.isSafeInteger(value) || value < 0) throw new RangeError("number out of range");
  return data;
}

export const u8 = (value: number): Bytes => number(value, 1);
export const u16 = (value: number): Bytes => number(value, 2);
export const u32 = (value: number): Bytes => number(value, 4);
export const u64 = (value: number): Bytes => number(value, 8);
export const opaque8 = (value: Uint8Array): Bytes => concat(u8(value.length), value);
export const opaque16 = (value: Uint8Array): Bytes => concat(u16(value.length), value);
