from __future__ import annotations

import dataclasses

import pytest

import corrupter
import keys
import ledgers
import manifests
from headcount_ledger.audit import AuditReport, Receipt, audit
from headcount_spec.checkpoint import Checkpoint, sign_checkpoint
from headcount_spec.errors import ProofError
from headcount_spec.merkle import RootHash, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.pledge import Pledge
from headcount_spec.promise import KIND_PLEDGE, sign_promise
from ledgers import CLOSES, Ledger


def run(ledger: Ledger, **held: object) -> AuditReport:
    return audit(ledger.fetch, ledger.policy, **held)  # type: ignore[arg-type]


def codes(ledger: Ledger, **held: object) -> set[str]:
    return {fault.code for fault in run(ledger, **held).faults}


def test_a_remembered_checkpoint_of_a_shorter_ledger() -> None:
    whole = ledgers.sample()
    for number in range(1, len(whole.ends)):
        earlier = ledgers.build(whole.batches[:number])
        report = run(whole, remembered=[earlier.checkpoint])
        assert report.faults == ()
        assert "Nothing was remembered" not in "".join(report.trusts)


def test_a_fork_after_the_remembered_size_is_not_one() -> None:
    whole = ledgers.sample()
    early = ledgers.build(whole.batches[:1])
    fork = corrupter.corrupt("forked-ledger", "operator-seals").ledger
    assert run(fork, remembered=[early.checkpoint]).faults == ()


def test_a_thorough_deletion_is_found_by_what_was_remembered() -> None:
    ledger = corrupter.corrupt("deleted-entry", "operator-seals").ledger
    assert run(ledger).ok
    earlier = ledgers.build(ledgers.sample().batches[:4])
    assert codes(ledger, remembered=[earlier.checkpoint]) == {"forked-ledger"}


def test_a_receipt_is_found() -> None:
    ledger = ledgers.sample()
    early = ledgers.build(ledger.batches[:4])
    for index in range(len(early.leaves)):
        receipt = Receipt("mine", leaf_hash(early.leaves[index]), early.receipt(index))
        report = run(ledger, receipts=[receipt])
        assert report.faults == ()
        assert [(s.state, s.index) for s in report.receipts] == [("included", index)]


def test_a_receipt_without_its_entry() -> None:
    ledger = ledgers.sample()
    bare = Receipt("mine", None, ledger.receipt(16))
    assert run(ledger, receipts=[bare]).receipts[0].index == 16
    rebuilt = corrupter.corrupt("deleted-entry", "operator-seals").ledger
    assert "deleted-entry" in codes(rebuilt, receipts=[bare])


def test_a_receipt_that_proves_nothing() -> None:
    ledger = ledgers.sample()
    good = ledger.receipt(16)
    other = SigningKey("other.example", keys.seed("other"))
    foreign = sign_checkpoint(Checkpoint(other.name, 1, RootHash(bytes(32))), other)
    for bad in (
        Receipt("mine", leaf_hash(b"another"), good),
        Receipt("mine", None, dataclasses.replace(good, index=99)),
        Receipt("mine", None, dataclasses.replace(good, checkpoint=b"no checkpoint\n")),
        Receipt("mine", None, checkpoint=foreign),
    ):
        with pytest.raises(ProofError, match="mine proves nothing here"):
            run(ledger, receipts=[bad])


def test_a_promise_is_kept_broken_or_not_due() -> None:
    ledger = ledgers.sample()
    pledge = manifests.pledge(ledgers.campaign(), 0)
    absent = manifests.pledge(ledgers.campaign(), 95)

    def receipt(entry: Pledge, deadline: int) -> Receipt:
        leaf = leaf_hash(entry.to_bytes())
        promise = sign_promise(ledger.key, leaf, KIND_PLEDGE, entry.nullifier, 0, deadline)
        return Receipt("mine", leaf, promise=promise)

    kept = run(ledger, receipts=[receipt(pledge, CLOSES)])
    assert kept.ok
    assert kept.receipts[0].state == "included"
    due = run(ledger, receipts=[receipt(absent, CLOSES + 4)])
    assert due.ok
    assert due.receipts[0].to_json()["state"] == "promised"
    broken = run(ledger, receipts=[receipt(absent, CLOSES)])
    assert [fault.code for fault in broken.faults] == ["broken-promise"]
    forged = dataclasses.replace(receipt(absent, CLOSES).promise, signature=bytes(64))  # type: ignore[type-var]
    with pytest.raises(ProofError):
        run(ledger, receipts=[Receipt("mine", None, promise=forged)])


def test_a_checkpoint_that_the_holder_trusted() -> None:
    whole = ledgers.sample()
    fork = corrupter.corrupt("forked-ledger", "operator-seals").ledger
    held = Receipt("mine", None, checkpoint=whole.files["checkpoint"])
    assert run(whole, receipts=[held]).ok
    assert codes(fork, receipts=[held]) == {"forked-ledger"}
    shorter = ledgers.build(whole.batches[:3])
    assert codes(shorter, receipts=[held]) == {"rolled-back-ledger"}
