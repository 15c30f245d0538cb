"""Sealed blobs of one scope in one SQLite file, laid out so that it does not show in which order they came.

Rows would tell: SQLite puts new cells of a page below the older ones. Here a page holds one *bucket*: a
blob of fixed size with records (nullifier, sealed contact) in ascending order and zeros behind them, written
anew whole. The first bits of the nullifier, a hash, choose the bucket; when one is full, all split in
two. What the file looks like follows from the set of its records and the fullest that it was.

There is no time in it and no counter. The write-ahead log, which shows the last write, is emptied after
each; what is erased is overwritten (secure_delete). The file system has its own time of the last change, and
freed blocks of its own: that is what disk encryption is for.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headcount_spec.errors import ConfigurationError, CorruptionError, UnavailableError

PAGE_BYTES = 65_536  # SQLite's largest
_ROOM_BYTES = 65_400  # of a row that stays on its page and leaves no room for a second
_KEY_BYTES = 32
_MAX_DEPTH = 24
_BUSY_S = 10

Record = tuple[bytes, bytes]  # (nullifier, blob)


class BlobFile:
    """The file; threads may share it, and other processes of the same machine."""

    def __init__(self, path: Path, blob_bytes: int) -> None:
        """Open the file for blobs of this size; made if it is not there.

        Raises:
            ConfigurationError: it cannot be opened, or holds blobs of another size.
        """
        self._size = _KEY_BYTES + blob_bytes
        self._capacity = _ROOM_BYTES // self._size
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, _BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")
            self._prepare()
        except (OSError, sqlite3.Error) as exc:
            raise ConfigurationError(f"cannot open {path.name}") from exc

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def put(self, key: bytes, blob: bytes) -> None:
        """Keep a blob under its 32-byte key; the same again changes nothing.

        Raises:
            UnavailableError: the file cannot be written now.
        """
        if len(key) + len(blob) != self._size:
            raise ValueError("a blob of another size")
        with self._transaction():
            while True:
                depth = self._depth()
                records = self._bucket(depth, key)
                if (key, blob) in records:
                    return
                kept = [record for record in records if record[0] != key]
                if len(kept) < self._capacity:
                    break
                self._split(depth)
            self._write(depth, _number(key, depth), sorted([*kept, (key, blob)]))

    def erase(self, key: bytes) -> None:
        """Forget the blob under this key, if there is one.

        Raises:
            UnavailableError: the file cannot be written now.
        """
        with self._transaction():
            depth = self._depth()
            records = self._bucket(depth, key)
            kept = [record for record in records if record[0] != key]
            if len(kept) < len(records):
                self._write(depth, _number(key, depth), kept)

    def find(self, key: bytes) -> bytes | None:
        """The blob under this key.

        Raises:
            UnavailableError: the file cannot be read now.
        """
        with self._transaction(write=False):
            return dict(self._bucket(self._depth(), key)).get(key)

    def records(self) -> Iterator[Record]:
        """All records in ascending order, a bucket at a time.

        Raises:
            UnavailableError: the file cannot be read now.
        """
        start = b""
        while True:
            with self._transaction(write=False):
                depth = self._depth()
                number = _number(start.ljust(_KEY_BYTES, b"\0"), depth)
                found = self._decode(self._read(number))
            # The buckets may split between two reads: the next one begins where this one ends.
            yield from (record for record in found if record[0] >= start)
            if number + 1 == 1 << depth:
                return
            start = (number + 1 << 32 - depth).to_bytes(4, "big")

    def _prepare(self) -> None:
        with self._transaction():
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS shape (depth INTEGER NOT NULL, size INTEGER NOT NULL)"
            )
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS buckets (id INTEGER PRIMARY KEY, records BLOB NOT NULL)"
            )
            found = self._db.execute("SELECT size FROM shape").fetchone()
            if found is None:
                self._db.execute("INSERT INTO shape VALUES (0, ?)", (self._size,))
                # Empty buckets exist too: a page must not show who came first.
                self._db.execute("INSERT INTO buckets VALUES (0, ?)", (self._encode([]),))
            elif found[0] != self._size:
                raise ConfigurationError("the contact store was made for another number of trustees")

    def _depth(self) -> int:
        return int(self._db.execute("SELECT depth FROM shape").fetchone()[0])

    def _bucket(self, depth: int, key: bytes) -> list[Record]:
        return self._decode(self._read(_number(key, depth)))

    def _read(self, number: int) -> bytes:
        found = self._db.execute("SELECT records FROM buckets WHERE id = ?", (number,)).fetchone()
        if found is None:
            raise CorruptionError("a bucket of the contact store is missing")
        return bytes(found[0])

    def _write(self, depth: int, number: int, records: list[Record]) -> None:
        self._db.execute("UPDATE buckets SET records = ? WHERE id = ?", (self._encode(records), number))

    def _split(self, depth: int) -> None:
        if depth == _MAX_DEPTH:
            raise CorruptionError("nullifiers are not uniform")
        # From the last to the first: bucket i becomes 2 i and 2 i + 1, which are behind it.
        for number in range((1 << depth) - 1, -1, -1):
            halves: tuple[list[Record], list[Record]] = ([], [])
            for record in self._decode(self._read(number)):
                halves[_number(record[0], depth + 1) & 1].append(record)
            for bit, half in enumerate(halves):
                row = (2 * number + bit, self._encode(half))
                self._db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?)", row)
        self._db.execute("UPDATE shape SET depth = ?", (depth + 1,))

    def _encode(self, records: list[Record]) -> bytes:
        return b"".join(key + blob for key, blob in records).ljust(self._capacity * self._size, b"\0")

    def _decode(self, data: bytes) -> list[Record]:
        if len(data) != self._capacity * self._size:
            raise CorruptionError("a bucket of the contact store has another size")
        records: list[Record] = []
        for at in range(0, len(data), self._size):
            key, blob = data[at : at + _KEY_BYTES], data[at + _KEY_BYTES : at + self._size]
            if not any(key):
                break
            records.append((key, blob))
        return records

    @contextmanager
    def _transaction(self, write: bool = True) -> Iterator[None]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
                if write:
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as exc:
                raise UnavailableError("the contact store cannot be used now") from exc


def _number(key: bytes, depth: int) -> int:
    return int.from_bytes(key[:4], "big") >> (32 - depth)
