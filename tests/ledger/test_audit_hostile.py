from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import corrupter
import keys
import ledgers
from headcount_ledger.audit import AuditReport, audit
from headcount_ledger.audit.block import Block, Stranger
from headcount_ledger.audit.bundle import Leaf
from headcount_ledger.audit.fault import MAX_DETAIL_CHARS, FaultList
from headcount_ledger.audit.strangers import MAX_DIFFERENCES, Differences
from headcount_spec import jcs, notice
from headcount_spec.checkpoint import Checkpoint, sign_checkpoint
from headcount_spec.errors import NotFoundError, TooLargeError, UnavailableError
from headcount_spec.merkle import RootHash, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.policy import Log, Policy
from headcount_spec.seal import Seal
from headcount_spec.wire import opaque16
from ledgers import Batch, Ledger

HEADERS = [b"\x01\x01", b"\x02\x01", b"\x03\x01"]
FIELDS = [field.name for field in dataclasses.fields(Seal)]


def run(ledger: Ledger, **held: object) -> AuditReport:
    return audit(ledger.fetch, ledger.policy, **held)  # type: ignore[arg-type]


def codes(ledger: Ledger, **held: object) -> set[str]:
    return {fault.code for fault in run(ledger, **held).faults}


def test_a_checkpoint_of_another_ledger() -> None:
    ledger = ledgers.sample()
    policy = Policy(logs=(Log(SigningKey("other.example", keys.seed("other")).verification_key),))
    assert "forged-checkpoint" in {fault.code for fault in audit(ledger.fetch, policy).faults}


def test_tiles_of_another_ledger() -> None:
    ledger, other = ledgers.sample(), ledgers.long(257)
    other.files["checkpoint"] = ledger.files["checkpoint"]
    assert "wrong-root" in codes(other)
    fork = corrupter.corrupt("forked-ledger", "operator").ledger
    fork.files["checkpoint"] = ledger.files["checkpoint"]
    assert "unreadable-file" in codes(fork)


def test_a_checkpoint_of_a_size_beyond_all_files() -> None:
    ledger = ledgers.sample()
    huge = Checkpoint(ledger.key.name, 2**62, RootHash(bytes(32)))
    ledger.files["checkpoint"] = sign_checkpoint(huge, ledger.key)
    report = run(ledger)
    assert not report.ok
    assert len(report.faults) < 100


def test_a_ledger_without_any_file_but_the_checkpoint() -> None:
    ledger = ledgers.sample()
    ledger.files = {"checkpoint": ledger.files["checkpoint"]}
    assert codes(ledger) == {"unreadable-file"}


@pytest.mark.parametrize(
    "error", [TooLargeError("too long"), NotFoundError("gone"), UnavailableError("stalled")]
)
@pytest.mark.parametrize("prefix", ["checkpoints/", "totals/", "tile/0/", "tile/entries/", "scopes/"])
def test_a_file_that_cannot_be_read(prefix: str, error: Exception) -> None:
    ledger = ledgers.sample()
    failed: list[str] = []

    def fetch(path: str) -> bytes:
        if path.startswith(prefix) and len(failed) < 5:
            failed.append(path)
            raise error
        return ledger.fetch(path)

    report = audit(fetch, ledger.policy)
    assert "unreadable-file" in {fault.code for fault in report.faults}


def test_a_host_that_is_gone_is_no_good_ledger() -> None:
    ledger = ledgers.long(513)

    def failing(path: str) -> bytes:
        if path.endswith("/000") or path == "checkpoint":
            return ledger.fetch(path)
        raise UnavailableError("no answer in time")

    report = audit(failing, ledger.policy)
    assert "unreadable-file" in {fault.code for fault in report.faults}
    assert report.faults[-1].detail == "the host has stopped to answer: no answer in time"

    def silent(path: str) -> bytes:
        raise UnavailableError("no answer in time")

    report = audit(silent, ledger.policy)
    assert [fault.detail for fault in report.faults] == ["checkpoint: no answer in time"]


@given(st.sampled_from(sorted(ledgers.small().files)), st.binary(max_size=400))
def test_any_bytes_in_any_file_give_a_report(path: str, data: bytes) -> None:
    ledger = ledgers.small()
    same = ledger.files[path] == data
    ledger.files[path] = data
    report = run(ledger)
    assert report.ok == same
    report.to_json()


@given(
    st.integers(0, 4),
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            bytes.__add__, st.sampled_from([b"\x01\x01", b"\x02\x01", b"\x03\x01"]), st.binary(max_size=400)
        ),
        st.builds(lambda text: notice.HEADER + opaque16(text), st.binary(max_size=300)),
        st.builds(
            lambda kind: notice.HEADER + opaque16(jcs.canonicalise({"type": kind})),
            st.recursive(st.one_of(st.none(), st.text(max_size=5)), st.lists, max_leaves=3),
        ),
    ),
)
def test_any_bytes_as_an_entry_that_the_operator_seals_give_a_report(batch: int, data: bytes) -> None:
    given = [Batch(item.day, list(item.entries)) for item in ledgers.small().batches]
    given[batch].entries.append(data)
    ledger = ledgers.build(given, witnesses=(ledgers.WITNESS,))
    assert not run(ledger).ok


@given(
    st.integers(0, 4), st.sampled_from([f.name for f in dataclasses.fields(Seal)]), st.integers(0, 2**32 - 1)
)
def test_any_number_in_a_seal_gives_a_report(batch: int, name: str, value: int) -> None:
    def lie(seal: Seal) -> Seal:
        new = value if isinstance(getattr(seal, name), int) else value.to_bytes(32, "big")
        return dataclasses.replace(seal, **{name: new}) if seal.batch == batch else seal

    ledger = ledgers.small()
    lied = ledgers.build(ledger.batches, witnesses=ledger.witnesses, edit_seal=lie)
    report = run(lied)
    assert report.ok == (lied.leaves == ledger.leaves) or name == "day"  # a day off is no fault


def test_of_bundles_of_another_ledger_little_is_kept() -> None:
    differences, faults = Differences(), FaultList()
    for number in range(64):
        names = [b"%d %d" % (number, i) for i in range(256)]
        served = [Stranger(i, Leaf(0, leaf_hash(name), -1, None, None)) for i, name in enumerate(names)]
        hashes = tuple(leaf_hash(name + b"!") for name in names)
        differences.add(Block(256 * number, hashes, (None,) * 256, tuple(served), None, False), 0)
    recount: Any = None  # is asked about pledges only
    differences.name(recount, faults)
    assert 0 < len(faults) + faults.omitted <= 2 * MAX_DIFFERENCES


def test_no_fault_is_longer_than_a_page() -> None:
    faults = FaultList()
    faults.add("refused-terms", "x" * 10**6)
    (fault,) = faults
    assert len(fault.detail) == MAX_DETAIL_CHARS
