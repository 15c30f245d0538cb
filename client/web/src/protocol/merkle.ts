// Merkle trees of the ledger, RFC 6962, Section 2.1, with SHA-256; proofs by the iterative algorithms of RFC 9162.
//
// Sizes are numbers: a tree of 2^53 leaves is beyond what this implementation takes.
import { equal, type Bytes } from "./bytes.ts";
import { MalformedError, ProofError } from "./errors.ts";
import { sha256, sha256With } from "./sha256.ts";

export const HASH_BYTES = 32;
export const MAX_SIZE = Number.MAX_SAFE_INTEGER;
export const MAX_PROOF_HASHES = 64;
export const EMPTY_ROOT = sha256(new Uint8Array(0));

/** The hash of the perfect subtree over leaves [index << level, (index + 1) << level). */
export type Subtree = (level: number, index: number) => Promise<Uint8Array>;

export function leafHash(entry: Uint8Array): Bytes {
  return sha256With(0, entry);
}

const pair = new Uint8Array(65);
pair[0] = 1;

export function nodeHash(left: Uint8Array, right: Uint8Array): Bytes {
  pair.set(left, 1);
  pair.set(right, 33);
  return sha256(pair);
}

/** The root hash of the tree with these leaf hashes, level by level: a node without a sibling rises unchanged. */
export function root(leaves: readonly Uint8Array[]): Uint8Array {
  if (!leaves.length) return EMPTY_ROOT;
  let level = leaves;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(level[i]!, level[i + 1]!));
    if (level.length % 2) above.push(level[level.length - 1]!);
    level = above;
  }
  return level[0]!;
}

const half = (n: number): number => Math.floor(n / 2);
const isOdd = (n: number): boolean => n % 2 === 1;

/** The root hash that an inclusion proof leads to. RFC 9162, Section 2.1.3.2. */
export function rootFromInclusion(
  proof: readonly Uint8Array[], index: number, size: number, leaf: Uint8Array,
): Uint8Array {
  checkHashes([...proof, leaf]);
  // 1. Compare leaf_index from the inclusion_proof structure against tree_size.
  if (!(0 <= index && index < size && size <= MAX_SIZE)) throw new ProofError("leaf index is not below the tree size");
  // 2., 3.
  let fn = index;
  let sn = size - 1;
  let r = leaf;
  // 4. For each value p in the inclusion_path array:
  for (const p of proof) {
    if (sn === 0) throw new ProofError("inclusion proof is too long");
    if (isOdd(fn) || fn === sn) {
      r = nodeHash(p, r);
      while (!isOdd(fn) && fn) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = half(fn);
    sn = half(sn);
  }
  // 5. Compare sn to 0.
  if (sn) throw new ProofError("inclusion proof is too short");
  return r;
}

/** Checks that the tree of size leaves with this root has leaf at index. */
export function verifyInclusion(
  proof: readonly Uint8Array[], index: number, size: number, leaf: Uint8Array, expected: Uint8Array,
): void {
  if (!equal(rootFromInclusion(proof, index, size, leaf), expected)) {
    throw new ProofError("inclusion proof leads to another root");
  }
}

/** Checks that the tree of newSize leaves begins with the tree of oldSize leaves. RFC 9162, Section 2.1.4.2. */
export function verifyConsistency(
  proof: readonly Uint8Array[], oldSize: number, newSize: number, oldRoot: Uint8Array, newRoot: Uint8Array,
): void {
  checkHashes([...proof, oldRoot, newRoot]);
  if (!(0 <= oldSize && oldSize <= newSize && newSize <= MAX_SIZE)) {
    throw new ProofError("the new tree is smaller than the old one");
  }
  if (oldSize === 0 || oldSize === newSize) {
    if (proof.length) throw new ProofError("consistency proof is too long");
    if (oldSize === newSize && !equal(oldRoot, newRoot)) throw new ProofError("two roots for one tree size");
    if (oldSize === 0 && !equal(oldRoot, EMPTY_ROOT)) throw new ProofError("the empty tree has another root");
    return;
  }
  // 1. If consistency_path is an empty array, stop and fail the proof verification.
  if (!proof.length) throw new ProofError("consistency proof is too short");
  // 2. If first is an exact power of 2, then prepend first_hash to the consistency_path array.
  const path = isPowerOfTwo(oldSize) ? [oldRoot, ...proof] : [...proof];
  // 3., 4. fn = first - 1 and sn = second - 1, shifted until LSB(fn) is not set.
  let fn = oldSize - 1;
  let sn = newSize - 1;
  while (isOdd(fn)) {
    fn = half(fn);
    sn = half(sn);
  }
  // 5.
  let fr = path[0]!;
  let sr = path[0]!;
  // 6. For each subsequent value c in the consistency_path array:
  for (const c of path.slice(1)) {
    if (sn === 0) throw new ProofError("consistency proof is too long");
    if (isOdd(fn) || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (!isOdd(fn) && fn) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = half(fn);
    sn = half(sn);
  }
  // 7. Verify that fr is first_hash, that sr is second_hash, and that sn is 0.
  if (sn) throw new ProofError("consistency proof is too short");
  if (!equal(fr, oldRoot)) throw new ProofError("consistency proof leads to another old root");
  if (!equal(sr, newRoot)) throw new ProofError("consistency proof leads to another new root");
}

function isPowerOfTwo(n: number): boolean {
  while (n > 1 && n % 2 === 0) n /= 2;
  return n === 1;
}

/** The largest power of two below size (k of RFC 6962, Section 2.1). */
export function split(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

/** The inclusion proof of a leaf in the tree of size leaves: the leaf's sibling first. RFC 6962, Section 2.1.1. */
export async function inclusionPath(subtree: Subtree, index: number, size: number): Promise<Uint8Array[]> {
  const path: Uint8Array[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + split(end - start);
    if (index < middle) {
      path.push(await rangeHash(subtree, middle, end));
      end = middle;
    } else {
      path.push(await rangeHash(subtree, start, middle));
      start = middle;
    }
  }
  return path.reverse();
}

/** The consistency proof from the tree of oldSize leaves to that of size leaves. RFC 6962, Section 2.1.2. */
export async function consistencyPath(subtree: Subtree, oldSize: number, size: number): Promise<Uint8Array[]> {
  if (oldSize === 0 || oldSize === size) return [];
  const path: Uint8Array[] = [];
  let start = 0;
  let end = size;
  while (oldSize !== end) {
    const middle = start + split(end - start);
    if (oldSize <= middle) {
      path.push(await rangeHash(subtree, middle, end));
      end = middle;
    } else {
      path.push(await rangeHash(subtree, start, middle));
      start = middle;
    }
  }
  if (start) path.push(await rangeHash(subtree, start, end));
  return path.reverse();
}

/** The root hash of the tree of size leaves, folded from the roots of its perfect subtrees. */
export async function rootFromSubtrees(subtree: Subtree, size: number): Promise<Uint8Array> {
  return size ? rangeHash(subtree, 0, size) : EMPTY_ROOT;
}

async function rangeHash(subtree: Subtree, start: number, end: number): Promise<Uint8Array> {
  const hashes: Uint8Array[] = [];
  while (start < end) {
    let level = 0;
    while (2 ** (level + 1) <= end - start) level++;
    hashes.push(await subtree(level, start / 2 ** level));
    start += 2 ** level;
  }
  return fold(hashes);
}

function fold(hashes: readonly Uint8Array[]): Uint8Array {
  let node = hashes[hashes.length - 1]!;
  for (let i = hashes.length - 2; i >= 0; i--) node = nodeHash(hashes[i]!, node);
  return node;
}

/** The roots of a growing tree's perfect subtrees, largest first: all that appending needs. */
export class CompactRange {
  size = 0;
  readonly #stack: Uint8Array[] = [];

  static from(size: number, hashes: readonly Uint8Array[]): CompactRange {
    let bits = 0;
    for (let rest = size; rest; rest = half(rest)) bits += rest % 2;
    if (bits !== hashes.length || hashes.some((hash) => hash.length !== HASH_BYTES)) {
      throw new MalformedError("number of subtree hashes does not fit the tree size");
    }
    const range = new CompactRange();
    range.size = size;
    range.#stack.push(...hashes);
    return range;
  }

  get hashes(): Uint8Array[] {
    return [...this.#stack];
  }

  copy(): CompactRange {
    return CompactRange.from(this.size, this.#stack);
  }

  append(leaf: Uint8Array): void {
    let node = leaf;
    for (let bit = this.size; isOdd(bit); bit = half(bit)) node = nodeHash(this.#stack.pop()!, node);
    this.#stack.push(node);
    this.size++;
  }

  root(): Uint8Array {
    return this.#stack.length ? fold(this.#stack) : EMPTY_ROOT;
  }
}

function checkHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.length > MAX_PROOF_HASHES + 2) throw new ProofError("proof is too long");
  if (hashes.some((hash) => hash.length !== HASH_BYTES)) throw new ProofError("a hash is not 32 bytes");
}

/** The hashes of a tile, cut. */
export function cutHashes(data: Uint8Array): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let i = 0; i < data.length; i += HASH_BYTES) hashes.push(data.subarray(i, i + HASH_BYTES));
  return hashes;
}

