"""The growth of one scope's count, from all seals since its manifest and the totals that they carry.

Whether the totals are true is asked by an audit, which recounts the entries; here, whether every seal is
there, each follows from the one before, and the numbers that they name only move as numbers of pledges can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from headcount_spec.errors import MalformedError, ProofError
from headcount_spec.merkle import leaf_hash
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.totals import decode_totals


@dataclass(frozen=True, slots=True)
class CountAt:
    """What the ledger has sealed about a scope at the end of one batch."""

    batch: int
    index: int  # of the seal
    day: int
    pledges: int  # of all scopes, up to this seal
    gross: int
    live: int

    @property
    def size(self) -> int:
        """Entries of the tree that ends with this seal."""
        return self.index + 1


def follow(
    seals: Sequence[tuple[int, Seal]], totals: Sequence[bytes], scope_id: ScopeId, size: int
) -> tuple[CountAt, ...]:
    """The count of a scope at each of these seals (leaf index, seal), the last of which ends the tree.

    totals are the distinct totals files, in the order in which the seals first name them.

    Raises:
        MalformedError: a totals file is malformed.
        ProofError: a seal or a totals file is missing, or what they say contradicts itself.
    """
    if not seals or seals[-1][0] + 1 != size:
        raise ProofError("the last seal does not end the tree")
    for (index, seal), (next_index, following) in pairwise(seals):
        if following.batch != seal.batch + 1 or following.first_index != index + 1:
            raise ProofError(f"a seal is missing after batch {seal.batch}")
        if following.prev_seal != leaf_hash(seal.to_bytes()):
            raise ProofError(f"the seal of batch {following.batch} does not follow the one before")
        if following.day < seal.day:
            raise ProofError(f"the day falls at batch {following.batch}")
        if following.pledges_total != seal.pledges_total + following.pledges_in_batch:
            raise ProofError(f"the numbers of pledges do not add up at batch {following.batch}")
        if next_index - following.first_index < following.pledges_in_batch:
            raise ProofError(f"batch {following.batch} has not so many entries as it says pledges")
    rows = _rows(seals, totals, scope_id)
    growth = tuple(
        CountAt(seal.batch, index, seal.day, seal.pledges_total, *row)
        for (index, seal), row in zip(seals, rows, strict=True)
    )
    for before, after in pairwise(growth):
        if not 0 <= after.gross - before.gross <= after.pledges - before.pledges:
            raise ProofError(f"the count at batch {after.batch} does not follow from the one before")
    return growth


def _rows(
    seals: Sequence[tuple[int, Seal]], totals: Sequence[bytes], scope_id: ScopeId
) -> list[tuple[int, int]]:
    """Gross and live at each seal."""
    left = list(reversed(totals))
    known: dict[bytes, tuple[int, int]] = {}
    rows = []
    for _, seal in seals:
        if seal.totals not in known:
            if not left:
                raise ProofError(f"the totals of batch {seal.batch} are missing")
            data = left.pop()
            if hashlib.sha256(data).digest() != seal.totals:
                raise ProofError(f"other totals than the seal of batch {seal.batch} carries")
            try:
                counts = decode_totals(data)
            except MalformedError as exc:
                raise MalformedError(f"totals of batch {seal.batch}: {exc}") from exc
            if sum(gross for gross, _ in counts.values()) > seal.pledges_total:
                raise ProofError(f"the totals of batch {seal.batch} are more than all pledges")
            known[seal.totals] = counts.get(scope_id, (0, 0))
        rows.append(known[seal.totals])
    if left:
        raise ProofError("totals that no seal carries")
    return rows
