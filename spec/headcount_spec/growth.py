"""The growth of one scope's count, from all seals since its manifest and the totals that they carry.

Whether the totals are true is asked by an audit, which recounts the entries; here, whether every seal is
there, each follows from the one before, and the numbers that they name only move as numbers of pledges can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from headcount_spec.errors import MalformedError, ProofError
from headcount_spec.merkle import leaf_hash
from headcount_spec.quotas import option_counts, option_id
from headcount_spec.scope import Manifest, ScopeId
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
    options: Mapping[int, int] = field(default_factory=dict)  # live pledges of each; only with quotas

    @property
    def size(self) -> int:
        """Entries of the tree that ends with this seal."""
        return self.index + 1


_Row = tuple[int, int, Mapping[int, int]]


def follow(
    seals: Sequence[tuple[int, Seal]], totals: Sequence[bytes], manifest: Manifest, size: int
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
    rows = _rows(seals, totals, manifest)
    growth = tuple(
        CountAt(seal.batch, index, seal.day, seal.pledges_total, *row)
        for (index, seal), row in zip(seals, rows, strict=True)
    )
    for before, after in pairwise(growth):
        if not 0 <= after.gross - before.gross <= after.pledges - before.pledges:
            raise ProofError(f"the count at batch {after.batch} does not follow from the one before")
    return growth


def _rows(seals: Sequence[tuple[int, Seal]], totals: Sequence[bytes], manifest: Manifest) -> list[_Row]:
    """Gross, live and the options at each seal."""
    left = list(reversed(totals))
    known: dict[bytes, _Row] = {}
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
                options = option_counts(manifest, counts)
            except MalformedError as exc:
                raise MalformedError(f"totals of batch {seal.batch}: {exc}") from exc
            own = counts.get(manifest.scope_id, (0, 0))
            if not _is_possible(counts, manifest, own[0], seal.pledges_total):
                raise ProofError(f"the totals of batch {seal.batch} are more than all pledges")
            known[seal.totals] = (*own, options)
        rows.append(known[seal.totals])
    if left:
        raise ProofError("totals that no seal carries")
    return rows


def _is_possible(
    counts: Mapping[ScopeId, tuple[int, int]], manifest: Manifest, gross: int, pledges: int
) -> bool:
    """Whether these are counts of so many pledges, of which gross are this scope's.

    A pledge of another scope stands in one row, or in two where that scope has quotas: which these are is
    not known here.
    """
    own = {manifest.scope_id}
    if manifest.quotas is not None:
        own.update(option_id(manifest.scope_id, option.number) for option in manifest.options)
    others = sum(number for row, (number, _) in counts.items() if row not in own)
    return gross <= pledges and others <= 2 * (pledges - gross)
