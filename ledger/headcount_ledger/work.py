"""Works: what acceptance asks of the one writer, each run inside a transaction that many share.

A work is plain data with a binary form, so that it can be run by a thread here or be sent to the
process that owns the database. Whoever makes one has verified the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from headcount_ledger import staged
from headcount_ledger.arrivals import PledgeRow, pledge_row
from headcount_ledger.notices import ANYBODY, Admission, take_notice
from headcount_spec.errors import MalformedError, ProtocolError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.pledge import Nullifier
from headcount_spec.revision import Revision
from headcount_spec.wire import Reader, u8, u32


@dataclass(frozen=True, slots=True)
class StagePledge:
    """Stage a verified pledge; True unless its nullifier stands or its scope takes no more."""

    nullifier: Nullifier
    leaf_hash: LeafHash
    entry: bytes

    def row(self) -> PledgeRow:
        """The row of the staged table."""
        return pledge_row(self.nullifier, self.leaf_hash, self.entry)

    def __call__(self, tx: Connection) -> bool:
        """Run it alone."""
        return staged.stage_pledges(tx, [self.row()])[0]

    def to_bytes(self) -> bytes:
        """Kind and fields."""
        return b"\x01" + self.nullifier + self.leaf_hash + self.entry


@dataclass(frozen=True, slots=True)
class StageRevision:
    """Stage a verified revision; True if it is the next of its pledge and none is staged."""

    entry: bytes

    def __call__(self, tx: Connection) -> bool:
        """Run it."""
        return staged.stage_revision(tx, Revision.from_bytes(self.entry), leaf_hash(self.entry))

    def to_bytes(self) -> bytes:
        """Kind and fields."""
        return b"\x03" + self.entry


@dataclass(frozen=True, slots=True)
class StageNotice:
    """Check a notice against those that stand, and stage it."""

    entry: bytes
    day: int

    def stage(self, tx: Connection, admission: Admission) -> bool:
        """Run it; True. Raises as ``take_notice``."""
        take_notice(tx, self.entry, self.day, admission)
        return True

    def to_bytes(self) -> bytes:
        """Kind and fields."""
        return b"\x04" + u32(self.day) + self.entry


Work = StagePledge | StageRevision | StageNotice
# What a writer in this process runs as well; raises ProtocolError only before it has written anything.
AnyWork = Callable[[Connection], Any]


def parse_work(data: bytes) -> Work:
    """Read what ``to_bytes`` wrote.

    Raises:
        MalformedError: it is something else.
    """
    if data[:1] == b"\x01" and len(data) > 65 + 68:
        return StagePledge(Nullifier(data[1:33]), LeafHash(data[33:65]), data[65:])
    reader = Reader(data)
    kind = reader.u8()
    if kind == 3:
        return StageRevision(data[1:])
    if kind == 4:
        return StageNotice(data[5:], reader.u32())
    raise MalformedError(f"no work is of kind {u8(kind).hex()}")


def run_group(tx: Connection, works: Sequence[Work | AnyWork], admission: Admission = ANYBODY) -> list[Any]:
    """Run works that came together in one transaction: the result of each, or the error that it raised.

    Pledges are first, in the order of their nullifiers: neighbours share pages, and nothing that is
    answered already depends on the order. The rest keep theirs.
    """
    results: list[Any] = [None] * len(works)
    pledges = [(work, i) for i, work in enumerate(works) if isinstance(work, StagePledge)]
    pledges.sort(key=lambda item: item[0].nullifier)
    rows = [work.row() for work, _ in pledges]
    for (_, i), is_staged in zip(pledges, staged.stage_pledges(tx, rows), strict=True):
        results[i] = is_staged
    for i, work in enumerate(works):
        if not isinstance(work, StagePledge):
            try:
                if isinstance(work, StageNotice):
                    results[i] = work.stage(tx, admission)
                else:
                    results[i] = work(tx)
            except ProtocolError as exc:
                results[i] = exc
    return results
