"""Ledgers of some hundred really signed pledges, over several blocks."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import ledgers
import manifests
from headcount_spec.pledge import Pledge
from ledgers import OPENS, Batch, Ledger

ONE, TWO = 420, 90  # pledges in each scope
BATCH = 130


@functools.cache
def pledges() -> tuple[Pledge, ...]:
    """Of both sample scopes, mixed."""
    one = [manifests.pledge(ledgers.campaign(), 1000 + i) for i in range(ONE)]
    two = [manifests.pledge(ledgers.vote(), 3000 + i, 1 + i % 2) for i in range(TWO)]
    return tuple(
        pledge for i in range(ONE // 14) for pledge in (*one[14 * i : 14 * i + 14], *two[3 * i : 3 * i + 3])
    )


def batches(*, more: Sequence[tuple[int, bytes]] = ()) -> list[Batch]:
    """Terms, pledges in batches with some revisions, and what else is wanted: batch and entry."""
    one, two = ledgers.campaign(), ledgers.vote()
    openings = [*manifests.openings(one), *manifests.openings(two)]
    terms = [manifests.manifest_notice(one), manifests.manifest_notice(two)]
    texts = [*manifests.text_notices(one, terms[0]), *manifests.text_notices(two, terms[1])]
    given = [Batch(OPENS - 1, ledgers.raw(*terms, *texts, *openings))]
    signed = pledges()
    for number, at in enumerate(range(0, len(signed), BATCH)):
        entries = ledgers.raw(*signed[at : at + BATCH])
        given.append(Batch(OPENS + 1 + number, entries))
    last = given[-1].day + 1
    changed = [manifests.revision(signed[0], 1000), manifests.revision(signed[14], 3000, 1, 2)]
    issued = [manifests.issuance(one, last, 432, openings[0])]
    issued += [manifests.issuance(two, last, 96, openings[1 + i], i) for i in range(2)]
    given.append(Batch(last, ledgers.raw(*changed, *issued)))
    again = [manifests.revision(signed[0], 1000, 2, 0), manifests.revision(signed[-1], 3000 + TWO - 1, 1, 1)]
    given.append(Batch(last + 1, ledgers.raw(*again)))
    for number, entry in more:
        given[number].entries.append(entry)
    return given


@functools.cache
def _crowd() -> Ledger:
    return ledgers.build(batches())


def crowd() -> Ledger:
    """A valid ledger; the caller may change it."""
    return _crowd().copy()
