"""Records of one size, kept in blobs of one size whose bytes depend on the set of records alone.

The layout of tags, for records that are longer and may be replaced and removed: see tags for why. A record
begins with a mark of 32 bytes that is uniform (an HMAC) and unique. The first ``depth`` bits of the mark name
the blob; when one is full, all split in one transaction. Nothing is ever merged: how many there were at most
may show.
"""

from __future__ import annotations

import itertools

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from headcount_spec.errors import CorruptionError

MARK_BYTES = 32
MAX_DEPTH = 24


class Shelf:
    """The records of one table, inside one transaction."""

    def __init__(self, connection: Connection, table: Table, record_bytes: int, capacity: int) -> None:
        """The table has the columns id (an integer) and records (a blob)."""
        self._connection = connection
        self._table = table
        self._record_bytes = record_bytes
        self._capacity = capacity
        self._depth = self._read_depth()

    def find(self, mark: bytes) -> bytes | None:
        """The record with this mark."""
        for record in self._read(mark):
            if record[:MARK_BYTES] == mark:
                return record
        return None

    def put(self, record: bytes) -> None:
        """Keep a record, in place of the one with the same mark."""
        if len(record) != self._record_bytes:
            raise ValueError("a record of another size")
        mark = record[:MARK_BYTES]
        if self._depth is None:
            self._connection.execute(insert(self._table).values(id=0, records=self._encode([])))
            self._depth = 0
        while len(others := self._others(mark)) == self._capacity:
            self._split()
        self._write(mark, sorted([*others, record]))

    def remove(self, mark: bytes) -> bool:
        """Forget the record with this mark; whether there was one."""
        if self.find(mark) is None:
            return False
        self._write(mark, self._others(mark))
        return True

    def count(self) -> int:
        """How many records there are; reads all of them."""
        blobs = self._connection.execute(select(self._table.c.records)).scalars()
        return sum(len(self._decode(data)) for data in blobs)

    def _others(self, mark: bytes) -> list[bytes]:
        return [record for record in self._read(mark) if record[:MARK_BYTES] != mark]

    def _read_depth(self) -> int | None:
        last = self._connection.execute(select(func.max(self._table.c.id))).scalar_one()
        return None if last is None else int(last) >> 32

    def _id(self, mark: bytes, depth: int) -> int:
        return depth << 32 | int.from_bytes(mark[:4], "big") >> (32 - depth)

    def _read(self, mark: bytes) -> list[bytes]:
        if self._depth is None:
            return []
        query = select(self._table.c.records).where(self._table.c.id == self._id(mark, self._depth))
        return self._decode(self._connection.execute(query).scalar_one())

    def _write(self, mark: bytes, records: list[bytes]) -> None:
        assert self._depth is not None  # noqa: S101
        statement = update(self._table).where(self._table.c.id == bindparam("id_"))
        written = self._connection.execute(
            statement.values(records=bindparam("after")),
            {"id_": self._id(mark, self._depth), "after": self._encode(records)},
        )
        if written.rowcount != 1:
            raise CorruptionError("a blob of records is missing")

    def _split(self) -> None:
        assert self._depth is not None  # noqa: S101
        if self._depth == MAX_DEPTH:
            raise CorruptionError("marks are not uniform")
        table, depth = self._table, self._depth + 1
        for number in range(1 << self._depth):
            query = select(table.c.records).where(table.c.id == self._depth << 32 | number)
            records = self._decode(self._connection.execute(query).scalar_one())
            for half in (2 * number, 2 * number + 1):
                part = [record for record in records if self._id(record, depth) == depth << 32 | half]
                self._connection.execute(
                    insert(table).values(id=depth << 32 | half, records=self._encode(part))
                )
        self._connection.execute(delete(table).where(table.c.id < depth << 32))
        self._depth = depth

    def _encode(self, records: list[bytes]) -> bytes:
        return b"".join(records).ljust(self._record_bytes * self._capacity, b"\0")

    def _decode(self, data: bytes) -> list[bytes]:
        if len(data) != self._record_bytes * self._capacity:
            raise CorruptionError("a blob of records has another size")
        size = self._record_bytes
        found = [data[at : at + size] for at in range(0, len(data), size)]
        records = [record for record in found if any(record)]
        if records != found[: len(records)] or any(
            a[:MARK_BYTES] >= b[:MARK_BYTES] for a, b in itertools.pairwise(records)
        ):
            raise CorruptionError("a blob of records is not in order")
        return records
