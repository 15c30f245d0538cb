"""Tags that have been used, laid out so that the file does not show in which order.

A row for each tag would tell: SQLite puts new cells of a B-tree page below the older ones, so their
offsets inside the page are the order of arrival. Here a page is one *bucket*: a blob of fixed
size with up to 63 records (tag, digest) in ascending order, zeros after them. A bucket is written anew
whole when a record joins, and a page of the file is then a function of the set of its records.

Which bucket: the first ``depth`` bits of the tag. Tags are HMACs under the scope's key, hence uniform
and chosen by nobody. When a bucket is full, all buckets of the scope split in two in one
transaction: depth too depends on the set alone, up to when a full bucket was met.

What a thief of the database file sees: which tags were used, nothing of their order. Of a live folder:
also the write-ahead log, which is emptied when no request came for some 20 ms and, in a rush, when its
oldest group is some 100 ms old (signing), so *that the last few are the last few*: the groups of that time,
one after the other, and nothing about the order inside a group. The same of the folder of an issuer that
was killed in such a moment, until it is opened again. Of two copies made at different times: what joined
between them. Of the raw disk under the file system: whatever blocks the file system has freed and not
overwritten; that is what disk encryption is for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select

from headcount_issuer.schema import buckets
from headcount_spec.errors import CorruptionError

TAG_BYTES = 32
DIGEST_BYTES = 32
RECORD_BYTES = TAG_BYTES + DIGEST_BYTES
CAPACITY = 63  # records; with SQLite's own 6 bytes the row fills a page of 4096 (limit: 4061) alone
BUCKET_BYTES = CAPACITY * RECORD_BYTES
MAX_DEPTH = 32
MAX_AT_ONCE = 256  # buckets in one statement
_FREE = bytes(RECORD_BYTES)
_NO_TAG = bytes(TAG_BYTES)
_CHUNK = 256  # buckets held in memory while splitting

Record = tuple[bytes, bytes]  # (tag, digest)
T = TypeVar("T")


class Tags:
    """The used tags, inside one transaction. What was put is written by flush."""

    def __init__(self, connection: Connection) -> None:
        # Past SQLAlchemy, whose part of a lookup would be ten times SQLite's.
        driver: Any = connection.connection.driver_connection
        self._driver = driver
        self._execute = driver.execute
        self._depths: dict[int, int] = {}  # scope number → depth
        self._read: dict[int, bytes] = {}  # bucket id → its blob as it was read
        self._changed: dict[int, bytes] = {}  # bucket id → its blob as it is to be written

    def read(self, tags: Iterable[tuple[int, bytes]]) -> None:
        """Read what find will be asked for, (scope number, tag), by one statement.

        After each statement a thread waits for the GIL, in a busy issuer for longer than the statement takes.
        """
        ids = sorted({self._bucket_id(number, tag) for number, tag in tags} - self._changed.keys())
        for some in _chunks_of(ids):
            row = self._execute(_select(len(some)), some).fetchone()
            self._read.update((i, _checked(data)) for i, data in zip(some, row, strict=True))

    def find(self, number: int, tag: bytes) -> bytes | None:
        """The digest that is kept with a tag of the scope with this number, None if the tag is unused."""
        return _digest_in(self._bucket(self._bucket_id(number, tag)), tag)

    def put(self, number: int, tag: bytes, digest: bytes) -> None:
        """Keep a tag that find does not find."""
        bucket_id = self._bucket_id(number, tag)
        while (data := self._bucket(bucket_id))[-RECORD_BYTES:] != _FREE:  # full
            self.flush()
            self._depths[number] = _split(self._driver, number, self._depths[number])
            bucket_id = self._bucket_id(number, tag)
        at = _place(data, tag)
        self._changed[bucket_id] = data[:at] + tag + digest + data[at:-RECORD_BYTES]

    def flush(self) -> None:
        """Write the buckets that have changed, each only if it is as it was read.

        Raises:
            CorruptionError: one is not, inside a write transaction.
        """
        for some in _chunks_of(sorted(self._changed)):
            after = [value for i in some for value in (i, self._changed[i])]
            before = [value for i in some for value in (i, self._read[i])]
            written = self._execute(_update(len(some)), [*after, *some, *before])
            if written.rowcount != len(some):
                raise CorruptionError("a bucket of tags changed inside a write transaction")
        self._read.clear()
        self._changed.clear()

    def _bucket_id(self, number: int, tag: bytes) -> int:
        depth = self._depths.get(number)
        if depth is None:
            row = self._execute("SELECT depth FROM scopes WHERE number = ?", (number,)).fetchone()
            if row is None:
                raise CorruptionError("a scope is missing")
            depth = self._depths[number] = int(row[0])
        return _bucket_id(number, depth, tag)

    def _bucket(self, bucket_id: int) -> bytes:
        data = self._changed.get(bucket_id) or self._read.get(bucket_id)
        if data is None:
            row = self._execute("SELECT records FROM buckets WHERE id = ?", (bucket_id,)).fetchone()
            data = self._read[bucket_id] = _checked(None if row is None else row[0])
        return data


_LOOK = (
    "SELECT b.records, s.depth FROM scopes s JOIN buckets b"
    " ON b.id = (s.number << 40) | (s.depth << 32) | (?2 >> (32 - s.depth)) WHERE s.number = ?1"
)


@functools.lru_cache(maxsize=MAX_AT_ONCE)
def _select(number: int) -> str:
    """Records of so many ids, one row."""
    return f"SELECT {', '.join(['(SELECT records FROM buckets WHERE id = ?)'] * number)}"  # noqa: S608


@functools.lru_cache(maxsize=MAX_AT_ONCE)
def _update(number: int) -> str:
    """New records for so many ids, where they have the old ones: (id, new)…, id…, (id, old)…"""
    case = f"CASE id {'WHEN ? THEN ? ' * number}END"
    ids = ", ".join("?" * number)
    return f"UPDATE buckets SET records = {case} WHERE id IN ({ids}) AND records = {case}"  # noqa: S608


class Look:
    """The used tags as they are now, outside a transaction. Not for two threads at a time."""

    def __init__(self, driver: Any) -> None:
        """driver is a connection of sqlite3 in autocommit mode."""
        self._execute = driver.execute
        self._depths: dict[int, int] = {}  # scope number → depth when it was looked at last

    def find(self, tags: Sequence[tuple[int, bytes]]) -> list[bytes | None]:
        """The digest that is kept with each tag of a scope with this number, None if the tag is unused."""
        found: list[bytes | None] = []
        for some in _chunks_of(tags):
            # If a depth is another by now, no bucket of the old one is left.
            ids = [_bucket_id(number, self._depths.get(number, 0), tag) for number, tag in some]
            row = self._execute(_select(len(some)), ids).fetchone()
            for (number, tag), data in zip(some, row, strict=True):
                found.append(_digest_in(self._bucket(number, tag) if data is None else _checked(data), tag))
        return found

    def _bucket(self, number: int, tag: bytes) -> bytes:
        """By one statement, and thus consistent."""
        row = self._execute(_LOOK, (number, int.from_bytes(tag[:4], "big"))).fetchone()
        if row is not None:
            self._depths[number] = int(row[1])
        return _checked(None if row is None else row[0])


def prepare(connection: Connection, number: int) -> None:
    """Make the first bucket of a scope. Empty buckets exist too: a page must not show who came first."""
    connection.execute(insert(buckets).values(id=_first_id(number, 0), records=encode_bucket([])))


def count(connection: Connection, number: int) -> int:
    """How many tags a scope has; reads all of them."""
    query = select(buckets.c.records).where(
        buckets.c.id >= _first_id(number, 0), buckets.c.id < _first_id(number + 1, 0)
    )
    return sum(len(decode_bucket(data)) for data in connection.execute(query).scalars())


def used_tags(driver: Any) -> Iterator[bytes]:
    """All tags of all scopes; driver is a connection of sqlite3."""
    for (data,) in driver.execute("SELECT records FROM buckets"):
        for at in range(0, len(data), RECORD_BYTES):
            tag = data[at : at + TAG_BYTES]
            if tag == _NO_TAG:
                break
            yield tag


def clear(connection: Connection, number: int) -> None:
    """Forget all tags of a scope; its depth is the caller's to set back to 0."""
    connection.execute(
        delete(buckets).where(buckets.c.id >= _first_id(number, 0), buckets.c.id < _first_id(number + 1, 0))
    )
    prepare(connection, number)


def _checked(data: bytes | None) -> bytes:
    if data is None or len(data) != BUCKET_BYTES:
        raise CorruptionError("a bucket of tags is missing, or has another size")
    return bytes(data)


def _chunks_of(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), MAX_AT_ONCE):
        yield values[at : at + MAX_AT_ONCE]


def _digest_in(data: bytes, tag: bytes) -> bytes | None:
    at = data.find(tag)
    while at % RECORD_BYTES and at != -1:  # inside a record
        at = data.find(tag, at + 1)
    return None if at == -1 else data[at + TAG_BYTES : at + RECORD_BYTES]


def _place(data: bytes, tag: bytes) -> int:
    """Offset of the first record that is not below tag, or of the first free place."""
    low, high = 0, CAPACITY
    while low < high:
        middle = (low + high) // 2
        at = middle * RECORD_BYTES
        if _NO_TAG != data[at : at + TAG_BYTES] < tag:
            low = middle + 1
        else:
            high = middle
    return low * RECORD_BYTES


def encode_bucket(records: list[Record]) -> bytes:
    """The blob of a bucket: its records as they are ordered, then zeros."""
    return b"".join(tag + digest for tag, digest in records).ljust(BUCKET_BYTES, b"\0")


def decode_bucket(data: bytes) -> list[Record]:
    """The records of a blob, ascending.

    Raises:
        CorruptionError: another size, records that do not ascend, or bytes after the last.
    """
    if len(data) != BUCKET_BYTES:
        raise CorruptionError("a bucket of tags has another size")
    records: list[Record] = []
    for at in range(0, BUCKET_BYTES, RECORD_BYTES):
        record = data[at : at + RECORD_BYTES]
        if not any(record):
            if any(data[at:]):
                raise CorruptionError("a bucket of tags has a gap")
            break
        if records and records[-1][0] >= record[:TAG_BYTES]:
            raise CorruptionError("a bucket of tags is not in order")
        records.append((record[:TAG_BYTES], record[TAG_BYTES:]))
    return records


def _bucket_id(number: int, depth: int, tag: bytes) -> int:
    return _first_id(number, depth) | int.from_bytes(tag[:4], "big") >> (32 - depth)


def _first_id(number: int, depth: int) -> int:
    return number << 40 | depth << 32


def _split(driver: Any, number: int, depth: int) -> int:
    """Twice as many buckets, half as full; the new depth."""
    if depth == MAX_DEPTH:
        raise CorruptionError("tags are not uniform")
    first, new_first = _first_id(number, depth), _first_id(number, depth + 1)
    for chunk in _chunks(driver, first, first + (1 << depth)):
        rows = []
        for bucket_id, data in chunk:
            new = 2 * (bucket_id - first)
            # Records ascend: the second half begins with the first tag that has the next bit.
            at = _place(data, (new + 1 << 31 - depth).to_bytes(4, "big"))
            for bit, half in enumerate((data[:at], data[at:])):
                rows.append((new_first + new + bit, half.ljust(BUCKET_BYTES, b"\0")))
        driver.executemany("INSERT INTO buckets (id, records) VALUES (?, ?)", rows)
    driver.execute("DELETE FROM buckets WHERE id >= ? AND id < ?", (first, new_first))
    driver.execute("UPDATE scopes SET depth = ? WHERE number = ?", (depth + 1, number))
    return depth + 1


def _chunks(driver: Any, first: int, end: int) -> Iterator[list[tuple[int, bytes]]]:
    query = "SELECT id, records FROM buckets WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
    while rows := driver.execute(query, (first, end, _CHUNK)).fetchall():
        if any(len(data) != BUCKET_BYTES for _, data in rows):
            raise CorruptionError("a bucket of tags has another size")
        yield rows
        first = rows[-1][0] + 1
