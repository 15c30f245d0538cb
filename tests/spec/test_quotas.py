from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledgers
import quota_ledgers
from headcount_spec import quotas
from headcount_spec.errors import ProofError
from headcount_spec.growth import follow
from headcount_spec.merkle import leaf_hash
from headcount_spec.scope import ScopeId
from headcount_spec.seal import GENESIS, Seal
from headcount_spec.terms import Quotas
from headcount_spec.totals import encode_totals
from ledgers import option_row
from quota_ledgers import campaign

SCOPE = campaign()
OTHER = ScopeId(bytes([9]) * 32)
counts = st.dictionaries(st.integers(1, 9), st.integers(0, 9), min_size=1)
asked = st.builds(Quotas, st.integers(1, 9), st.integers(1, 9))


@given(asked, counts)
def test_the_rule_is_what_it_says(terms: Quotas, live: dict[int, int]) -> None:
    enough = [option for option in live if live[option] >= terms.each]
    assert quotas.enough_at(terms, live) == len(enough)
    assert quotas.is_met(terms, live) == (len(enough) >= terms.options)
    assert quotas.is_met(None, live)


@given(asked, counts)
def test_as_many_as_are_missing_are_enough_and_no_fewer(terms: Quotas, live: dict[int, int]) -> None:
    terms = dataclasses.replace(terms, options=min(terms.options, len(live)))
    missing = quotas.missing_for(terms, live)
    assert (missing == 0) == quotas.is_met(terms, live)
    # Each goes where the least is short.
    filled = dict(live)
    for _ in range(missing):
        short = {option: n for option, n in filled.items() if n < terms.each}
        assert not quotas.is_met(terms, filled)
        filled[max(short, key=lambda option: short[option])] += 1
    assert quotas.is_met(terms, filled)


def test_more_than_the_quotas_is_asked() -> None:
    enough = {1: 2, 2: 2, 3: 0}
    assert quotas.is_enough(SCOPE, 4, enough, SCOPE.deadline_day)
    assert not quotas.is_enough(SCOPE, 3, enough, SCOPE.deadline_day)
    assert not quotas.is_enough(SCOPE, 4, enough, SCOPE.deadline_day + 1)
    assert not quotas.is_enough(SCOPE, 4, {1: 4, 2: 0, 3: 0}, SCOPE.deadline_day)


def test_an_option_without_live_pledges_has_no_row() -> None:
    rows = dict(quotas.option_rows(SCOPE.scope_id, {1: 3, 2: 0}))
    assert rows == {option_row(SCOPE.scope_id, 1): (3, 3)}


def sealed(rows: dict[ScopeId, tuple[int, int]], pledges: int) -> tuple[list[tuple[int, Seal]], list[bytes]]:
    totals = encode_totals(rows)
    digest = hashlib.sha256(totals).digest()
    seal = Seal(0, 0, pledges, pledges, 100, GENESIS, GENESIS, GENESIS, digest, bytes(32))  # type: ignore[arg-type]
    return [(pledges, seal)], [totals]


ROWS = {SCOPE.scope_id: (3, 3), option_row(SCOPE.scope_id, 1): (2, 2), option_row(SCOPE.scope_id, 3): (1, 1)}


@pytest.mark.parametrize("others", [{}, {OTHER: (2, 1)}, {OTHER: (2, 2), option_row(OTHER, 1): (2, 2)}])
def test_growth_has_the_options_and_room_for_those_of_others(others: dict[ScopeId, tuple[int, int]]) -> None:
    seals, totals = sealed(ROWS | others, 5)
    (found,) = follow(seals, totals, SCOPE, 6)
    assert (found.gross, found.live, dict(found.options)) == (3, 3, {1: 2, 2: 0, 3: 1})


@pytest.mark.parametrize(
    ("rows", "pledges"),
    [
        (ROWS, 2),
        (ROWS | {OTHER: (1, 1)}, 3),
        (ROWS | {OTHER: (3, 3), option_row(OTHER, 1): (2, 2)}, 5),
    ],
)
def test_growth_counts_no_pledge_a_third_time(rows: dict[ScopeId, tuple[int, int]], pledges: int) -> None:
    seals, totals = sealed(rows, pledges)
    with pytest.raises(ProofError, match="more than all"):
        follow(seals, totals, SCOPE, pledges + 1)


def test_the_story_s_totals_are_the_specification_s() -> None:
    ledger = ledgers.build(quota_ledgers.story())
    last = Seal.from_bytes(ledger.leaves[-1])
    rows = {SCOPE.scope_id: (5, 4), **dict(quotas.option_rows(SCOPE.scope_id, {1: 1, 2: 2, 3: 1}))}
    assert hashlib.sha256(encode_totals(rows)).digest() == last.totals
    assert leaf_hash(ledger.leaves[-1]) == ledger.hashes()[-1]
