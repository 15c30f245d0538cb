from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
import linker
import manifests
from headcount_issuer import tags
from headcount_issuer.store import Store, Wish
from headcount_spec.errors import CorruptionError

BATCH_SIZE = 10


def tag_of(i: int) -> bytes:
    return hashlib.sha256(b"tag %d" % i).digest()


@pytest.fixture
def store(tmp_path):
    made = Store.create(tmp_path / "issuer.sqlite")
    yield made
    made.close()


def enrolled(store: Store) -> int:
    return store.enrol(manifests.manifest(), keys.seed("key id")).number


def burn_all(path: Path, batches: int) -> list[bytes]:
    """The tags in the order in which they were used."""
    store = Store.create(path)
    number = enrolled(store)
    order = [tag_of(i) for i in range(batches * BATCH_SIZE)]
    for i, tag in enumerate(order):
        store.burn(number, [tag], b"message %d" % i)
    return order


def batches_of(order: list[bytes]) -> list[list[bytes]]:
    return [order[i : i + BATCH_SIZE] for i in range(0, len(order), BATCH_SIZE)]


@pytest.mark.parametrize("batches", [5, 20])
def test_a_live_database_does_not_show_the_order_of_issuance(tmp_path, batches):
    order = burn_all(tmp_path / "issuer.sqlite", batches)
    bound = linker.chance_bound(batches, BATCH_SIZE)
    found = linker.scores(batches_of(order), tmp_path.iterdir())
    assert set(found) >= {"issuer.sqlite:first", "issuer.sqlite:last"}
    assert {name: score for name, score in found.items() if score > bound} == {}


def test_the_linker_reads_the_order_from_a_plain_table(tmp_path):
    path = tmp_path / "plain.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("CREATE TABLE issued (tag BLOB PRIMARY KEY, digest BLOB) WITHOUT ROWID")
    batches = 5  # a page of cells: the linker below does not look at page boundaries
    order = [tag_of(i) for i in range(batches * BATCH_SIZE)]
    for tag in order:
        connection.execute("INSERT INTO issued VALUES (?, ?)", (tag, hashlib.sha256(tag).digest()))
    connection.close()
    found = linker.scores(batches_of(order), [path])
    assert max(found.values()) > linker.chance_bound(batches, BATCH_SIZE)


def test_the_file_is_the_same_for_every_order_of_the_same_tags(tmp_path):
    def pages(name: str, order: list[int]) -> list[bytes]:
        path = tmp_path / name
        store = Store.create(path)
        number = enrolled(store)
        for i in order:
            store.burn(number, [tag_of(i)], b"message %d" % i)
        store.close()
        raw = path.read_bytes()
        # The first page has SQLite's own counters of transactions.
        return [raw[at : at + 4096] for at in range(4096, len(raw), 4096)]

    forwards, backwards = list(range(50)), list(range(49, -1, -1))
    assert pages("a.sqlite", forwards) == pages("b.sqlite", backwards)


def frames(path: Path) -> list[tuple[int, bytes]]:
    # sqlite.org/fileformat2.html, Section 4.1: each page with its number, in the order of the log
    raw = path.read_bytes()
    found = [raw[at : at + 24 + 4096] for at in range(32, len(raw), 24 + 4096)]
    return [(int.from_bytes(frame[:4], "big"), frame[24:]) for frame in found]


def test_what_stands_in_the_log_shows_groups_and_no_order_inside_them(tmp_path):
    def pages(name: str, reverse: bool) -> list[list[tuple[int, bytes]]]:
        store = Store.create(tmp_path / name)
        number = enrolled(store)
        seen = []
        for first in (0, 100, 200):  # buckets are divided in each
            wishes = [Wish.of(number, [tag_of(i)], b"message %d" % i) for i in range(first, first + 100)]
            store.burn_all(wishes[::-1] if reverse else wishes, lambda: None)
            seen.append(frames(tmp_path / f"{name}-wal"))
        store.empty_log()
        assert (tmp_path / f"{name}-wal").stat().st_size == 0
        store.close()
        return seen

    forwards, backwards = pages("a.sqlite", False), pages("b.sqlite", True)
    assert forwards == backwards
    assert 0 < len(forwards[0]) < len(forwards[1]) < len(forwards[2])


def test_nothing_is_left_in_the_write_ahead_log(tmp_path, store):
    number = enrolled(store)
    for i in range(3):
        store.burn(number, [tag_of(i)], b"m")
        assert (tmp_path / "issuer.sqlite-wal").stat().st_size == 0


def test_thousands_of_tags_are_found_again(store):
    number = enrolled(store)
    with store.transaction() as connection:
        used = tags.Tags(connection)
        for i in range(3000):
            assert used.find(number, tag_of(i)) is None
            used.put(number, tag_of(i), keys.seed(str(i)))
        used.flush()
    with store.reading() as connection:
        used = tags.Tags(connection)
        assert all(used.find(number, tag_of(i)) == keys.seed(str(i)) for i in range(3000))
        assert used.find(number, tag_of(3000)) is None
        rows = connection.exec_driver_sql("SELECT id, records FROM buckets").all()
    found = [record for row in rows for record in tags.decode_bucket(row.records)]
    assert sorted(tag for tag, _ in found) == sorted(tag_of(i) for i in range(3000))
    assert len(rows) in (64, 128)


def test_a_bucket_has_a_page_of_its_own(tmp_path, store):
    number = enrolled(store)
    with store.transaction() as connection:
        used = tags.Tags(connection)
        for i in range(1000):
            used.put(number, tag_of(i), bytes(32))
        used.flush()
    store.close()
    raw = (tmp_path / "issuer.sqlite").read_bytes()
    page_of = {}
    for i in range(1000):
        page_of.setdefault(raw.find(tag_of(i)) // 4096, []).append(tag_of(i))
    for page, found in page_of.items():
        body = raw[page * 4096 : (page + 1) * 4096]
        assert sorted(found, key=body.find) == sorted(found)
        assert len({tag[0] >> 3 for tag in found}) == 1


def test_scopes_do_not_share_tags(store):
    first = enrolled(store)
    second = store.enrol(manifests.manifest(threshold=6), keys.seed("other key id")).number
    store.burn(first, [tag_of(1)], b"m")
    assert store.is_burnt(first, tag_of(1))
    assert not store.is_burnt(second, tag_of(1))


def test_a_damaged_bucket_is_noticed(store):
    number = enrolled(store)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE buckets SET records = x'00'")
    with pytest.raises(CorruptionError):
        store.burn(number, [tag_of(1)], b"m")


records = st.lists(
    st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32)).filter(
        lambda record: any(record[0])
    ),
    max_size=tags.CAPACITY,
    unique_by=lambda record: record[0],
)


@given(records)
def test_buckets_round_trip(found):
    found.sort()
    data = tags.encode_bucket(found)
    assert len(data) == tags.BUCKET_BYTES
    assert tags.decode_bucket(data) == found


@given(st.binary(max_size=200).map(lambda data: data.ljust(tags.BUCKET_BYTES, b"\0")) | st.binary())
def test_other_bytes_are_no_bucket(data):
    try:
        found = tags.decode_bucket(data)
    except CorruptionError:
        return
    assert tags.encode_bucket(found) == data
