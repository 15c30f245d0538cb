"""Tags that have been used, laid out so that the file does not show in which order.

A row for each tag would tell: SQLite puts new cells of a B-tree page below the older ones, so their
offsets inside the page are the order of arrival. Here a page is one *bucket*: a blob of fixed
size with up to 63 records (tag, digest) in ascending order, zeros after them. A bucket is written anew
whole when a record joins, and a page of the file is then a function of the set of its records.

Which bucket: the first ``depth`` bits of the tag. Tags are HMACs under the scope's key, hence uniform
and chosen by nobody. When a bucket is full, all buckets of the scope split in two in one
transaction: depth too depends on the set alone, up to when a full bucket was met.

What a thief of the database file sees: which tags were used, nothing of their order. Of a live
folder: also the write-ahead log of the group of requests that is being committed at that moment (store
empties it after every commit), so *that the last few are the last few*. Of two copies made at
different times: what joined between them. Of the raw disk under the file system: whatever blocks the
file system has freed and not overwritten; that is what disk encryption is for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from sqlalchemy import Connection, delete, insert, select, update

from headcount_issuer.schema import buckets, scopes
from headcount_spec.errors import CorruptionError

TAG_BYTES = 32
DIGEST_BYTES = 32
RECORD_BYTES = TAG_BYTES + DIGEST_BYTES
CAPACITY = 63  # records; with SQLite's own 6 bytes the row fills a page of 4096 (limit: 4061) alone
BUCKET_BYTES = CAPACITY * RECORD_BYTES
MAX_DEPTH = 32
_CHUNK = 256  # buckets held in memory while splitting

Record = tuple[bytes, bytes]  # (tag, digest)


def prepare(connection: Connection, number: int) -> None:
    """Make the first bucket of a scope. Empty buckets exist too: a page must not show who came first."""
    connection.execute(insert(buckets).values(id=_first_id(number, 0), records=encode_bucket([])))


def find(connection: Connection, number: int, tag: bytes) -> bytes | None:
    """The digest that is kept with a tag of the scope with this number, None if the tag is unused."""
    _, records = _bucket(connection, number, _depth(connection, number), tag)
    at = bisect_left(records, (tag,))
    return records[at][1] if at < len(records) and records[at][0] == tag else None


def put(connection: Connection, number: int, tag: bytes, digest: bytes) -> None:
    """Keep an unused tag. The caller has a write transaction and has asked find in it."""
    depth = _depth(connection, number)
    bucket_id, records = _bucket(connection, number, depth, tag)
    while len(records) == CAPACITY:
        _split(connection, number, depth)
        depth += 1
        bucket_id, records = _bucket(connection, number, depth, tag)
    before = encode_bucket(records)
    records.insert(bisect_left(records, (tag,)), (tag, digest))
    changed = connection.execute(
        update(buckets)
        .where(buckets.c.id == bucket_id, buckets.c.records == before)
        .values(records=encode_bucket(records))
    )
    if changed.rowcount != 1:
        raise CorruptionError("a bucket of tags changed inside a write transaction")


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


def _depth(connection: Connection, number: int) -> int:
    return int(connection.execute(select(scopes.c.depth).where(scopes.c.number == number)).scalar_one())


def _first_id(number: int, depth: int) -> int:
    return number << 40 | depth << 32


def _bucket(connection: Connection, number: int, depth: int, tag: bytes) -> tuple[int, list[Record]]:
    bucket_id = _first_id(number, depth) | int.from_bytes(tag[:4], "big") >> (32 - depth)
    data = connection.execute(select(buckets.c.records).where(buckets.c.id == bucket_id)).scalar_one()
    return bucket_id, decode_bucket(data)


def _split(connection: Connection, number: int, depth: int) -> None:
    """Twice as many buckets, half as full."""
    if depth == MAX_DEPTH:
        raise CorruptionError("tags are not uniform")
    first, new_first = _first_id(number, depth), _first_id(number, depth + 1)
    for chunk in _chunks(connection, first, first + (1 << depth)):
        rows = []
        for bucket_id, records in chunk:
            halves: tuple[list[Record], list[Record]] = ([], [])
            for record in records:
                bit = int.from_bytes(record[0][:4], "big") >> (31 - depth) & 1
                halves[bit].append(record)
            for bit, half in enumerate(halves):
                new_id = new_first + 2 * (bucket_id - first) + bit
                rows.append({"id": new_id, "records": encode_bucket(half)})
        connection.execute(insert(buckets), rows)
    connection.execute(delete(buckets).where(buckets.c.id >= first, buckets.c.id < new_first))
    connection.execute(update(scopes).where(scopes.c.number == number).values(depth=depth + 1))


def _chunks(connection: Connection, first: int, end: int) -> Iterator[list[tuple[int, list[Record]]]]:
    while True:
        query = (
            select(buckets.c.id, buckets.c.records)
            .where(buckets.c.id >= first, buckets.c.id < end)
            .order_by(buckets.c.id)
            .limit(_CHUNK)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        yield [(row.id, decode_bucket(row.records)) for row in rows]
        first = rows[-1].id + 1
