// Batches: the order of the entries between two seals.
import { compare } from "./bytes.ts";
import type { Entry } from "./entry.ts";

/** Kind of entry, nullifier or leaf hash, serial. */
export type Key = readonly [rank: number, name: Uint8Array, serial: number];

const NONE = new Uint8Array(0);
const SEAL_RANK = 4;
export const BEFORE_ALL: Key = [0, NONE, 0];

/** By what the entries of a batch ascend. */
export function sortKey(entry: Entry, leafHash: Uint8Array): Key {
  if (entry.kind === "pledge") return [1, entry.nullifier, 0];
  if (entry.kind === "revision") return [2, entry.nullifier, entry.serial];
  if (entry.kind === "seal") return [SEAL_RANK, NONE, 0];
  return [3, leafHash, 0];
}

export function compareKeys(one: Key, other: Key): number {
  return one[0] - other[0] || compare(one[1], other[1]) || one[2] - other[2];
}

/** The place of the first key that may not follow the one before it, undefined where all may; equal keys are in order. */
export function checkOrder(keys: Iterable<Key>): number | undefined {
  let last = BEFORE_ALL;
  let place = 0;
  for (const key of keys) {
    if (compareKeys(key, last) < 0 || last[0] === SEAL_RANK) return place;
    last = key;
    place++;
  }
  return undefined;
}
