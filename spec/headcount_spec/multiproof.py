"""One proof for many leaves of a Merkle tree: of each subtree without such a leaf, its root, once.

The tree is that of RFC 6962, Section 2.1, cut as there; a verifier cuts it the same way and so knows
which hash of the proof stands where. For one leaf it holds the hashes of an inclusion proof, from left
to right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from headcount_spec.errors import ProofError
from headcount_spec.merkle import (
    HASH_BYTES,
    MAX_SIZE,
    LeafHash,
    RootHash,
    Subtree,
    node_hash,
    range_hash,
    split,
)

Leaves = Sequence[tuple[int, LeafHash]]  # by ascending index


def prove_leaves(subtree: Subtree, indices: Sequence[int], size: int) -> list[bytes]:
    """The hashes that lead from the leaves at these ascending indices to the root of the tree."""
    if not indices or indices[-1] >= size or list(indices) != sorted(set(indices)) or indices[0] < 0:
        raise ValueError("no such leaves")
    hashes: list[bytes] = []

    def visit(start: int, end: int, low: int, high: int) -> None:
        """Prove [start, end), in which indices[low:high] are."""
        if low == high:
            hashes.append(range_hash(subtree, start, end))
        elif end - start > 1:
            middle = start + split(end - start)
            cut = bisect_left(indices, middle, low, high)
            visit(start, middle, low, cut)
            visit(middle, end, cut, high)

    visit(0, size, 0, len(indices))
    return hashes


def root_from_leaves(hashes: Sequence[bytes], leaves: Leaves, size: int) -> RootHash:
    """The root hash to which the hashes lead from these leaves.

    Protocol, Section 4.10. A proof has one length: no hash is left over.

    Raises:
        ProofError: no leaf, indices that do not ascend or are not below size, or another length.
    """
    indices = [index for index, _ in leaves]
    if not leaves or not 0 <= indices[0] <= indices[-1] < size <= MAX_SIZE:
        raise ProofError("leaf index is not below the tree size")
    if any(after <= before for before, after in pairwise(indices)):
        raise ProofError("the leaves do not ascend")
    if any(len(item) != HASH_BYTES for item in (*hashes, *(leaf for _, leaf in leaves))):
        raise ProofError("a hash is not 32 bytes")
    left = iter(hashes)

    def visit(start: int, end: int, low: int, high: int) -> bytes:
        """Hash [start, end), in which leaves[low:high] are."""
        if low == high:
            found = next(left, None)
            if found is None:
                raise ProofError("proof is too short")
            return found
        if end - start == 1:
            return leaves[low][1]
        middle = start + split(end - start)
        cut = bisect_left(indices, middle, low, high)
        return node_hash(visit(start, middle, low, cut), visit(middle, end, cut, high))

    root = visit(0, size, 0, len(leaves))
    if next(left, None) is not None:
        raise ProofError("proof is too long")
    return RootHash(root)
