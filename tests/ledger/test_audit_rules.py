from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

import corrupter
import ledgers
import manifests
from headcount_ledger.audit import SENTENCES
from headcount_spec.pledge import Pledge
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from ledgers import CLOSES, OPENS, Batch, Ledger
from rules import (
    RULES,
    after_destruction,
    codes,
    destruction,
    revised,
    run,
    sheets_of,
    successor_from,
)


@pytest.mark.parametrize(("code", "make"), RULES, ids=[f"{i}-{code}" for i, (code, _) in enumerate(RULES)])
def test_a_broken_rule_is_named(code: str, make: Callable[[], Ledger]) -> None:
    report = run(make())
    assert code in {fault.code for fault in report.faults}
    assert not report.ok
    report.to_json()


def test_as_many_slips_as_the_terms_allow_are_no_fault() -> None:
    assert "too-many-slips" not in codes(sheets_of(3, 2))
    assert "forged-notice" not in codes(sheets_of(3, 2))


def test_every_name_is_used() -> None:
    by_receipt = {"broken-promise"}
    assert {code for code, _ in RULES} | set(corrupter.ATTACKS) | by_receipt == set(SENTENCES)


def test_a_destroyed_key_is_the_issuers_word() -> None:
    report = run(after_destruction(destruction("token"), destruction("tag", "token", day=CLOSES + 3)))
    assert report.ok, report.faults
    said = "that the key which tells who took part is destroyed is only the word of issuer0.example"
    assert sum(said in sentence for sentence in report.trusts) == 1
    before = run(after_destruction(destruction("token")))
    assert before.ok
    assert not any("is destroyed" in sentence for sentence in before.trusts)


def test_a_successor_from_a_seal_that_was_there_is_no_fault() -> None:
    report = run(successor_from(1))
    assert "refused-terms" not in {fault.code for fault in report.faults}
    (two,) = [count for count in report.scopes.values() if count.continues is not None]
    one = ledgers.campaign()
    assert [(part.scope_id, part.seal) for part in two.parts] == [(one.scope_id, 1), (two.scope_id, None)]
    assert two.total == two.parts[0].live > 0


def test_invalid_pledges_never_count() -> None:
    for attack in ("changed-entry", "foreign-key"):
        report = run(corrupter.corrupt(attack, "operator-seals").ledger)
        assert report.scopes[ledgers.campaign().scope_id].gross == 11
    report = run(corrupter.corrupt("replayed-token", "operator-seals").ledger)
    assert report.scopes[ledgers.campaign().scope_id].gross == 12


def test_a_revision_on_the_day_after_the_freeze_counts() -> None:
    freeze = manifests.FREEZES
    batches = ledgers.copied()
    batches.insert(6, Batch(freeze + 1, [revised()]))
    assert run(ledgers.build(batches)).faults == ()
    batches[6].day = freeze + 2
    assert codes(ledgers.build(batches)) == {"late-revision"}


def test_the_threshold_reached_in_the_closing_batch_counts() -> None:
    one = manifests.manifest(threshold=3)
    entries = [manifests.manifest_notice(one), *manifests.openings(one)]
    closing = [*(manifests.pledge(one, i) for i in range(3)), manifests.closing(one)]
    report = run(
        ledgers.build([Batch(OPENS, ledgers.raw(*entries)), Batch(CLOSES + 1, ledgers.raw(*closing))])
    )
    assert report.faults == ()
    reached = report.scopes[one.scope_id].reached
    assert reached is not None
    assert reached.batch == 1


def test_seals_with_absurd_numbers() -> None:
    absurd = {"batch": 2**64 - 1, "first_index": 2**64 - 1, "pledges_total": 2**64 - 1, "day": 2**32 - 1}
    for name, value in absurd.items():

        def lie(seal: Seal, name: str = name, value: int = value) -> Seal:
            return dataclasses.replace(seal, **{name: value}) if seal.batch == 3 else seal

        report = run(ledgers.build(ledgers.sample_batches(), edit_seal=lie))
        assert not report.ok
        assert 3 in {fault.batch for fault in report.faults}


def test_a_lie_in_any_field_of_a_seal_is_found() -> None:
    for field in dataclasses.fields(Seal):

        def lie(seal: Seal, name: str = field.name) -> Seal:
            old = getattr(seal, name)
            new = old + 1 if isinstance(old, int) else bytes(31) + b"\x01"
            # A total that is too low would not even parse.
            return dataclasses.replace(seal, **{name: new}) if seal.batch == 4 else seal

        found = codes(ledgers.build(ledgers.sample_batches(), edit_seal=lie))
        if field.name == "day":  # OPENS + 4 is as good a day, without witnesses
            continue
        assert found & {"broken-seal", "edited-count"}, field.name


def test_totals_of_a_scope_that_is_not_there() -> None:
    def more(number: int, totals: dict[ScopeId, tuple[int, int]]) -> dict[ScopeId, tuple[int, int]]:
        return totals | {ScopeId(bytes(32)): (7, 7)}

    assert codes(ledgers.build(ledgers.sample_batches(), edit_totals=more)) == {"edited-count"}


def test_a_fault_text_names_no_nullifier() -> None:
    for attack in corrupter.ATTACKS:
        case = corrupter.corrupt(attack, "operator-seals")
        texts = [fault.detail for fault in run(case.ledger, remembered=case.remembered).faults]
        for batch in case.ledger.batches:
            for entry in map(ledgers.parsed, batch.entries):
                if isinstance(entry, Pledge):
                    assert not any(entry.nullifier.hex()[:16] in text for text in texts)
