"""One block of 256 entries: what the bundle holds against what the hash tile says.

Where they differ, the tree above decides which of the two is genuine, and the difference is named.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from headcount_ledger.audit.bundle import BundleScan, Leaf
from headcount_spec.merkle import root

Accept = Callable[[Sequence[bytes]], bool]  # whether the tree above is over these leaf hashes

NO_HASH = bytes(32)  # stands for an entry of which nothing is known


@dataclass(frozen=True, slots=True)
class Stranger:
    """An entry that is served and is not in the tree."""

    index: int  # where it is served
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class Block:
    """The genuine leaf hashes of one block, with the entries that have them."""

    first: int
    hashes: tuple[bytes, ...]
    leaves: tuple[Leaf | None, ...]  # None where no served entry has the hash
    strangers: tuple[Stranger, ...]
    misplaced: int | None  # index of the first entry that is served at another place of the block
    tile_is_wrong: bool

    @property
    def is_served_whole(self) -> bool:
        """Whether the bundle is byte for byte what the tree is over."""
        return not self.strangers and self.misplaced is None and None not in self.leaves


def settle(first: int, width: int, scan: BundleScan, tile: Sequence[bytes] | None, accept: Accept) -> Block:
    """Decide between bundle and tile and line the entries up with the genuine hashes."""
    served: list[bytes] = [leaf.hash for leaf in scan.leaves]
    if tile is None:
        hashes = [*served[:width], *[NO_HASH] * (width - len(served))]
        wrong = False  # that it is not there is a fault already
    elif list(tile) == served:
        hashes, wrong = served, False
    elif len(served) == width and not accept(tile) and accept(served):
        hashes, wrong = served, True
    else:
        hashes, wrong = list(tile), False
    return _align(first, hashes, scan, wrong)


def is_over(parent: bytes | None) -> Accept:
    """Accepts the leaf hashes of a full block whose root is this hash of the tile above."""
    return lambda hashes: parent is not None and root(hashes) == parent


def _align(first: int, hashes: list[bytes], scan: BundleScan, wrong: bool) -> Block:
    if [leaf.hash for leaf in scan.leaves] == hashes:
        return Block(first, tuple(hashes), scan.leaves, (), None, wrong)
    by_hash: dict[bytes, deque[Leaf]] = {}
    for leaf in scan.leaves:
        by_hash.setdefault(leaf.hash, deque()).append(leaf)
    leaves = tuple(by_hash[h].popleft() if by_hash.get(h) else None for h in hashes)
    left = Counter(hashes)
    strangers = []
    for place, leaf in enumerate(scan.leaves):
        if left[leaf.hash]:
            left[leaf.hash] -= 1
        else:
            strangers.append(Stranger(first + place, leaf))
    # What is there at all must stand in the order of the tree.
    offsets = [(first + i, leaf.offset) for i, leaf in enumerate(leaves) if leaf is not None]
    misplaced = next((index for (index, here), (_, after) in pairwise(offsets) if here > after), None)
    return Block(first, tuple(hashes), leaves, tuple(strangers), misplaced, wrong)
