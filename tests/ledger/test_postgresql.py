from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

import manifests
import servers
from fakes import DAY, open_scopes
from headcount_ledger import postgresql, staged, taking
from headcount_ledger.ledger import Ledger, create
from headcount_ledger.place import open_database
from headcount_ledger.store import LockedStore
from headcount_spec.errors import ConfigurationError, CorruptionError, UnavailableError
from headcount_spec.merkle import leaf_hash
from places import ManyMachines

FAST = manifests.manifest(min_batch=1)
SLOW = manifests.manifest(
    min_batch=100,
    title=manifests.both("Another", "Un autre"),
    issuers=[manifests.issuer(0, token_key=3)],
)
NUMBER = 40


@pytest.fixture
def place(tmp_path: Path) -> ManyMachines:
    return ManyMachines(tmp_path)


@pytest.fixture
def ledger(place: ManyMachines) -> Iterator[Ledger]:
    with place.create() as ledger:
        open_scopes(ledger, FAST, SLOW)
        yield ledger


# The lock that staging and spending share


@pytest.mark.parametrize("locked", [False, True], ids=["naive", "ours"])
def test_staging_and_spending_do_not_pass_each_other(ledger: Ledger, locked: bool) -> None:
    pledge = manifests.pledge(FAST, 0)
    hash = leaf_hash(pledge.to_bytes())
    ledger.accept(pledge.to_bytes(), DAY)
    begun, accepted = threading.Event(), []

    def stage() -> None:
        engine = open_database(ledger.config)
        with (
            postgresql.Postgresql(engine).write()
            if locked
            else engine.execution_options(isolation_level="READ COMMITTED").begin() as tx
        ):
            begun.set()
            accepted.append(staged.stage_pledge(tx, pledge, pledge.nullifier, hash))
        engine.dispose()

    thread = threading.Thread(target=stage)
    with ledger.store.write() as tx:
        taking.plan(tx, 1, [FAST.scope_id])
        assert taking.spend(tx, 1) == (1, 0)
        taking.unstage(tx, 1)
        thread.start()
        assert begun.wait(0.7) is not locked
        thread.join(0.3)  # the naive one has looked, and waits for the row to be deleted
    thread.join()
    assert accepted == [not locked]


def test_the_lock_ends_with_the_transaction(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.store.write():
        raise RuntimeError
    with ledger.store.write():
        pass


# The sequencer's lock


def test_one_sequencer_on_all_machines(place: ManyMachines, ledger: Ledger) -> None:
    with (
        Ledger.open(place.another_machine()) as other,
        ledger.sequencer(),
        pytest.raises(UnavailableError, match="another sequencer"),
    ):
        other.seal(DAY)
    with ledger.sequencer(), pytest.raises(UnavailableError), ledger.sequencer():
        pass
    with ledger.sequencer():
        pass


def lose(store: LockedStore) -> None:
    with pytest.raises(UnavailableError, match=r"lock is lost|does not answer|cannot store"):
        store.check()
    for write in (store.write, store.write_aside):
        with pytest.raises(UnavailableError), write():
            pytest.fail("it wrote without the lock")


def test_a_sequencer_whose_session_ends_cannot_write(place: ManyMachines, ledger: Ledger) -> None:
    with ledger.store.locked(ledger.config.lock) as store:
        store.check()
        servers.cut_off(place.database)
        lose(store)


def test_a_sequencer_whose_lock_is_gone_cannot_write(ledger: Ledger) -> None:
    with ledger.store.locked(ledger.config.lock) as store:
        with store.write_aside() as tx:  # as a pooler that changes the session under our feet
            tx.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        lose(store)


def test_acceptance_does_not_wait_for_a_batch_that_is_being_built(ledger: Ledger) -> None:
    with ledger.store.locked(ledger.config.lock) as store, store.write_aside():
        ledger.accept(manifests.pledge(FAST, 0).to_bytes(), DAY)


# What an error means


def test_a_connection_lost_before_the_commit_has_changed_nothing(place: ManyMachines, ledger: Ledger) -> None:
    def stage() -> None:
        pledge = manifests.pledge(FAST, 0)
        with ledger.store.write() as tx:
            assert staged.stage_pledge(tx, pledge, pledge.nullifier, leaf_hash(pledge.to_bytes()))
            servers.cut_off(place.database)
            tx.exec_driver_sql("SELECT 1")

    with pytest.raises(UnavailableError):
        stage()
    ledger.store.close()  # the other connections were cut as well
    assert ledger.waiting() == 0


def test_a_row_that_stands_already_is_corruption(ledger: Ledger) -> None:
    with pytest.raises(CorruptionError), ledger.store.write() as tx:
        tx.exec_driver_sql("INSERT INTO scopes SELECT * FROM scopes")


def test_after_a_commit_that_was_not_answered_the_process_ends(ledger: Ledger) -> None:
    database = postgresql.Postgresql(open_database(ledger.config))

    def meaning(error: Exception) -> BaseException:
        return database.refusal(DBAPIError("", None, error), True)

    assert isinstance(meaning(psycopg.OperationalError("server closed the connection")), SystemExit)
    assert isinstance(meaning(psycopg.errors.AdminShutdown()), SystemExit)
    assert isinstance(meaning(psycopg.errors.DiskFull()), UnavailableError)
    assert isinstance(meaning(psycopg.errors.UniqueViolation()), CorruptionError)
    database.engine.dispose()


# The server


@pytest.mark.parametrize(
    ("setting", "value"), [("log_statement", "all"), ("log_statement", "mod")], ids=["all", "mod"]
)
def test_a_server_that_writes_arrivals_down_is_refused(place: ManyMachines, setting: str, value: str) -> None:
    servers.admin(f"ALTER DATABASE {place.database} SET {setting} = '{value}'")
    with pytest.raises(ConfigurationError, match=setting):
        create(place.config, manifests.ORIGIN)


def test_a_server_that_does_not_answer_is_unavailable(place: ManyMachines, tmp_path: Path) -> None:
    engine = postgresql.open_engine(f"postgresql+psycopg://headcount@/headcount?host={tmp_path}")
    with pytest.raises(UnavailableError):
        postgresql.check_server(engine)


def test_commits_are_durable_and_the_spent_set_is_in_parts(ledger: Ledger) -> None:
    with ledger.store.read() as tx:
        assert tx.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert tx.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
        assert tx.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
        parts = tx.exec_driver_sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'spent'::regclass")
        assert parts.scalar() == postgresql.PARTITIONS
    with ledger.store.write() as tx:
        assert tx.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"


def test_a_ledger_is_created_once_and_only_by_its_command(place: ManyMachines) -> None:
    with pytest.raises(ConfigurationError, match="headcount ledger create"):
        Ledger.open(place.config)
    place.create().close()
    for config in (place.config, place.another_machine(), ManyMachines(place.directory / "x").config):
        if config.key.exists():
            with pytest.raises(ConfigurationError):
                create(config, manifests.ORIGIN)
    fresh = place._machine()
    with pytest.raises(ConfigurationError, match="already"):
        create(fresh, manifests.ORIGIN)
    assert not fresh.key.exists()


# The order of arrival


def arrivals() -> list[list[int]]:
    shuffled = list(range(NUMBER))
    random.Random(7).shuffle(shuffled)
    return [list(range(NUMBER)), shuffled]


def rows(tx: Connection, table: str) -> list[tuple[bytes, int]]:
    """What a query can tell: place and transaction of each row, transactions counted from the first."""
    found = tx.exec_driver_sql(
        f"SELECT nullifier, tableoid::regclass::text || ctid::text, xmin::text::bigint FROM {table}"  # noqa: S608
    ).all()
    first = min((row[2] for row in found), default=0)
    return sorted((bytes(nullifier), place, number - first) for nullifier, place, number in found)  # type: ignore[misc]


def in_files(place: ManyMachines, table: str) -> list[list[int]]:
    """Where each nullifier stands in the raw file of a table, which CLUSTER has written past all buffers."""
    engine = open_database(place.config)
    with engine.connect() as connection:
        file = connection.exec_driver_sql(f"SELECT pg_relation_filepath('{table}')").scalar_one()
    engine.dispose()
    raw = (servers.data_directory() / file).read_bytes()
    nullifiers = [manifests.pledge(SLOW, i).nullifier for i in range(NUMBER)]
    return [[at for at in range(len(raw)) if raw.startswith(n, at)] for n in nullifiers]


def filled(place: ManyMachines, order: list[int]) -> Ledger:
    ledger = place.create()
    open_scopes(ledger, FAST, SLOW)
    for i in order:
        ledger.accept(manifests.pledge(FAST, i).to_bytes(), DAY)
        ledger.accept(manifests.pledge(SLOW, i).to_bytes(), DAY)
    return ledger


def test_the_tables_tell_the_order_of_arrival_before_a_sealing_and_not_after_it(tmp_path: Path) -> None:
    before, after, raw = [], [], []
    for i, order in enumerate(arrivals()):
        place = ManyMachines(tmp_path / str(i))
        with filled(place, order) as ledger:
            with ledger.store.read() as tx:
                before.append(rows(tx, "staged_pledges"))
            assert ledger.seal(DAY) is not None
            assert ledger.waiting() == NUMBER
            with ledger.store.read() as tx:
                after.append((rows(tx, "staged_pledges"), rows(tx, "spent")))
            raw.append(in_files(place, "staged_pledges"))
    assert before[0] != before[1]  # the control: the comparison would notice
    assert after[0] == after[1]
    assert raw[0] == raw[1]
    assert all(len(places) == 1 for places in raw[0])


def test_revisions_leave_no_order_either(tmp_path: Path) -> None:
    after = []
    for i, order in enumerate(arrivals()):
        with ManyMachines(tmp_path / str(i)).create() as ledger:
            open_scopes(ledger, FAST)
            pledges = [manifests.pledge(FAST, number) for number in range(NUMBER)]
            for pledge in pledges:
                ledger.accept(pledge.to_bytes(), DAY)
            ledger.seal(DAY)
            for number in order:
                ledger.accept(manifests.revision(pledges[number], number).to_bytes(), DAY)
            assert ledger.seal(DAY) is not None
            with ledger.store.read() as tx:
                after.append(rows(tx, "spent"))
    assert after[0] == after[1]
