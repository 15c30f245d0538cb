"""Merkle trees of the ledger, RFC 6962, Section 2.1, with SHA-256.

Proofs are verified by the iterative algorithms of RFC 9162, Section 2.1, never by generating them
again. Trees are made from leaf hashes or from a ``Subtree`` function; storage is in ``tile``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NewType

from headcount_spec.errors import MalformedError, ProofError

LeafHash = NewType("LeafHash", bytes)  # 32 bytes
RootHash = NewType("RootHash", bytes)  # 32 bytes

# The hash of the perfect subtree over leaves [index << level, (index + 1) << level).
Subtree = Callable[[int, int], bytes]

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1  # tlog-cosignature and every int64 implementation
MAX_PROOF_HASHES = 64
EMPTY_ROOT = RootHash(sha256(b"").digest())


def leaf_hash(entry: bytes) -> LeafHash:
    """The hash of an entry's bytes.

    RFC 6962, Section 2.1.

    >>> leaf_hash(b"").hex()
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
    """
    return LeafHash(sha256(b"\x00" + entry).digest())


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children's hashes.

    RFC 6962, Section 2.1.
    """
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> RootHash:
    """The root hash of the tree with these leaves.

    RFC 6962, Section 2.1. Works level by level: a node without a right sibling rises unchanged, which
    gives the same tree as splitting at the largest power of two.
    """
    level = list(leaf_hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        if len(level) & 1:
            above.append(level[-1])
        level = above
    return RootHash(level[0])


def subtrees(leaf_hashes: Sequence[bytes]) -> Subtree:
    """The Subtree function of a tree whose leaf hashes are in memory."""

    def subtree(level: int, index: int) -> bytes:
        return root(leaf_hashes[index << level : (index + 1) << level])

    return subtree


def root_from_subtrees(subtree: Subtree, size: int) -> RootHash:
    """The root hash of the tree of size leaves, folded from the roots of its perfect subtrees."""
    return RootHash(range_hash(subtree, 0, size)) if size else EMPTY_ROOT


def inclusion_path(tree: Sequence[bytes] | Subtree, index: int, size: int | None = None) -> list[bytes]:
    """The inclusion proof of leaf index in the tree of size leaves: the leaf's sibling first.

    RFC 6962, Section 2.1.1. 0 <= index < size; size may be left out for a sequence of leaf hashes.
    """
    subtree, size = _tree(tree, size)
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(range_hash(subtree, middle, end))
            end = middle
        else:
            path.append(range_hash(subtree, start, middle))
            start = middle
    path.reverse()
    return path


def consistency_path(tree: Sequence[bytes] | Subtree, old_size: int, size: int | None = None) -> list[bytes]:
    """The consistency proof from the tree of old_size leaves to that of size leaves.

    RFC 6962, Section 2.1.2. 0 <= old_size <= size; empty if old_size is 0 or size.
    """
    subtree, size = _tree(tree, size)
    if not 0 <= old_size <= size:
        raise ValueError("no such tree")
    if old_size in (0, size):
        return []
    path = []
    start, end = 0, size
    while old_size != end:
        middle = start + split(end - start)
        if old_size <= middle:
            path.append(range_hash(subtree, middle, end))
            end = middle
        else:
            path.append(range_hash(subtree, start, middle))
            start = middle
    if start:  # otherwise the last subtree is the whole old tree, whose root the verifier has
        path.append(range_hash(subtree, start, end))
    path.reverse()
    return path


def root_from_inclusion(proof: Sequence[bytes], index: int, size: int, leaf: LeafHash) -> RootHash:
    """The root hash that an inclusion proof leads to.

    RFC 9162, Section 2.1.3.2.

    Raises:
        ProofError: index is not below size, or the proof has another length.
    """
    _check_hashes(proof, leaf)
    # 1. Compare leaf_index from the inclusion_proof structure against tree_size.
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError("leaf index is not below the tree size")
    # 2., 3.
    fn, sn = index, size - 1
    r: bytes = leaf
    # 4. For each value p in the inclusion_path array:
    for p in proof:
        if sn == 0:
            raise ProofError("inclusion proof is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    # 5. Compare sn to 0.
    if sn:
        raise ProofError("inclusion proof is too short")
    return RootHash(r)


def verify_inclusion(proof: Sequence[bytes], index: int, size: int, leaf: LeafHash, root: RootHash) -> None:
    """Check that the tree of size leaves with this root has leaf at index.

    RFC 9162, Section 2.1.3.2. Hashes are 32 bytes, the leaf's sibling first; 0 <= index < size.

    Raises:
        ProofError: the proof leads to another root or has another length.
    """
    if root_from_inclusion(proof, index, size, leaf) != root:
        raise ProofError("inclusion proof leads to another root")


def verify_consistency(
    proof: Sequence[bytes], old_size: int, new_size: int, old_root: RootHash, new_root: RootHash
) -> None:
    """Check that the tree of new_size leaves begins with the tree of old_size leaves.

    RFC 9162, Section 2.1.4.2. 0 <= old_size <= new_size; the proof is empty if old_size is 0 or new_size.

    Raises:
        ProofError: the proof leads to other roots or has another length.
    """
    _check_hashes(proof, old_root, new_root)
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ProofError("the new tree is smaller than the old one")
    if old_size in (0, new_size):
        if proof:
            raise ProofError("consistency proof is too long")
        if old_size == new_size and old_root != new_root:
            raise ProofError("two roots for one tree size")
        if old_size == 0 and old_root != EMPTY_ROOT:
            raise ProofError("the empty tree has another root")
        return
    # 1. If consistency_path is an empty array, stop and fail the proof verification.
    if not proof:
        raise ProofError("consistency proof is too short")
    # 2. If first is an exact power of 2, then prepend first_hash to the consistency_path array.
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    # 3. Set fn to first - 1 and sn to second - 1.
    fn, sn = old_size - 1, new_size - 1
    # 4. If LSB(fn) is set, then right-shift both fn and sn equally until LSB(fn) is not set.
    while fn & 1:
        fn >>= 1
        sn >>= 1
    # 5. Set both fr and sr to the first value in the consistency_path array.
    fr = sr = path[0]
    # 6. For each subsequent value c in the consistency_path array:
    for c in path[1:]:
        if sn == 0:
            raise ProofError("consistency proof is too long")
        if fn & 1 or fn == sn:
            fr = node_hash(c, fr)
            sr = node_hash(c, sr)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    # 7. Verify that fr is first_hash, that sr is second_hash, and that sn is 0.
    if sn:
        raise ProofError("consistency proof is too short")
    if fr != old_root:
        raise ProofError("consistency proof leads to another old root")
    if sr != new_root:
        raise ProofError("consistency proof leads to another new root")


class CompactRange:
    """The roots of a growing tree's perfect subtrees, largest first: all that appending needs."""

    __slots__ = ("_size", "_stack")

    def __init__(self) -> None:
        self._size = 0
        self._stack: list[bytes] = []

    @classmethod
    def from_hashes(cls, size: int, hashes: Sequence[bytes]) -> CompactRange:
        """The range of a tree of size leaves, from what ``hashes`` gave.

        Raises:
            MalformedError: another number of hashes than size has bits set, or a hash not of 32 bytes.
        """
        if not 0 <= size <= MAX_SIZE or len(hashes) != size.bit_count():
            raise MalformedError("number of subtree hashes does not fit the tree size")
        if any(len(h) != HASH_BYTES for h in hashes):
            raise MalformedError("a subtree hash is not 32 bytes")
        new = cls()
        new._size = size
        new._stack = list(hashes)
        return new

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def hashes(self) -> list[bytes]:
        """The roots of the perfect subtrees, left (largest) first; as many as size has bits set."""
        return list(self._stack)

    def copy(self) -> CompactRange:
        """A range that grows independently."""
        return self.from_hashes(self._size, self._stack)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaf hashes."""
        # One loop with local names: an audit runs it for every entry of the ledger.
        stack, size, digest = self._stack, self._size, sha256
        for node in leaf_hashes:
            bit = size
            while bit & 1:
                node = digest(b"\x01" + stack.pop() + node).digest()
                bit >>= 1
            stack.append(node)
            size += 1
        self._size = size

    def root(self) -> RootHash:
        """The root hash of the tree so far."""
        return RootHash(_fold(self._stack)) if self._stack else EMPTY_ROOT


def split(size: int) -> int:
    """The largest power of two below size (k of RFC 6962, Section 2.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _fold(hashes: Sequence[bytes]) -> bytes:
    node = hashes[-1]
    for left in reversed(hashes[:-1]):
        node = node_hash(left, node)
    return node


def range_hash(subtree: Subtree, start: int, end: int) -> bytes:
    """MTH(D[start:end]); start is a multiple of the smallest power of two >= end - start."""
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(subtree(level, start >> level))
        start += 1 << level
    return _fold(hashes)


def _tree(tree: Sequence[bytes] | Subtree, size: int | None) -> tuple[Subtree, int]:
    if callable(tree):
        if size is None:
            raise ValueError("a Subtree function needs a size")
        return tree, size
    return subtrees(tree), len(tree) if size is None else size


def _check_hashes(proof: Sequence[bytes], *others: bytes) -> None:
    if len(proof) > MAX_PROOF_HASHES:
        raise ProofError("proof is too long")
    if any(len(h) != HASH_BYTES for h in (*proof, *others)):
        raise ProofError("a hash is not 32 bytes")
