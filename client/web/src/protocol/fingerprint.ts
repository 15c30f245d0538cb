// The scope's fingerprint: eight words of a list of 2,048, the first 88 bits of the scope id. Protocol, Section 2.6.
import { toBigInt } from "./bytes.ts";

const BITS = 88n;
const BITS_A_WORD = 11n;

export function fingerprint(scopeId: Uint8Array, words: readonly string[]): string[] {
  const value = toBigInt(scopeId) >> (BigInt(8 * scopeId.length) - BITS);
  const found: string[] = [];
  for (let shift = BITS - BITS_A_WORD; shift >= 0n; shift -= BITS_A_WORD) {
    found.push(words[Number((value >> shift) & 2047n)]!);
  }
  return found;
}
