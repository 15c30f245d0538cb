from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
import ledgers
import manifests
from headcount_spec.absence import check_absence, show_absence
from headcount_spec.accusation import (
    MAX_ACCUSATION_BYTES,
    Accusation,
    Preimage,
    accuse,
    refute,
    verify_accusation,
)
from headcount_spec.entry import parse_entry
from headcount_spec.errors import MalformedError, ProofError, UnknownKeyError
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Log, Policy
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise
from headcount_spec.revision import Revision
from headcount_spec.seal import Seal
from headcount_spec.tile import TileReader
from ledgers import Batch, Ledger

SCOPE = ledgers.campaign()
LEDGER = ledgers.sample()
MANIFEST = LEDGER.leaves.index(manifests.manifest_notice(SCOPE).to_bytes())
KEPT = [
    (index, entry)
    for index, data in enumerate(LEDGER.leaves)
    if isinstance(entry := parse_entry(data), Pledge | Revision) and entry.scope_id == SCOPE.scope_id
]


def promise_of(entry: Pledge | Revision) -> Promise:
    is_pledge = isinstance(entry, Pledge)
    return sign_promise(
        manifests.LEDGER_KEY,
        leaf_hash(entry.to_bytes()),
        KIND_PLEDGE if is_pledge else KIND_REVISION,
        entry.nullifier,
        0 if isinstance(entry, Pledge) else entry.serial,
        SCOPE.deadline_day,
    )


def preimage_of(pledge: Pledge) -> Preimage:
    return Preimage(pledge.scope_id, pledge.choice, pledge.revision_key, pledge.sealed_hash)


def accusation_of(
    entry: Pledge | Revision, pledge: Pledge, ledger: Ledger = LEDGER, first: int = MANIFEST
) -> Accusation:
    reader = TileReader(ledger.fetch, len(ledger.leaves))
    entries = enumerate(ledger.leaves[first:], first)
    return accuse(promise_of(entry), preimage_of(pledge), entries, reader.hash, ledger.files["checkpoint"])


ABSENT = manifests.pledge(SCOPE, 500)
RIGHT = accusation_of(ABSENT, ABSENT)


def test_a_promise_of_what_is_not_there_is_broken() -> None:
    for i in range(500, 520):
        pledge = manifests.pledge(SCOPE, i)
        for entry in (pledge, manifests.revision(pledge, i), manifests.revision(pledge, i, 16)):
            accusation = accusation_of(entry, pledge)
            verified = verify_accusation(accusation, LEDGER.policy)
            assert verified.promise == promise_of(entry)
            assert verified.checkpoint == LEDGER.checkpoint
            absence = verified.absence
            assert (absence.first_batch, absence.last_batch) == (1, 6)
            assert (absence.first_index, absence.end_index) == (LEDGER.ends[0], LEDGER.ends[6])
            assert absence.manifest == SCOPE
            assert absence.is_closing
            assert not absence.is_replaced


def test_of_what_is_there_no_promise_is_broken() -> None:
    assert len(KEPT) > 12
    pledges = {entry.nullifier: entry for _, entry in KEPT if isinstance(entry, Pledge)}
    for _, entry in KEPT:
        with pytest.raises(ProofError, match="entry is there"):
            accusation_of(entry, pledges[entry.nullifier])


@given(st.sampled_from(KEPT), st.data())
def test_no_leaves_at_all_show_that_what_is_there_is_not(
    kept: tuple[int, Pledge | Revision], data: st.DataObject
) -> None:
    place, entry = kept
    other = dataclasses.replace(promise_of(entry), leaf_hash=leaf_hash(b"another"))
    right = {i for i, _ in show_absence(enumerate(LEDGER.leaves[MANIFEST:], MANIFEST), other)}
    changed = right ^ data.draw(st.sets(st.integers(0, len(LEDGER.leaves) - 1), max_size=4))
    changed ^= data.draw(st.sampled_from([set(), {place}]))
    leaves = [(i, LEDGER.leaves[i]) for i in sorted(changed)]
    with pytest.raises(ProofError):
        check_absence(leaves, promise_of(entry), SCOPE.scope_id)


def test_what_is_shown_is_read_no_further_than_the_end() -> None:
    read: list[int] = []

    def entries() -> Any:
        for index in range(MANIFEST, len(longer.leaves)):
            read.append(index)
            yield index, longer.leaves[index]

    more = [manifests.notice(SCOPE, "organiser", "update", {"title": {"en": "x"}, "text": {"en": "x"}}, last)]
    longer = ledgers.build([*ledgers.copied(), Batch(manifests.CLOSES + 9, ledgers.raw(*more))])
    show_absence(entries(), promise_of(ABSENT))
    assert read[-1] == longer.ends[6] - 1


last = manifests.text_notices(SCOPE)[-1]


def test_an_open_scope_ends_with_the_first_seal_after_the_deadline() -> None:
    batches = ledgers.copied()
    batches[6].entries = [e for e in batches[6].entries if e != manifests.closing(SCOPE).to_bytes()]
    waiting = ledgers.build(batches)
    with pytest.raises(ProofError, match="before the deadline"):
        verify_accusation(accusation_of(ABSENT, ABSENT, waiting), waiting.policy)
    for day, passed in ((SCOPE.deadline_day, False), (SCOPE.deadline_day + 1, True)):
        update = manifests.notice(
            SCOPE, "organiser", "update", {"title": {"en": "x"}, "text": {"en": "x"}}, last
        )
        later = ledgers.build([*batches, Batch(day, ledgers.raw(update))])
        accusation = accusation_of(ABSENT, ABSENT, later)
        if passed:
            absence = verify_accusation(accusation, later.policy).absence
            assert (absence.last_day, absence.is_closing) == (day, False)
        else:
            with pytest.raises(ProofError, match="before the deadline"):
                verify_accusation(accusation, later.policy)


def test_a_stranger_closes_no_scope() -> None:
    statement = manifests.closing(SCOPE).statement
    stranger = manifests.sign_statement(statement, [keys.seed("stranger")])
    batches = ledgers.copied()
    batches[3].entries.append(stranger.to_bytes())
    ledger = ledgers.build(batches)
    assert verify_accusation(accusation_of(ABSENT, ABSENT, ledger), ledger.policy).absence.last_batch == 6


def test_a_strangers_manifest_begins_no_scope() -> None:
    batches = ledgers.copied()
    statement = manifests.manifest_notice(SCOPE).statement
    stranger = manifests.sign_statement(statement, [keys.seed("stranger")])
    batches[2].entries.append(stranger.to_bytes())
    ledger = ledgers.build(batches)
    first = ledger.leaves.index(stranger.to_bytes())
    with pytest.raises(ProofError, match="manifest"):
        verify_accusation(accusation_of(ABSENT, ABSENT, ledger, first), ledger.policy)


def test_another_entry_in_the_promised_ones_place_is_said() -> None:
    entry = next(entry for _, entry in KEPT if isinstance(entry, Pledge))
    promise = dataclasses.replace(promise_of(entry), leaf_hash=leaf_hash(b"another"))
    promise = sign_promise(
        manifests.LEDGER_KEY, promise.leaf_hash, KIND_PLEDGE, entry.nullifier, 0, promise.deadline
    )
    reader = TileReader(LEDGER.fetch, len(LEDGER.leaves))
    entries = enumerate(LEDGER.leaves[MANIFEST:], MANIFEST)
    made = accuse(promise, preimage_of(entry), entries, reader.hash, LEDGER.files["checkpoint"])
    assert verify_accusation(made, LEDGER.policy).absence.is_replaced


def test_a_ledger_that_keeps_no_order_or_no_format_is_not_accused_by_it() -> None:
    unsorted = ledgers.copied()
    for batch in unsorted:
        batch.entries.reverse()
    malformed = ledgers.copied()
    malformed[4].entries.append(b"\x01\x01nothing")
    for ledger in (ledgers.build(unsorted, sort=False), ledgers.build(malformed)):
        first = ledger.leaves.index(manifests.manifest_notice(SCOPE).to_bytes())
        for _, entry in KEPT:
            if isinstance(entry, Pledge):
                with pytest.raises(ProofError, match="entry is there"):
                    accusation_of(entry, entry, ledger, first)


def test_seals_that_do_not_follow_each_other_show_nothing() -> None:
    for field, value in (("batch", 9), ("first_index", 3), ("prev_seal", bytes(32))):

        def lie(seal: Seal, field: str = field, value: object = value) -> Seal:
            return dataclasses.replace(seal, **{field: value}) if seal.batch == 4 else seal  # type: ignore[arg-type]

        ledger = ledgers.build(ledgers.copied(), edit_seal=lie)
        with pytest.raises(ProofError, match="follow"):
            verify_accusation(accusation_of(ABSENT, ABSENT, ledger), ledger.policy)


def test_without_the_manifest_there_is_nothing_to_show() -> None:
    reader = TileReader(LEDGER.fetch, len(LEDGER.leaves))
    with pytest.raises(ProofError):
        accuse(promise_of(ABSENT), preimage_of(ABSENT), [], reader.hash, LEDGER.files["checkpoint"])
    accusation = accusation_of(ABSENT, ABSENT, first=len(LEDGER.leaves) - 1)
    with pytest.raises(ProofError):
        verify_accusation(accusation, LEDGER.policy)
    cut = dataclasses.replace(RIGHT, leaves=())
    with pytest.raises(ProofError):
        verify_accusation(cut, LEDGER.policy)
    with pytest.raises(ProofError, match="no batch"):
        check_absence([], promise_of(ABSENT), SCOPE.scope_id)


def test_a_scope_of_another_ledger_accuses_nobody() -> None:
    key = SigningKey("elsewhere.example/log", keys.seed("elsewhere"))
    ledger = ledgers.build(ledgers.copied(), key=key)
    reader = TileReader(ledger.fetch, len(ledger.leaves))
    promise = sign_promise(
        key, leaf_hash(ABSENT.to_bytes()), KIND_PLEDGE, ABSENT.nullifier, 0, SCOPE.deadline_day
    )
    made = accuse(
        promise,
        preimage_of(ABSENT),
        enumerate(ledger.leaves[MANIFEST:], MANIFEST),
        reader.hash,
        ledger.files["checkpoint"],
    )
    with pytest.raises((UnknownKeyError, ProofError)):
        verify_accusation(made, ledger.policy)


def test_a_log_with_two_keys_promised_with_either() -> None:
    old = SigningKey(manifests.ORIGIN, keys.seed("old key"))
    policy = Policy(logs=(Log(old.verification_key), *LEDGER.policy.logs))
    verify_accusation(RIGHT, policy)
    promise = sign_promise(
        old, leaf_hash(ABSENT.to_bytes()), KIND_PLEDGE, ABSENT.nullifier, 0, SCOPE.deadline_day
    )
    verify_accusation(dataclasses.replace(RIGHT, promise=promise), policy)


def test_a_receipt_refutes_only_its_own_ledger() -> None:
    batches = ledgers.copied()
    batches[4].entries.append(ABSENT.to_bytes())
    verified = verify_accusation(RIGHT, LEDGER.policy)
    kept = ledgers.build(batches)
    index = kept.leaves.index(ABSENT.to_bytes())
    assert refute(verified, kept.receipt(index), LEDGER.policy).index == index
    other = SigningKey("other.example", keys.seed("other"))
    elsewhere = ledgers.build(batches, key=other)
    both = Policy(logs=(*LEDGER.policy.logs, Log(other.verification_key)))
    with pytest.raises(ProofError, match="another ledger"):
        refute(verified, elsewhere.receipt(index), both)


# The file.


def test_a_file_is_small() -> None:
    assert len(RIGHT.to_bytes()) < 16_000


def test_too_long_a_file_is_not_read() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return MAX_ACCUSATION_BYTES + 1

    with pytest.raises(MalformedError, match="longer"):
        Accusation.from_bytes(Long(RIGHT.to_bytes()))
    entry = dataclasses.replace(RIGHT, leaves=((0, bytes(65_536)),))
    with pytest.raises(MalformedError, match="entry longer"):
        Accusation.from_bytes(entry.to_bytes())


@given(
    st.lists(
        st.tuples(st.integers(0, 2**63 - 1), st.binary(max_size=40)), max_size=5, unique_by=lambda x: x[0]
    ),
    st.lists(st.binary(min_size=32, max_size=32), max_size=5),
    st.binary(min_size=1, max_size=60),
)
def test_accusations_are_read_back(
    leaves: list[tuple[int, bytes]], hashes: list[bytes], checkpoint: bytes
) -> None:
    made = Accusation(RIGHT.promise, RIGHT.preimage, tuple(sorted(leaves)), tuple(hashes), checkpoint)
    assert Accusation.from_bytes(made.to_bytes()) == made


@given(st.binary(max_size=80), st.integers(0, len(RIGHT.to_bytes())), st.integers(0, 40))
def test_any_bytes_are_read_or_refused(data: bytes, at: int, cut: int) -> None:
    right = RIGHT.to_bytes()
    for some in (data, b"headcount/accusation/v1\n" + data, right[:at] + data + right[at + cut :]):
        with contextlib.suppress(MalformedError):
            assert Accusation.from_bytes(some).to_bytes() == some


@given(st.integers(0, 7), st.binary(max_size=30))
def test_any_entry_as_a_leaf_is_judged_or_refused(at: int, data: bytes) -> None:
    leaves = list(RIGHT.leaves)
    leaves[at] = (leaves[at][0], leaves[at][1][:2] + data)
    with pytest.raises((ProofError, MalformedError)):
        check_absence(leaves, RIGHT.promise, SCOPE.scope_id)
