from __future__ import annotations

from pathlib import Path

import pytest

import fakes
import manifests
from fakes import DAY
from headcount_ledger import staged
from headcount_ledger.history import checkpoint_path
from headcount_ledger.ledger import Ledger
from headcount_ledger.sequencer import hint_path
from headcount_spec.checkpoint import open_checkpoint
from headcount_spec.entry import parse_entry
from headcount_spec.errors import (
    CorruptionError,
    ScopeClosedError,
    UnavailableError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice
from headcount_spec.promise import verify_promise
from headcount_spec.scope import WITHDRAWN
from headcount_spec.seal import Seal
from headcount_spec.tile import TileReader


def last_seal(ledger: Ledger) -> Seal:
    head = ledger.head()
    seal = parse_entry(TileReader(ledger.storage.read, head.size).entry(head.size - 1))
    assert isinstance(seal, Seal)
    return seal


def entries(ledger: Ledger) -> list[bytes]:
    size = ledger.head().size
    reader = TileReader(ledger.storage.read, size)
    return [reader.entry(index) for index in range(size)]


def test_an_empty_ledger_has_a_signed_checkpoint_of_size_0(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        signed = open_checkpoint(ledger.storage.read("checkpoint"), ledger.verification_key)
        assert signed.checkpoint.size == 0
        assert ledger.seal(DAY) is None
        assert fakes.published(ledger).keys() == {"checkpoint"}


@pytest.mark.parametrize("size", [2, 255, 256, 257])
def test_trees_of_awkward_sizes_are_whole_and_grow(tmp_path: Path, size: int) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        if size == 2:
            ledger.accept(manifests.manifest_notice(scope).to_bytes(), DAY)
            ledger.seal(DAY)
        else:
            fakes.open_scopes(ledger, scope)
            for i in range(size - ledger.head().size - 1):
                ledger.accept(manifests.pledge(scope, i).to_bytes(), DAY)
            ledger.seal(DAY)
            fakes.whole_audit(ledger)
        assert ledger.head().size == size
        for notice in (*manifests.text_notices(scope), manifests.opening(scope)):
            ledger.accept(notice.to_bytes(), DAY)
        if size == 2:
            ledger.seal(DAY)
        ledger.accept(manifests.pledge(scope, 300).to_bytes(), DAY)
        ledger.seal(DAY)
        report = fakes.whole_audit(ledger)
        assert report.scopes[scope.scope_id].live == (1 if size == 2 else size - 6 + 1)


def test_a_batch_is_sorted_whatever_the_order_of_arrival(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    trees = []
    for name, order in (("one", range(8)), ("other", reversed(range(8)))):
        with fakes.new_ledger(tmp_path / name) as ledger:
            fakes.open_scopes(ledger, scope)
            for i in order:
                ledger.accept(manifests.pledge(scope, i).to_bytes(), DAY)
            ledger.seal(DAY)
            fakes.whole_audit(ledger)
            trees.append(fakes.published(ledger))
    assert trees[0] == trees[1]


def test_min_batch_is_never_waived_before_the_closing(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=3)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        pledges = [manifests.pledge(scope, i) for i in range(5)]
        for pledge in pledges[:2]:
            ledger.accept(pledge.to_bytes(), DAY)
        ledger.accept(manifests.revision(pledges[0], 0).to_bytes(), DAY)
        assert ledger.seal(DAY + 10) is None  # a revision does not drag its pledge along
        ledger.accept(pledges[2].to_bytes(), DAY)
        batch = ledger.seal(DAY + 10)
        assert batch is not None
        assert (batch.pledges, batch.revisions) == (3, 1)
        for pledge in pledges[3:]:
            ledger.accept(pledge.to_bytes(), DAY)
        assert ledger.seal(DAY + 11) is None
        assert ledger.waiting() == 2
        assert fakes.whole_audit(ledger).scopes[scope.scope_id].live == 2


def test_each_scope_waits_for_its_own_minimum(tmp_path: Path) -> None:
    one = manifests.manifest(min_batch=2)
    other = manifests.manifest(
        min_batch=2, title=manifests.both("Another", "Un autre"), issuers=[manifests.issuer(0, token_key=3)]
    )
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, one, other)
        for i in range(2):
            ledger.accept(manifests.pledge(one, i).to_bytes(), DAY)
        ledger.accept(manifests.pledge(other, 0).to_bytes(), DAY)
        batch = ledger.seal(DAY)
        assert batch is not None
        assert batch.pledges == 2
        assert ledger.waiting() == 1
        report = fakes.whole_audit(ledger)
        assert {count.live for count in report.scopes.values()} == {0, 2}


def test_the_closing_batch_takes_the_rest_and_nothing_follows(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=3)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        pledge = manifests.pledge(scope, 0)
        promise = ledger.accept(pledge.to_bytes(), scope.closes)
        assert ledger.seal(scope.closes) is None
        batch = ledger.seal(scope.closes + 1)
        assert batch is not None
        assert (batch.pledges, batch.closed) == (1, (scope.scope_id,))
        notice = parse_entry(entries(ledger)[-2])
        assert isinstance(notice, Notice)
        assert (notice.statement.type, notice.statement.body) == ("closing", {"day": scope.closes + 1})
        assert ledger.seal(scope.closes + 2) is None
        assert fakes.whole_audit(ledger).scopes[scope.scope_id].closed
        # Retries are still answered, by a clock that went back as well; nothing new is taken.
        assert ledger.accept(pledge.to_bytes(), scope.closes + 5) == promise
        assert ledger.accept(pledge.to_bytes(), scope.closes) == promise
        for day in (scope.closes, scope.closes + 5):
            with pytest.raises(ScopeClosedError):
                ledger.accept(manifests.pledge(scope, 1).to_bytes(), day)
            with pytest.raises(ScopeClosedError):
                ledger.accept(manifests.revision(pledge, 0).to_bytes(), day)
        # Its authors go on speaking.
        update = {"title": {"en": "Thanks"}, "text": {"en": "It is over."}}
        last = manifests.text_notices(scope)[-1]
        notice = manifests.notice(scope, "organiser", "update", update, last)
        ledger.accept(notice.to_bytes(), scope.closes + 5)
        assert ledger.seal(scope.closes + 5) is not None
        fakes.whole_audit(ledger)


def test_a_scope_without_pledges_is_closed_too(tmp_path: Path) -> None:
    scope = manifests.manifest()
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        batch = ledger.seal(scope.closes + 1)
        assert batch is not None
        assert batch.pledges == 0
        assert fakes.whole_audit(ledger).scopes[scope.scope_id].closed


def test_the_day_of_a_batch_never_falls(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope, day=DAY + 5)
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), DAY)
        ledger.seal(DAY)
        assert last_seal(ledger).day == DAY + 5
        fakes.whole_audit(ledger)


def test_a_clock_that_goes_back_seals_no_pledge_before_the_opening_day(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope, day=scope.opens - 3)
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), scope.opens)
        assert ledger.seal(scope.opens - 1) is None
        assert ledger.seal(scope.opens) is not None
        fakes.whole_audit(ledger)


def test_the_counts_follow_revisions(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1, options=manifests.options("Yes", "No"))
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        pledges = [manifests.pledge(scope, i, choice=1) for i in range(3)]
        for pledge in pledges:
            ledger.accept(pledge.to_bytes(), DAY)
        steps = [(1, WITHDRAWN, 2), (2, 2, 3), (3, WITHDRAWN, 2), (4, WITHDRAWN, 2), (5, 1, 3)]
        for serial, choice, live in steps:
            promise = ledger.accept(manifests.revision(pledges[0], 0, serial, choice).to_bytes(), DAY)
            ledger.seal(DAY)
            count = fakes.whole_audit(ledger).scopes[scope.scope_id]
            assert (count.gross, count.live) == (3, live)
            # The answer to a retry is the same after the sealing.
            again = ledger.accept(manifests.revision(pledges[0], 0, serial, choice).to_bytes(), DAY)
            assert promise == again
        assert count.choices == {1: 3, 2: 0} or count.choices == {1: 3}


def test_a_promise_is_the_same_before_and_after_the_sealing(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    pledge = manifests.pledge(scope, 0)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        promise = ledger.accept(pledge.to_bytes(), DAY)
        ledger.seal(DAY)
        assert ledger.accept(pledge.to_bytes(), DAY + 1) == promise
        verify_promise(promise, ledger.verification_key)
        assert promise.leaf_hash == leaf_hash(pledge.to_bytes())
        assert promise.deadline == scope.deadline_day
        assert ledger.seal(DAY + 1) is None


def test_every_batch_has_its_checkpoint_totals_and_hints(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), DAY)
        ledger.seal(DAY)
        files = fakes.published(ledger)
        assert files["totals/0"] == b""
        assert files["totals/1"][:32] == scope.scope_id
        assert files[checkpoint_path(1)] == files["checkpoint"]
        assert [int(line) for line in files[hint_path(scope.scope_id)].split()] == [0, 1, 2, 3]
        ledger.seal(scope.closes + 1)
        assert ledger.storage.read(hint_path(scope.scope_id)) == b"0\n1\n2\n3\n7\n"


def test_two_sequencers_do_not_run_at_once(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as ledger, ledger.sequencer():
        with pytest.raises(UnavailableError, match="another sequencer"), ledger.sequencer():
            pass
        with Ledger.open(ledger.config) as other, pytest.raises(UnavailableError):
            other.seal(DAY)


def test_without_the_lock_the_head_decides(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), DAY)
        with ledger.sequencer() as slow:
            head = slow.recover()
            selection = slow.select(head, DAY)
            assert selection is not None
            batch = slow.build(head, selection)
            slow.check(head, batch)
            slow.persist(batch)
            ledger.config.lock.unlink()  # a file system without locks
            ledger.accept(manifests.pledge(scope, 1).to_bytes(), DAY)
            with ledger.sequencer() as fast:
                fast.seal(DAY)
            before = fakes.tables(ledger)
            with pytest.raises(CorruptionError, match="moved the head"):
                slow.commit(head, batch)
        assert fakes.tables(ledger) == before
        assert fakes.whole_audit(ledger).scopes[scope.scope_id].live == 2


def test_a_flipped_bit_in_a_staged_entry_is_never_signed(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), DAY)
        head = ledger.head()
        entry = manifests.pledge(scope, 0).to_bytes()
        came = leaf_hash(entry) + len(entry).to_bytes(2) + entry
        for place in (0, 40, 100, len(came) - 1):
            flip(ledger, "arrivals", "entries", came[:place] + bytes([came[place] ^ 1]) + came[place + 1 :])
            with Ledger.open(ledger.config) as other, pytest.raises(CorruptionError):
                other.seal(DAY)
            assert ledger.head() == head
            with ledger._store.write() as tx:
                for table in ("arrivals", "arrivals_state", "staged_pledges"):
                    tx.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
            ledger.accept(entry, DAY)
        with ledger._store.write() as tx:
            staged.settle(tx)
        flip(ledger, "staged_pledges", "entry", entry[:-1] + bytes([entry[-1] ^ 1]))
        with pytest.raises(CorruptionError):
            ledger.seal(DAY)
        assert ledger.head() == head
        flip(ledger, "staged_pledges", "entry", entry)
        flip(ledger, "staged_pledges", "leaf_hash", bytes(32))
        with pytest.raises(CorruptionError):
            ledger.seal(DAY)
        assert ledger.head() == head
        flip(ledger, "staged_pledges", "leaf_hash", leaf_hash(entry))
        ledger.seal(DAY)
        fakes.whole_audit(ledger)


def flip(ledger: Ledger, table: str, column: str, value: bytes) -> None:
    with ledger._store.write() as tx:
        tx.exec_driver_sql(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608


@pytest.mark.parametrize("path", ["tile/0/000.p/5", "tile/entries/000.p/5", "checkpoints/0", "checkpoint"])
def test_a_flipped_bit_in_a_published_file_stops_the_next_batch(tmp_path: Path, path: str) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        assert ledger.head().size == 5
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), DAY)
        file = ledger.config.public / path
        good = file.read_bytes()
        file.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
        head = ledger.head()
        with pytest.raises(CorruptionError):
            ledger.seal(DAY)
        assert ledger.head() == head
        file.write_bytes(good)
        ledger.seal(DAY)
        fakes.whole_audit(ledger)


def test_an_existing_file_with_other_bytes_stops_the_sequencer(tmp_path: Path) -> None:
    scope = manifests.manifest(min_batch=1)
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, scope)
        (ledger.config.public / "totals/1").write_bytes(b"?")
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), DAY)
        with pytest.raises(CorruptionError, match="other bytes"):
            ledger.seal(DAY)
        # The batch is committed: it is published as soon as the file is out of the way.
        (ledger.config.public / "totals/1").unlink()
        assert ledger.seal(DAY) is None
        fakes.whole_audit(ledger)
