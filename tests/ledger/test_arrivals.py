from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

import fakes
import manifests
from fakes import DAY
from headcount_ledger import arrivals, staged
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.store import Store
from headcount_ledger.work import StagePledge, run_group
from headcount_spec.errors import CorruptionError, RevisionConflictError
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.promise import Promise

SCOPE = manifests.manifest(min_batch=1)
PLEDGES = [manifests.pledge(SCOPE, i) for i in range(60)]


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_WAITING", 16)
    monkeypatch.setattr(arrivals, "MIN_SLICE", 3)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with fakes.new_ledger(tmp_path / "ledger") as ledger:
        fakes.open_scopes(ledger, SCOPE)
        yield ledger


def work(pledge: Pledge) -> StagePledge:
    entry = pledge.to_bytes()
    return StagePledge(pledge.nullifier, leaf_hash(entry), entry)


def stage(store: Store, *pledges: Pledge) -> list[bool]:
    with store.write() as tx:
        return run_group(tx, [work(pledge) for pledge in pledges])


def undo(ledger: Ledger, change: Callable[[Connection], object]) -> None:
    def run() -> None:
        with ledger.store.write() as tx:
            change(tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()


def rows(ledger: Ledger, table: str) -> int:
    with ledger.store.read() as tx:
        number = tx.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()  # noqa: S608
        assert isinstance(number, int)
        return number


def check(ledger: Ledger, number: int) -> None:
    """So many wait, wherever, each once, and each is found."""
    assert ledger.waiting() == number
    with ledger.store.read() as tx:
        for i, pledge in enumerate(PLEDGES):
            found = staged.find_pledge(tx, pledge.nullifier)
            assert (found is not None) == (i < number)
            if found is not None:
                assert found.leaf_hash == leaf_hash(pledge.to_bytes())
                assert found.revision_key == pledge.revision_key
        came = [row[0] for row in arrivals.waiting(tx)]
        assert len(set(came)) == len(came)
        table = tx.exec_driver_sql("SELECT nullifier FROM staged_pledges").scalars().all()
        assert not set(table) & set(came)
    report = fsck(ledger.config, DAY)
    assert [finding.line for finding in report.findings] == []
    assert report.waiting == number


def finish(ledger: Ledger, number: int) -> None:
    batch = ledger.seal(DAY)
    assert batch is not None
    assert batch.pledges == number
    assert [rows(ledger, table) for table in ("arrivals", "arrivals_state", "staged_pledges")] == [0, 0, 0]
    assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == number


def test_a_group_is_one_row_that_does_not_tell_its_order(tmp_path: Path) -> None:
    found = set()
    for seed in range(2):
        with fakes.new_ledger(tmp_path / str(seed)) as ledger:
            fakes.open_scopes(ledger, SCOPE)
            group = random.Random(seed).sample(PLEDGES[:10], 10)
            assert stage(ledger.store, *group) == [True] * 10
            ((_, nullifiers, entries),) = fakes.tables(ledger)["arrivals"]
            found.add((nullifiers, entries))
    assert len(found) == 1


def test_rounds_lose_and_double_nothing(ledger: Ledger) -> None:
    seen = set()
    for number, pledge in enumerate(PLEDGES, 1):
        assert stage(ledger.store, pledge) == [True]
        assert stage(ledger.store, *PLEDGES[:number]) == [False] * number
        seen.add((rows(ledger, "arrivals") > 0, rows(ledger, "staged_pledges") > 0))
        if number % 7 == 0:
            check(ledger, number)
    assert seen >= {(True, False), (True, True)}
    assert rows(ledger, "staged_pledges") > 30
    finish(ledger, len(PLEDGES))


def test_equal_pledges_of_a_group_count_once(ledger: Ledger) -> None:
    assert sorted(stage(ledger.store, PLEDGES[0], PLEDGES[1], PLEDGES[0])) == [False, True, True]
    finish(ledger, 2)


def test_a_pledge_that_waits_is_answered_again_and_revised(ledger: Ledger) -> None:
    promise = ledger.accept(PLEDGES[0].to_bytes(), DAY)
    assert isinstance(promise, Promise)
    assert ledger.accept(PLEDGES[0].to_bytes(), DAY) == promise
    assert rows(ledger, "staged_pledges") == 0
    ledger.accept(manifests.revision(PLEDGES[0], 0).to_bytes(), DAY)
    with pytest.raises(RevisionConflictError):
        ledger.accept(manifests.revision(PLEDGES[0], 0, serial=2).to_bytes(), DAY)
    assert fsck(ledger.config, DAY).ok
    batch = ledger.seal(DAY)
    assert batch is not None
    assert (batch.pledges, batch.revisions) == (1, 1)
    fakes.whole_audit(ledger)


def test_writers_that_take_turns_know_of_each_other(ledger: Ledger) -> None:
    with Ledger.open(ledger.config) as other:
        for i, pledge in enumerate(PLEDGES):
            first, second = (ledger, other) if i % 3 else (other, ledger)
            assert stage(first.store, pledge) == [True]
            assert stage(second.store, pledge) == [False]
        check(other, len(PLEDGES))
        finish(other, len(PLEDGES))
    assert stage(ledger.store, *PLEDGES) == [False] * len(PLEDGES)


@pytest.mark.parametrize("before", [0, 5, 15, 17, 20])
def test_what_was_undone_is_forgotten(ledger: Ledger, before: int) -> None:
    if before:
        stage(ledger.store, *PLEDGES[:before])
    for steps in (1, 3):
        undo(ledger, lambda tx, steps=steps: [run_group(tx, [work(p)]) for p in PLEDGES[before:][:steps]])
        undo(ledger, staged.settle)
    check(ledger, before)
    assert stage(ledger.store, *PLEDGES) == [False] * before + [True] * (len(PLEDGES) - before)
    check(ledger, len(PLEDGES))
    finish(ledger, len(PLEDGES))


@pytest.mark.parametrize("table", ["arrivals", "staged_pledges", "arrivals_state"])
def test_half_a_change_is_forgotten(ledger: Ledger, table: str) -> None:
    stage(ledger.store, *PLEDGES[:15])
    trigger = f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END"
    with ledger.store.write() as tx:
        tx.exec_driver_sql(trigger)
    with pytest.raises(CorruptionError):
        stage(ledger.store, PLEDGES[15])
    with ledger.store.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER full")
    check(ledger, 15)
    assert stage(ledger.store, *PLEDGES[:16]).count(True) == 1
    finish(ledger, 16)


def test_a_kill_after_any_commit_loses_and_doubles_nothing(ledger: Ledger, tmp_path: Path) -> None:
    for number, pledge in enumerate(PLEDGES[:40], 1):
        ledger.accept(pledge.to_bytes(), DAY)
        if number % 4 == 0:  # a slice takes three: other places of the rounds each time
            copy = Path(shutil.copytree(ledger.config.directory, tmp_path / str(number)))
            with Ledger.open(LedgerConfig(copy)) as killed:
                check(killed, number)
                assert stage(killed.store, *PLEDGES[:number]) == [False] * number
                assert stage(killed.store, PLEDGES[number]) == [True]
                finish(killed, number + 1)


def test_rounds_go_on_while_a_batch_is_made(ledger: Ledger) -> None:
    stage(ledger.store, *PLEDGES[:20])
    with ledger.sequencer() as sequencer:
        head = sequencer.recover()
        selection = sequencer.select(head, DAY)
        assert selection is not None
        for pledge in PLEDGES[20:45]:
            stage(ledger.store, pledge)
        batch = sequencer.build(head, selection)
        sequencer.check(head, batch)
        plan = sequencer.persist(batch)
        head = sequencer.commit(head, batch)
        for pledge in PLEDGES[45:]:
            stage(ledger.store, pledge)
        sequencer.finish(head, plan)
    assert batch.pledges == 20
    assert ledger.waiting() == 40
    assert rows(ledger, "arrivals") == 0
    second = ledger.seal(DAY)
    assert second is not None
    assert second.pledges == 40
    assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 60


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM arrivals_state",
        "DELETE FROM arrivals",
        "DELETE FROM staged_pledges",
        "UPDATE arrivals SET nullifiers = substr(nullifiers, 2)",
        "UPDATE arrivals SET nullifiers = substr(nullifiers, 33)",
        "UPDATE arrivals SET entries = substr(entries, 1, length(entries) - 1)",
        "UPDATE arrivals SET entries = CAST(entries || x'00' AS BLOB)",
        "UPDATE arrivals_state SET passed = zeroblob(31) || x'00', through = 0, mark = x'00'",
        "UPDATE arrivals_state SET passed = x'ff'",
        "UPDATE arrivals_state SET through = through + 1, passed = x'ff'",
    ],
)
def test_damage_is_found_before_anything_is_signed(ledger: Ledger, damage: str) -> None:
    for pledge in PLEDGES[:20]:
        stage(ledger.store, pledge)
    assert rows(ledger, "arrivals")
    assert rows(ledger, "staged_pledges")
    head = ledger.head()
    with ledger.store.write() as tx:
        tx.exec_driver_sql(damage)
    assert not fsck(ledger.config, DAY).ok
    with Ledger.open(ledger.config) as other, pytest.raises(CorruptionError):
        other.seal(DAY)
    assert ledger.head() == head
