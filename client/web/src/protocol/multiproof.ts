// One proof for many leaves of a Merkle tree: of each subtree without such a leaf, its root, once.
import { ProofError } from "./errors.ts";
import { HASH_BYTES, MAX_SIZE, nodeHash, split } from "./merkle.ts";

/** The root hash to which the hashes lead from these leaves, by ascending index. Protocol, Section 4.10. */
export function rootFromLeaves(
  hashes: readonly Uint8Array[], leaves: readonly (readonly [number, Uint8Array])[], size: number,
): Uint8Array {
  const last = leaves[leaves.length - 1];
  if (!last || leaves[0]![0] < 0 || last[0] >= size || size > MAX_SIZE) {
    throw new ProofError("leaf index is not below the tree size");
  }
  if (leaves.some(([index], i) => i > 0 && index <= leaves[i - 1]![0])) {
    throw new ProofError("the leaves do not ascend");
  }
  if ([...hashes, ...leaves.map(([, leaf]) => leaf)].some((hash) => hash.length !== HASH_BYTES)) {
    throw new ProofError("a hash is not 32 bytes");
  }
  let next = 0;
  const visit = (start: number, end: number, low: number, high: number): Uint8Array => {
    if (low === high) {
      const found = hashes[next++];
      if (!found) throw new ProofError("proof is too short");
      return found;
    }
    if (end - start === 1) return leaves[low]![1];
    const middle = start + split(end - start);
    let cut = low;
    while (cut < high && leaves[cut]![0] < middle) cut++;
    return nodeHash(visit(start, middle, low, cut), visit(middle, end, cut, high));
  };
  const found = visit(0, size, 0, leaves.length);
  if (next !== hashes.length) throw new ProofError("proof is too long");
  return found;
}
