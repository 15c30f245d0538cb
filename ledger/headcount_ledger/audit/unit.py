"""What goes to a worker and what comes back: ranges of blocks, and blocks packed into few objects.

Everything here is made to be pickled: a process of its own, or a machine of a cluster, does the work.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount_spec.scope import ScopeId
from headcount_spec.tile import TILE_WIDTH

PREFIX_BYTES = 8  # of a nullifier: what is kept of each, compared in full where two are alike


@dataclass(frozen=True, slots=True)
class Unit:
    """Blocks of 256 entries that one call looks at."""

    first: int  # number of the first block
    blocks: int
    size: int  # entries of the whole log

    def widths(self) -> list[tuple[int, int]]:
        """Number and width of each block."""
        numbers = range(self.first, self.first + self.blocks)
        return [(number, min(TILE_WIDTH, self.size - number * TILE_WIDTH)) for number in numbers]


@dataclass(frozen=True, slots=True)
class Extent:
    """Which signatures are verified. What is left out is counted all the same, and the report says so."""

    start: int = 0  # not those of entries before this index
    only: ScopeId | None = None  # not those of other scopes

    def covers(self, index: int, scope_id: bytes) -> bool:
        """Whether the pledge of this scope at this index is verified."""
        return index >= self.start and self.only in (None, scope_id)


@dataclass(frozen=True, slots=True)
class PledgeRun:
    """Pledges side by side in one block, all of them verified and in order."""

    place: int  # of the first in the block
    number: int
    edges: tuple[bytes, bytes]  # nullifier of the first and of the last
    prefixes: bytes  # PREFIX_BYTES of each nullifier
    choices: tuple[tuple[bytes, int], ...]  # scope id and choice (34 bytes), and how many have them


@dataclass(frozen=True, slots=True)
class OtherEntry:
    """An entry that is no pledge, as it is served."""

    place: int
    offset: int  # of its length field in the bundle
    data: bytes


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A block whose bundle is byte for byte what its hash tile says and whose pledges all verify."""

    number: int
    width: int
    hashes: bytes  # 32 of each entry
    root: bytes  # of the block, empty if it is not full
    parts: tuple[PledgeRun | OtherEntry, ...]
    data: bytes  # the bundle if it holds a seal: a batch ends in it
