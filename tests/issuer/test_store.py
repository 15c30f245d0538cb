from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import keys
import manifests
from headcount_issuer.group import Group
from headcount_issuer.store import Quota, Store, Wish
from headcount_spec.errors import (
    AlreadyIssuedError,
    ConfigurationError,
    NotEligibleError,
    QuotaUsedError,
    UnavailableError,
)

A, B = keys.seed("a"), keys.seed("b")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "issuer.sqlite"


@pytest.fixture
def store(path):
    made = Store.create(path)
    yield made
    made.close()


@pytest.fixture
def number(store):
    return store.enrol(manifests.manifest(), keys.seed("key id")).number


def issued(store: Store) -> int:
    return store.scopes()[0].issued


def test_a_tag_is_used_once_and_the_same_message_is_no_other(store, number):
    store.burn(number, [A], b"message")
    store.burn(number, [A], b"message")
    with pytest.raises(AlreadyIssuedError):
        store.burn(number, [A], b"another")
    assert issued(store) == 1


def test_all_tags_of_a_request_are_used_or_none(store, number):
    store.burn(number, [A], b"message")
    with pytest.raises(AlreadyIssuedError):
        store.burn(number, [A, B], b"message")
    assert not store.is_burnt(number, B)
    with pytest.raises(AlreadyIssuedError):
        store.burn(number, [A, B], b"another")
    assert not store.is_burnt(number, B)
    assert issued(store) == 1


def test_a_proof_without_a_tag_is_a_bug(store, number):
    with pytest.raises(ValueError, match="nobody"):
        store.burn(number, (), b"message")
    assert store.scopes()[0].issued == 0


def test_a_quota_counts_tokens_and_not_requests(store, number):
    quota = Quota(lambda place: keys.seed(f"place {place}"), 3)
    tags = [keys.seed(f"member {i}") for i in range(4)]
    for tag in tags[:3]:
        store.burn(number, [tag], tag, quota)
        store.burn(number, [tag], tag, quota)
    with pytest.raises(QuotaUsedError):
        store.burn(number, [tags[3]], b"m", quota)
    assert not store.is_burnt(number, tags[3])
    store.burn(number, [tags[0]], tags[0], quota)
    assert issued(store) == 3


def test_threads_with_different_messages_get_one_token(store, number):
    def ask(i: int) -> bool:
        try:
            store.burn(number, [A], b"message %d" % i)
        except AlreadyIssuedError:
            return False
        return True

    with ThreadPoolExecutor(32) as threads:
        assert sum(threads.map(ask, range(1000))) == 1
    assert issued(store) == 1


def test_threads_with_different_people_get_a_token_each(store, number):
    tags = [keys.seed(f"person {i}") for i in range(300)]
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda tag: store.burn(number, [tag], tag), tags))
    assert issued(store) == 300
    assert all(store.is_burnt(number, tag) for tag in tags)


def test_a_check_then_insert_variant_gives_several_tokens(number):
    used: set[bytes] = set()
    granted = []
    looked = threading.Barrier(8)

    def ask(i: int) -> None:
        if A not in used:
            looked.wait()  # the window that the transaction closes
            used.add(A)
            granted.append(i)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    assert len(granted) > 1


def test_one_key_never_serves_two_scopes(store, number):
    with pytest.raises(NotEligibleError):
        store.enrol(manifests.manifest(threshold=6), keys.seed("key id"))
    again = store.enrol(manifests.manifest(), keys.seed("key id"))
    assert again.number == number
    assert len(store.scopes()) == 1


def test_what_was_used_survives_a_kill_before_the_answer(store, number, path):
    store.close()
    program = (
        "import os, sys, pathlib; from headcount_issuer.store import Store\n"
        "store = Store.open(pathlib.Path(sys.argv[1]))\n"
        "store.burn(1, [bytes.fromhex(sys.argv[2])], b'message')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program, str(path), A.hex()], env=environment, check=False)
    assert ended.returncode == -9
    again = Store.open(path)
    again.burn(number, [A], b"message")
    with pytest.raises(AlreadyIssuedError):
        again.burn(number, [A], b"another")
    assert issued(again) == 1
    again.close()


def test_a_database_that_cannot_be_written_grants_nothing(store, number):
    with store.transaction() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON buckets BEGIN SELECT RAISE(FAIL, 'disk full'); END"
        )
    with pytest.raises(UnavailableError) as refused:
        store.burn(number, [A], b"message")
    assert A.hex() not in repr(refused.value.__cause__)
    with store.transaction() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    assert not store.is_burnt(number, A)
    assert issued(store) == 0
    store.burn(number, [A], b"another")


def test_a_database_is_made_by_create_alone(store, path, tmp_path):
    with pytest.raises(ConfigurationError):
        Store.create(path)
    with pytest.raises(ConfigurationError):
        Store.open(tmp_path / "missing.sqlite")
    assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "issuer.sqlite-wal").stat().st_mode & 0o077 == 0


def test_a_group_that_fails_answers_everybody():
    seen: list[list[int]] = []

    def decide(wishes):
        seen.append(sorted(wishes))
        if 3 in wishes:
            raise KeyError

    group = Group(decide)

    def submit(i: int) -> str:
        try:
            group.submit(i)
        except KeyError:
            return "led"
        return "done"

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(submit, range(200)))
    assert sorted(i for group in seen for i in group) == list(range(200))
    assert answers.count("led") == 1


def test_a_look_follows_the_buckets_that_split_meanwhile(store, number):
    tags = [keys.seed(f"person {i}") for i in range(600)]
    used = [Wish.of(number, [tag], tag) for tag in tags]
    others = [Wish.of(number, [tag], b"another") for tag in tags]
    for done in range(0, 600, 200):  # the buckets are divided several times in each
        store.burn_all(used[done : done + 200], lambda: None)
        assert store.check(used) == [None] * 600
        found = [type(error) for error in store.check(others)]
        assert found == [AlreadyIssuedError] * (done + 200) + [type(None)] * (400 - done)


def test_a_group_is_told_once_when_it_is_durable_and_before_the_log_is_emptied(
    store, number, path, monkeypatch
):
    told: list[object] = []
    wishes = [Wish.of(number, [tag], b"message") for tag in (A, B)]

    def decided() -> None:
        told.append([wish.error for wish in wishes])
        with store.reading() as connection:
            assert connection.exec_driver_sql("SELECT issued FROM scopes").scalar_one() == 2

    def broken(_store: Store) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_empty_log", broken)
        store.burn_all(wishes, decided)
    assert told == [[None, None]]
    assert path.with_name("issuer.sqlite-wal").stat().st_size > 0
    store.burn(number, [keys.seed("c")], b"m")
    assert path.with_name("issuer.sqlite-wal").stat().st_size == 0
    assert issued(store) == 3


def wal_bytes(path: Path) -> int:
    return path.with_name("issuer.sqlite-wal").stat().st_size


def test_a_group_stands_in_the_log_until_it_is_emptied_and_other_transactions_do_not(store, number, path):
    assert store.log_age() is None
    store.burn_all([Wish.of(number, [A], b"message")], lambda: None)
    assert 0 <= store.log_age() < 60
    assert wal_bytes(path) > 0
    store.empty_log()
    assert store.log_age() is None
    assert wal_bytes(path) == 0
    store.burn_all([Wish.of(number, [B], b"message")], lambda: None)
    store.burn(number, [keys.seed("c")], b"message")
    assert store.log_age() is None
    assert wal_bytes(path) == 0
    store.burn_all([Wish.of(number, [keys.seed("d")], b"message")], lambda: None)
    other = sqlite3.connect(path)  # without it the last connection would empty the log by itself
    other.execute("SELECT issued FROM scopes").fetchone()
    store.close()
    assert wal_bytes(path) == 0
    other.close()


def test_a_log_that_a_reader_holds_is_emptied_when_it_has_ended(store, number, path):
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT issued FROM scopes").fetchone()
    store._driver.execute("PRAGMA busy_timeout=50")
    store.burn_all([Wish.of(number, [A], b"message")], lambda: None)
    store.empty_log()
    assert store.log_age() is not None  # so that whoever asks tries again
    assert wal_bytes(path) > 0
    reader.close()
    store.empty_log()
    assert store.log_age() is None
    assert wal_bytes(path) == 0


def test_a_crash_before_the_log_is_emptied_loses_nothing_and_the_next_open_empties_it(store, number, path):
    store.close()
    program = (
        "import os, sys, pathlib; from headcount_issuer.store import Store, Wish\n"
        "store = Store.open(pathlib.Path(sys.argv[1]))\n"
        "wishes = [Wish.of(1, [bytes([i]) * 32], b'message') for i in range(1, 101)]\n"
        "store.burn_all(wishes[:50], lambda: None)\n"
        "store.burn_all(wishes[50:], lambda: os.kill(os.getpid(), 9))\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert ended.returncode == -9
    assert wal_bytes(path) > 0
    again = Store.open(path)
    assert wal_bytes(path) == 0
    assert issued(again) == 100
    wishes = [Wish.of(number, [bytes([i]) * 32], b"another") for i in range(1, 102)]
    found = [type(error) for error in again.check(wishes)]
    assert found == [AlreadyIssuedError] * 100 + [type(None)]
    again.close()


def test_a_sieve_changes_no_answer_of_a_look(store, number):
    tags = [keys.seed(f"person {i}") for i in range(200)]
    store.burn_all([Wish.of(number, [tag], tag) for tag in tags[:50]], lambda: None)
    store.fill_sieve()
    store.burn_all([Wish.of(number, [tag], tag) for tag in tags[50:100]], lambda: None)
    for tag in tags[100:120]:
        store.burn(number, [tag], tag)
    assert store.check([Wish.of(number, [tag], tag) for tag in tags]) == [None] * 200
    found = [type(error) for error in store.check([Wish.of(number, [tag], b"another") for tag in tags])]
    assert found == [AlreadyIssuedError] * 120 + [type(None)] * 80
    both = store.check([Wish.of(number, tags[i : i + 2], b"another") for i in (119, 120)])
    assert [type(error) for error in both] == [AlreadyIssuedError, type(None)]


def test_a_group_that_is_not_committed_uses_nothing_up(store, number, monkeypatch):
    store.fill_sieve()

    def broken(_self: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    wish = Wish.of(number, [A], b"message")
    with monkeypatch.context() as patch:
        patch.setattr("headcount_issuer.tags.Tags.flush", broken)
        store.burn_all([wish], lambda: None)
    assert isinstance(wish.error, UnavailableError)
    assert store.log_age() is None
    assert not store.is_burnt(number, A)
    assert store.check([Wish.of(number, [A], b"another")]) == [None]
    store.burn(number, [A], b"another")
    assert issued(store) == 1
