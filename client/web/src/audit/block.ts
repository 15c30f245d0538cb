// One block of 256 entries: what the bundle holds against what the hash tile says.
//
// Where they differ, the tree above decides which of the two is genuine, and the difference is named.
import { equal, hex, type Bytes } from "../protocol/bytes.ts";
import type { BundleScan, Leaf } from "./bundle.ts";

export const NO_HASH: Bytes = new Uint8Array(32); // stands for an entry of which nothing is known

/** Whether the tree above is over these leaf hashes. */
export type Accept = (hashes: readonly Uint8Array[]) => boolean | Promise<boolean>;

/** An entry that is served and is not in the tree. */
export interface Stranger {
  readonly index: number; // where it is served
  readonly leaf: Leaf;
}

/** The genuine leaf hashes of one block, with the entries that have them. */
export interface Block {
  readonly first: number;
  readonly hashes: readonly Uint8Array[];
  readonly leaves: readonly (Leaf | undefined)[]; // undefined where no served entry has the hash
  readonly strangers: readonly Stranger[];
  readonly misplaced: number | undefined; // index of the first entry that is served at another place of the block
  readonly tileIsWrong: boolean;
}

/** Whether the bundle is byte for byte what the tree is over. */
export function isServedWhole(block: Block): boolean {
  return !block.strangers.length && block.misplaced === undefined && block.leaves.every(Boolean);
}

function sameHashes(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return one.length === other.length && one.every((hash, i) => equal(hash, other[i]!));
}

/** Decides between bundle and tile and lines the entries up with the genuine hashes. */
export async function settle(
  first: number, width: number, scan: BundleScan, tile: readonly Uint8Array[] | undefined, accept: Accept,
): Promise<Block> {
  const served = scan.leaves.map((leaf) => leaf.hash);
  if (!tile) {
    const filled = [...served.slice(0, width)];
    while (filled.length < width) filled.push(NO_HASH);
    return align(first, filled, scan, false); // that it is not there is a fault already
  }
  if (sameHashes(tile, served)) return align(first, served, scan, false);
  if (served.length === width && !(await accept(tile)) && (await accept(served))) return align(first, served, scan, true);
  return align(first, tile, scan, false);
}

function align(first: number, hashes: readonly Uint8Array[], scan: BundleScan, tileIsWrong: boolean): Block {
  const { leaves: served } = scan;
  if (sameHashes(served.map((leaf) => leaf.hash), hashes)) {
    return { first, hashes, leaves: served, strangers: [], misplaced: undefined, tileIsWrong };
  }
  const byHash = new Map<string, Leaf[]>();
  for (const leaf of served) byHash.set(hex(leaf.hash), [...(byHash.get(hex(leaf.hash)) ?? []), leaf]);
  const leaves = hashes.map((hash) => byHash.get(hex(hash))?.shift());
  const left = new Map<string, number>();
  for (const hash of hashes) left.set(hex(hash), (left.get(hex(hash)) ?? 0) + 1);
  const strangers: Stranger[] = [];
  for (const [place, leaf] of served.entries()) {
    const name = hex(leaf.hash);
    const number = left.get(name) ?? 0;
    if (number) left.set(name, number - 1);
    else strangers.push({ index: first + place, leaf });
  }
  // What is there at all must stand in the order of the tree.
  const offsets = leaves.flatMap((leaf, i) => (leaf ? [[first + i, leaf.offset] as const] : []));
  const misplaced = offsets.find(([, here], i) => i + 1 < offsets.length && here > offsets[i + 1]![1])?.[0];
  return { first, hashes, leaves, strangers, misplaced, tileIsWrong };
}
