from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

import fakes
import keys
import manifests
from fakes import DAY
from headcount_ledger import staged
from headcount_ledger.ledger import Ledger
from headcount_spec.errors import ProtocolError, RevisionConflictError, SignatureError
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.promise import Promise

SCOPE = manifests.manifest(min_batch=1, options=manifests.options("Yes", "No"))

T = TypeVar("T")


def storm(works: Sequence[Callable[[], T]]) -> list[T]:
    """Run all of them in a thread each, released at the same moment."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = fakes.new_ledger(tmp_path)
    fakes.open_scopes(ledger, SCOPE)
    return ledger


def other_authenticator(pledge: Pledge) -> Pledge:
    """The same pledge with another signature of the same issuer: PSS is randomised."""
    message = SCOPE.token_inputs(pledge.nullifier)[0]
    authenticator = keys.sign_pss(keys.token_key(0), message, b"\x01" * 48)
    assert authenticator != pledge.authenticators[0]
    return dataclasses.replace(pledge, authenticators=(authenticator,))


def test_a_hundred_threads_with_one_pledge_make_one_entry_and_one_promise(ledger: Ledger) -> None:
    pledge = manifests.pledge(SCOPE, 0, choice=1)
    promises = storm([lambda: ledger.accept(pledge.to_bytes(), DAY)] * 100)
    assert len(promises) == 100
    assert len(set(promises)) == 1
    assert ledger.waiting() == 1
    ledger.seal(DAY)
    assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 1
    ledger.close()


def test_two_pledges_with_one_nullifier_make_one_entry(ledger: Ledger) -> None:
    one = manifests.pledge(SCOPE, 0, choice=1)
    other = other_authenticator(one)
    works = [lambda pledge=pledge: ledger.accept(pledge.to_bytes(), DAY) for pledge in (one, other) * 25]
    promises = set(storm(works))
    assert len(promises) == 1
    promise = promises.pop()
    assert isinstance(promise, Promise)
    assert promise.leaf_hash in {leaf_hash(one.to_bytes()), leaf_hash(other.to_bytes())}
    ledger.seal(DAY)
    # After the sealing too.
    assert {ledger.accept(pledge.to_bytes(), DAY) for pledge in (one, other)} == {promise}
    assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 1
    ledger.close()


def test_pledges_that_arrive_while_batches_are_sealed_all_count_once(ledger: Ledger) -> None:
    pledges = [manifests.pledge(SCOPE, i, choice=1) for i in range(60)]
    stop = threading.Event()

    def sequencer() -> None:
        with Ledger.open(ledger.config) as other:
            while not stop.is_set():
                other.seal(DAY)

    thread = threading.Thread(target=sequencer)
    thread.start()
    try:
        for _ in range(2):
            storm([lambda p=p: ledger.accept(p.to_bytes(), DAY) for p in pledges])
    finally:
        stop.set()
        thread.join()
    ledger.seal(DAY)
    assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 60
    ledger.close()


def test_of_two_revisions_with_one_serial_the_first_wins(ledger: Ledger) -> None:
    pledge = manifests.pledge(SCOPE, 0, choice=1)
    ledger.accept(pledge.to_bytes(), DAY)

    def revise(choice: int) -> object:
        try:
            return ledger.accept(manifests.revision(pledge, 0, 1, choice).to_bytes(), DAY)
        except RevisionConflictError as error:
            return error.serial

    answers = storm([lambda choice=choice: revise(choice) for choice in (1, 2) * 20])
    assert answers.count(1) == 20  # the serial that stands
    promises = [answer for answer in answers if isinstance(answer, Promise)]
    assert len(promises) == 20
    assert len(set(promises)) == 1
    ledger.seal(DAY)
    fakes.whole_audit(ledger)
    ledger.close()


def test_a_false_signature_reserves_nothing(ledger: Ledger) -> None:
    pledge = manifests.pledge(SCOPE, 0, choice=1)
    false = Pledge(
        pledge.scope_id, pledge.choice, pledge.revision_key, pledge.sealed_hash, (bytes(255) + b"\1",)
    )

    def send(sent: Pledge) -> object:
        try:
            return ledger.accept(sent.to_bytes(), DAY)
        except ProtocolError as error:
            return type(error)

    answers = storm([lambda sent=sent: send(sent) for sent in (false, pledge) * 20])
    assert len(set(answers)) == 2
    assert answers.count(SignatureError) == 20
    assert send(false) is SignatureError
    ledger.close()


def test_the_storm_bites_an_intake_that_looks_before_it_writes(ledger: Ledger) -> None:
    # The same ledger, but its decision is a look and then a write: what the field has shipped.
    with ledger._store.write() as tx:
        tx.exec_driver_sql("CREATE TABLE naive (nullifier BLOB)")
    nullifier = manifests.pledge(SCOPE, 0, choice=1).nullifier
    looked = threading.Barrier(12)  # all have looked before one writes: the schedule that such code allows

    def accept() -> bool:
        with ledger._store.read() as tx:
            found = tx.exec_driver_sql("SELECT 1 FROM naive WHERE nullifier = ?", (nullifier,)).first()
        looked.wait(30)
        if found is not None:
            return False
        with ledger._store.write() as tx:
            tx.exec_driver_sql("INSERT INTO naive VALUES (?)", (nullifier,))
        return True

    assert storm([accept] * 12).count(True) > 1
    ledger.close()


def test_the_write_that_decides_is_enough_without_the_writer_thread(ledger: Ledger) -> None:
    pledge = manifests.pledge(SCOPE, 0, choice=1)
    hash = leaf_hash(pledge.to_bytes())

    def accept() -> bool:
        with ledger._store.write() as tx:
            return staged.stage_pledge(tx, pledge, pledge.nullifier, hash)

    assert storm([accept] * 12).count(True) == 1
    ledger.seal(DAY)
    assert storm([accept] * 12).count(True) == 0
    ledger.close()
