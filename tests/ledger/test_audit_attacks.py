from __future__ import annotations

import pytest

import corrupter
import ledgers
import manifests
from headcount_ledger.audit import SENTENCES, AuditReport, Receipt, audit
from headcount_spec import tile
from headcount_spec.totals import decode_totals, encode_totals
from ledgers import OPENS, Ledger


def run(ledger: Ledger, **held: object) -> AuditReport:
    return audit(ledger.fetch, ledger.policy, **held)  # type: ignore[arg-type]


def codes(ledger: Ledger, **held: object) -> set[str]:
    return {fault.code for fault in run(ledger, **held).faults}


@pytest.mark.parametrize("style", corrupter.STYLES)
@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_an_attack_is_named(attack: str, style: str) -> None:
    case = corrupter.corrupt(attack, style)
    receipts = [Receipt("mine", leaf, proof) for leaf, proof in case.receipts]
    report = run(case.ledger, remembered=case.remembered, receipts=receipts)
    found = [fault for fault in report.faults if fault.code == attack]
    assert found
    assert not report.ok
    assert found[0].batch == case.batch
    others = {fault.code for fault in report.faults} - {attack}
    # What else is said follows from the attack and is no second name for it.
    assert others <= {"forged-checkpoint", "broken-tile", "unreadable-file"} | {
        "deleted-entry": {"rolled-back-ledger"},
        "foreign-key": {"changed-entry", "deleted-entry"},
        "swapped-terms": {"unknown-scope"},
        "edited-count": {"broken-seal"},
    }.get(attack, set())


@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_an_attack_by_the_host_is_placed(attack: str) -> None:
    case = corrupter.corrupt(attack, "host")
    fault = next(f for f in run(case.ledger, remembered=case.remembered).faults if f.code == attack)
    if attack in ("forked-ledger", "rolled-back-ledger", "edited-count"):
        return
    assert fault.index is not None
    bundle = case.ledger.files[tile.bundles_for(len(case.ledger.leaves))[0].path]
    # At the offset stands a whole entry: its length, its type.
    assert fault.offset is not None
    size = int.from_bytes(bundle[fault.offset : fault.offset + 2], "big")
    assert fault.offset + 2 + size <= len(bundle)
    assert bundle[fault.offset + 2] in (1, 2, 3, 4)


def test_each_name_has_its_own_sentence() -> None:
    assert set(corrupter.ATTACKS) <= set(SENTENCES)
    assert len(set(SENTENCES.values())) == len(SENTENCES)


def test_two_faults_are_both_reported() -> None:
    ledger = corrupter.corrupt("changed-entry", "operator-seals").ledger
    path = "totals/5"
    more = {s: (gross + 5, live + 5) for s, (gross, live) in decode_totals(ledger.files[path]).items()}
    ledger.files[path] = encode_totals(more)
    ledger.files["checkpoints/3"] = ledger.files["checkpoints/2"]
    found = [(fault.code, fault.batch) for fault in run(ledger).faults]
    assert found == [("changed-entry", 2), ("broken-seal", 3), ("edited-count", 5)]


def test_a_whole_batch_is_missing() -> None:
    whole = ledgers.sample()
    leaves = [e for i, end in enumerate(whole.ends) if i != 2 for e in whole.leaves[whole.first(i) : end]]
    whole.leaves = leaves
    ledgers.publish_tiles(whole.files, leaves, 0)
    ledgers.publish_hints(whole)
    whole.files["checkpoint"] = ledgers.sign(whole, OPENS)
    found = [fault for fault in run(whole).faults if fault.code == "deleted-entry"]
    assert [fault.batch for fault in found] == [2]


def test_swapped_terms_under_a_scope_id_of_their_own() -> None:
    # The operator puts other terms with the same token key in the place of those that were signed.
    batches = ledgers.copied()
    other = manifests.manifest(threshold=1)
    openings = manifests.openings(other)
    batches[0].entries = ledgers.raw(
        manifests.manifest_notice(other), *manifests.text_notices(other), *openings
    )
    assert "swapped-terms" in codes(ledgers.build(batches[:2]))


def test_a_swapped_text() -> None:
    batches = ledgers.copied()
    at = next(i for i, e in enumerate(batches[0].entries) if b'"text":"We move together' in e)
    batches[0].entries[at] = batches[0].entries[at].replace(b"We move together", b"We move to Mars.")
    assert "swapped-terms" in codes(ledgers.build(batches))


def test_the_operator_rebuilds_all_but_the_archived_checkpoints() -> None:
    rebuilt = corrupter.corrupt("deleted-entry", "operator-seals").ledger
    whole = ledgers.sample()
    for path in whole.files:
        if path.startswith("checkpoints/") and path != "checkpoints/6":
            rebuilt.files[path] = whole.files[path]
    assert {"deleted-entry", "broken-seal"} <= codes(rebuilt)
