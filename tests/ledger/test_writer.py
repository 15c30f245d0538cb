from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection

from headcount_ledger import schema
from headcount_ledger.store import Store
from headcount_ledger.writer import Writer
from headcount_spec.errors import NotFoundError, UnavailableError


class CountingStore(Store):
    def __init__(self, path: Path) -> None:
        super().__init__(schema.open_engine(path))
        self.transactions = 0
        self.create_tables()
        with self.write() as tx:
            tx.exec_driver_sql("CREATE TABLE t (x INTEGER PRIMARY KEY)")
        self.transactions = 0

    def write(self):  # type: ignore[no-untyped-def]
        self.transactions += 1
        return super().write()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountingStore]:
    store = CountingStore(tmp_path / "t.sqlite")
    yield store
    store.close()


def insert(x: int):  # type: ignore[no-untyped-def]
    def work(tx: Connection) -> int:
        tx.exec_driver_sql("INSERT INTO t VALUES (?)", (x,))
        return x

    return work


def rows(store: Store) -> int:
    with store.read() as tx:
        return int(tx.exec_driver_sql("SELECT count(*) FROM t").scalar_one())


class Gate:
    """A work that keeps the writer busy until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, tx: Connection) -> None:
        self.entered.set()
        self.open.wait()


def test_what_waits_together_is_committed_together(store: CountingStore) -> None:
    writer, gate = Writer(store, 100), Gate()
    with ThreadPoolExecutor(60) as pool:
        first = pool.submit(writer.run, gate)
        gate.entered.wait()
        others = [pool.submit(writer.run, insert(i)) for i in range(50)]
        while writer._queue.qsize() < 50:
            pass
        gate.open.set()
        assert [other.result() for other in others] == list(range(50))
        first.result()
    writer.close()
    assert store.transactions == 2
    assert rows(store) == 50


def test_a_refusal_concerns_only_the_one_who_asked(store: CountingStore) -> None:
    def refuse(tx: Connection) -> None:
        raise NotFoundError("no")

    writer, gate = Writer(store, 100), Gate()
    with ThreadPoolExecutor(3) as pool:
        pool.submit(writer.run, gate)
        gate.entered.wait()
        refused, done = pool.submit(writer.run, refuse), pool.submit(writer.run, insert(1))
        gate.open.set()
        assert done.result() == 1
        with pytest.raises(NotFoundError):
            refused.result()
    writer.close()
    assert rows(store) == 1


def test_a_full_queue_says_so_at_once_and_keeps_nothing(store: CountingStore) -> None:
    writer, gate = Writer(store, 1), Gate()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(writer.run, gate)
        gate.entered.wait()
        waiting = pool.submit(writer.run, insert(1))
        while not writer._queue.full():
            pass
        with pytest.raises(UnavailableError) as caught:
            writer.run(insert(2))
        assert caught.value.retry_after_s > 0
        gate.open.set()
        assert waiting.result() == 1
    writer.close()
    assert rows(store) == 1


def test_what_contradicts_a_row_is_undone_with_its_group(store: CountingStore) -> None:
    writer = Writer(store, 10)
    writer.run(insert(1))
    with pytest.raises(Exception, match="row stands already"):
        writer.run(insert(1))
    assert writer.run(insert(2)) == 2
    writer.close()
    assert rows(store) == 2


def test_an_unknown_commit_ends_the_process(store: CountingStore) -> None:
    def fail(tx: Connection) -> None:
        raise SystemExit("it is not known")

    reasons: list[str] = []
    writer = Writer(store, 10, reasons.append)
    with pytest.raises(UnavailableError):
        writer.run(fail)
    writer.close()
    assert reasons == ["it is not known"]


def test_closing_finishes_what_waits(store: CountingStore) -> None:
    writer = Writer(store, 10)
    writer.close()
    assert writer.run(insert(1)) == 1
    writer.close()
    writer.close()
    assert rows(store) == 1
