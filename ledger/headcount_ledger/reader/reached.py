"""Where a campaign was reached: its first seal with enough live pledges, read from the end of a ledger.

Enough is the threshold, and what quotas ask for where the terms have any.

Each seal is proven to be in the tree, names the batch before it by its hash, and has the hash of the
totals. That the totals are what the entries give is the audit's question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from headcount_ledger.reader.view import LedgerView
from headcount_spec.certificate import Reached
from headcount_spec.errors import ProofError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.quotas import is_enough, option_counts
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.totals import decode_totals, totals_path


@dataclass(frozen=True, slots=True)
class PlacedSeal:
    """A seal at its place in the ledger."""

    index: int
    hash: LeafHash
    seal: Seal


@dataclass(frozen=True, slots=True)
class ReachedAt:
    """What trustees certify, and the leaf index of the seal."""

    index: int
    reached: Reached


def seals(view: LedgerView) -> Iterator[PlacedSeal]:
    """The seals of all batches, the newest first.

    Raises:
        ProofError: a seal is not in the tree, or does not follow the one before it.
        MalformedError, NotFoundError, UnavailableError: the files cannot be read.
    """
    newer: Seal | None = None
    index = view.size - 1
    while index >= 0:
        data = view.entry(index)
        seal, hash = Seal.from_bytes(data), leaf_hash(data)
        if newer is not None and (seal.batch + 1 != newer.batch or newer.prev_seal != hash):
            raise ProofError("a seal does not name the one before it")
        if not 0 <= seal.first_index <= index or (seal.batch == 0) != (seal.first_index == 0):
            raise ProofError("a seal contradicts its place in the ledger")
        yield PlacedSeal(index, hash, seal)
        newer, index = seal, seal.first_index - 1


def totals_at(view: LedgerView, seal: Seal) -> dict[ScopeId, tuple[int, int]]:
    """(gross, live) of every scope at a seal.

    Raises:
        ProofError: the file is not the one whose hash the seal has.
        MalformedError, NotFoundError, UnavailableError: it cannot be read.
    """
    data = view.fetch(totals_path(seal.batch))
    if hashlib.sha256(data).digest() != seal.totals:
        raise ProofError("a file of totals is not the one that was sealed")
    return decode_totals(data)


def find_reached(view: LedgerView, manifest: Manifest, after: int = -1) -> ReachedAt | None:
    """The first seal at which a campaign was reached in time; None as long as it was not.

    Protocol, Section 4.8. Batches up to after are known not to have reached it, and are not read.

    Raises:
        ProofError, MalformedError, NotFoundError, UnavailableError: as seals and totals_at.
    """
    first: ReachedAt | None = None
    for placed in seals(view):
        seal = placed.seal
        if seal.batch <= after:
            break
        totals = totals_at(view, seal)
        gross, live = totals.get(manifest.scope_id, (0, 0))
        if gross == 0:
            break  # it never falls, so there were none before either
        if is_enough(manifest, live, option_counts(manifest, totals), seal.day):
            reached = Reached(manifest.scope_id, placed.hash, seal.batch, live, seal.day)
            first = ReachedAt(placed.index, reached)
    return first
