from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fakes
import ledgers
import manifests
import quota_ledgers
from fakes import DAY
from headcount_ledger.audit import audit
from headcount_ledger.audit.sample import sample
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.reader.reached import find_reached
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec.errors import MalformedError
from headcount_spec.scope import WITHDRAWN, Manifest
from headcount_spec.totals import decode_totals, totals_path
from ledgers import OPENS, option_row
from quota_ledgers import REACHED_IN, campaign

SCOPE = campaign()


def view(ledger: ledgers.Ledger) -> LedgerView:
    return open_ledger(ledger.fetch, ledger.policy)


def codes(ledger: ledgers.Ledger) -> set[str]:
    return {fault.code for fault in audit(ledger.fetch, ledger.policy).faults}


def test_it_is_reached_at_the_first_seal_at_which_both_are_enough() -> None:
    ledger = ledgers.build(quota_ledgers.story())
    report = audit(ledger.fetch, ledger.policy)
    assert {fault.code for fault in report.faults} <= {"missing-issuance"}
    count = report.scopes[SCOPE.scope_id]
    assert count.reached is not None
    assert (count.reached.batch, count.reached.day) == (REACHED_IN, OPENS + 2)
    # It stays reached although only one country has enough now.
    assert count.to_json()["quotas"] == {"each": 2, "options": 2, "enough": 1}
    found = find_reached(view(ledger), SCOPE)
    assert found is not None
    assert (found.reached.batch, found.reached.live, found.reached.day) == (REACHED_IN, 4, OPENS + 2)


@pytest.mark.parametrize("number", range(1, REACHED_IN))
def test_the_threshold_or_the_quotas_alone_are_not_enough(number: int) -> None:
    ledger = ledgers.build(quota_ledgers.story()[: number + 1])
    assert audit(ledger.fetch, ledger.policy).scopes[SCOPE.scope_id].reached is None
    assert find_reached(view(ledger), SCOPE) is None


def test_the_rows_of_a_scope_come_to_its_count() -> None:
    ledger = ledgers.build(quota_ledgers.story())
    expected = [{}, {1: 3, 2: 1}, {1: 1, 2: 2}, {1: 2, 2: 2}, {1: 1, 2: 2, 3: 1}]
    for number, options in enumerate(expected):
        rows = decode_totals(ledger.files[totals_path(number)])
        live = rows.pop(SCOPE.scope_id, (0, 0))[1]
        assert rows == {option_row(SCOPE.scope_id, option): (n, n) for option, n in options.items()}
        assert live == sum(options.values())


@pytest.mark.parametrize("name", quota_ledgers.WRONG_ROWS)
def test_a_wrong_row_of_an_option_is_a_fault(name: str) -> None:
    ledger = quota_ledgers.edited(quota_ledgers.WRONG_ROWS[name])
    faults = [f for f in audit(ledger.fetch, ledger.policy).faults if f.code == "edited-count"]
    assert faults
    assert all(fault.batch in (REACHED_IN, REACHED_IN + 1) for fault in faults)


@pytest.mark.parametrize("name", ["missing", "altered", "altered-on-one-side", "surplus"])
def test_rows_that_do_not_come_to_the_count_are_not_believed(name: str) -> None:
    with pytest.raises(MalformedError, match="options"):
        find_reached(view(quota_ledgers.edited(quota_ledgers.WRONG_ROWS[name])), SCOPE)


def test_rows_that_were_moved_would_be_believed_without_an_audit() -> None:
    ledger = quota_ledgers.edited(quota_ledgers.WRONG_ROWS["moved"])
    assert find_reached(view(ledger), SCOPE) is None
    assert "edited-count" in codes(ledger)


def test_what_is_wrong_elsewhere_is_named_once() -> None:
    found = dict(quota_ledgers.judged())
    assert codes(found["quotas-with-an-invalid-pledge"]) == {"foreign-key"}
    assert "edited-count" not in codes(found["quotas-with-a-strange-revision"])
    assert "edited-count" not in codes(found["quotas-without-terms"])
    assert "edited-count" in codes(found["row-of-a-scope-without-quotas"])
    assert "refused-terms" in codes(found["successor-of-quotas"])


def test_a_sample_tells_of_scopes_and_not_of_their_options() -> None:
    ledger = ledgers.build(quota_ledgers.story())
    assert sample(ledger.fetch, ledger.policy, 3).said == {SCOPE.scope_id: (5, 4)}


# A ledger of its own against a count that knows nothing of it.

TERMS = (
    manifests.manifest(
        threshold=6,
        min_batch=1,
        tiers=None,
        freezes="2026-03-01",
        options=manifests.options(*quota_ledgers.COUNTRIES),
        quotas={"each": 2, "options": 2},
    ),
    manifests.manifest(
        threshold=2,
        min_batch=1,
        tiers=None,
        freezes="2026-03-01",
        title=manifests.both("Plain", "Simple"),
        options=manifests.options("Yes", "No"),
        issuers=[manifests.issuer(0, token_key=3)],
    ),
)

PLEDGE, CHANGE, SEAL = "pledge", "change", "seal"
steps = st.lists(
    st.one_of(
        st.tuples(st.just(PLEDGE), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just(CHANGE), st.integers(0, 9), st.sampled_from((1, 2, 3, WITHDRAWN))),
        st.tuples(st.just(SEAL), st.just(0), st.just(0)),
    ),
    min_size=8,
    max_size=24,
)


class Run:
    """A ledger, and every person's last word by hand beside it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.people: list[tuple[Manifest, int, int, int]] = []  # scope, first choice, choice, serial
        self.reached: int | None = None

    def live(self, scope: Manifest) -> Counter[int]:
        words = (choice for where, _, choice, _ in self.people if where == scope)
        return Counter(choice for choice in words if choice != WITHDRAWN)

    def gross(self, scope: Manifest) -> int:
        return sum(where == scope for where, *_ in self.people)

    def act(self, kind: str, which: int, choice: int) -> None:
        if kind == PLEDGE:
            scope = TERMS[which]
            choice = min(choice, len(scope.options))
            self.ledger.accept(manifests.pledge(scope, len(self.people), choice).to_bytes(), DAY)
            self.people.append((scope, choice, choice, 0))
        elif kind == SEAL:
            self.seal()
        elif self.people:
            self.seal()  # one change of a pledge a batch
            number = which % len(self.people)
            scope, first, _, serial = self.people[number]
            choice = choice if choice == WITHDRAWN else min(choice, len(scope.options))
            pledge = manifests.pledge(scope, number, first)
            revision = manifests.revision(pledge, number, serial + 1, choice)
            self.ledger.accept(revision.to_bytes(), DAY)
            self.people[number] = (scope, first, choice, serial + 1)

    def seal(self) -> None:
        """Compare what the seal says with what everybody said."""
        self.ledger.seal(DAY)
        batch = self.ledger.head().batches - 1
        rows = decode_totals(self.ledger.storage.read(totals_path(batch)))
        expected = {}
        for scope in TERMS:
            live = self.live(scope)
            if self.gross(scope):
                expected[scope.scope_id] = (self.gross(scope), live.total())
            if scope.quotas is not None:
                expected |= {option_row(scope.scope_id, choice): (n, n) for choice, n in live.items()}
        assert rows == expected
        live = self.live(TERMS[0])
        if self.reached is None and live.total() >= 6 and sum(n >= 2 for n in live.values()) >= 2:
            self.reached = batch


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_totals_and_audit_say_what_everybody_said_last(given_steps: Sequence[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with fakes.new_ledger(Path(folder) / "ledger") as ledger:
            fakes.open_scopes(ledger, *TERMS)
            run = Run(ledger)
            for step in given_steps:
                run.act(*step)
            run.seal()
            count = fakes.whole_audit(ledger).scopes[TERMS[0].scope_id]
            live = run.live(TERMS[0])
            assert dict(count.choices) == {choice: live[choice] for choice in (1, 2, 3)}
            assert (count.reached and count.reached.batch) == run.reached
            found = find_reached(open_ledger(ledger.storage.read, ledger.policy()), TERMS[0])
            assert (found and found.reached.batch) == run.reached
        assert fsck(ledger.config, DAY).findings == ()
