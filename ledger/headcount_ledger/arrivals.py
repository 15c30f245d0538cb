"""Pledges that have just come, in SQLite: a row for each group that is committed, sorted in later.

The staged table has the order of the nullifiers, so each pledge of a group falls on another page of it: a
commit of sixty wrote a hundred pages into the write-ahead log and soon after into the file. As one row
they are seven. What waits here is accepted: whoever looks for a staged pledge looks here too.

All of it is sorted in before a batch is planned and when one is cleaned up after. When ``MAX_WAITING``
wait, a round begins: with each commit twice as many as have just come of those that waited then go over
into the staged table, in the order of their nullifiers and therefore page by page, and at its end the rows
are deleted. In the rows of a round, up to ``through``, only nullifiers beyond ``passed`` wait still.

Who writes keeps what waits in memory, because a nullifier that waits stands. The memory is true while its
mark is the one in the database: sixteen random bytes, others with every change, so that neither the
transactions of another connection nor one of this that was undone go unnoticed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from headcount_spec.errors import CorruptionError
from headcount_spec.merkle import LeafHash
from headcount_spec.pledge import Nullifier
from headcount_spec.scope import ScopeId
from headcount_spec.wire import u16

MAX_WAITING = 1 << 14
MIN_SLICE = 64  # fewer at once would write the same pages again and again

# nullifier, scope, leaf hash, revision key, choice, entry
PledgeRow = tuple[Nullifier, ScopeId, LeafHash, bytes, int, bytes]

_KEY = "headcount_arrivals"  # of the memory, among what SQLAlchemy keeps for a connection
_HASH_BYTES = 32
_NUMBERS = (1, 16, 64, 256, 1024)  # of parameters, so that few statements are compiled

_STATE = "SELECT mark, through, passed FROM arrivals_state"
_ALL = "SELECT number <= through, passed, nullifiers, entries FROM arrivals, arrivals_state ORDER BY number"
# Looks at the nullifiers alone; the entries are on pages of their own, which are not read then.
_WITH = (
    "SELECT number <= through, passed, nullifiers, entries FROM arrivals, arrivals_state"
    " WHERE instr(nullifiers, ?)"
)
_NOTHING: tuple[Any, ...] = (None, 0, b"")  # the state when nothing waits
_KEEP = "INSERT OR REPLACE INTO arrivals_state (id, mark, through, passed) VALUES (1, ?, ?, ?)"
_APPEND = "INSERT INTO arrivals (number, nullifiers, entries) VALUES (?, ?, ?)"
_STAGE = (
    "INSERT INTO staged_pledges (nullifier, scope, leaf_hash, revision_key, choice, entry, is_late)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_STANDING = "SELECT nullifier FROM {} WHERE nullifier IN ({})"


def pledge_row(nullifier: Nullifier, leaf_hash: LeafHash, entry: bytes) -> PledgeRow:
    """The row of a staged pledge. The offsets are those of Pledge, which was parsed before."""
    return nullifier, ScopeId(entry[2:34]), leaf_hash, entry[36:68], int.from_bytes(entry[34:36]), entry


def stage(tx: Connection, rows: Sequence[PledgeRow]) -> list[bool]:
    """Take the pledges of open scopes whose nullifiers do not stand, in a transaction that has the lock.

    True of what was taken; of equal nullifiers only the first is.
    """
    with _memory(tx) as (cursor, memory):
        return memory.stage(cursor, rows)


def settle(tx: Connection) -> None:
    """Sort everything that waits into the staged table, in a transaction that has the lock."""
    with _memory(tx) as (cursor, memory):
        memory.settle(cursor)


def holds(tx: Connection, nullifier: Nullifier) -> bool:
    """Whether a pledge waits here, for transactions that have the lock."""
    with _memory(tx) as (_, memory):
        return nullifier in memory.waiting


def find(tx: Connection, nullifier: Nullifier) -> PledgeRow | None:
    """A pledge that waits here, for transactions that only read."""
    return next((row for row in _rows(tx, nullifier) if row[0] == nullifier), None)


def waiting(tx: Connection) -> Iterator[PledgeRow]:
    """Every pledge that waits here, group by group, for transactions that only read.

    Raises:
        CorruptionError: a row is damaged.
    """
    return _rows(tx, None)


def _rows(tx: Connection, nullifier: Nullifier | None) -> Iterator[PledgeRow]:
    found = tx.exec_driver_sql(_ALL) if nullifier is None else tx.exec_driver_sql(_WITH, (nullifier,))
    for in_round, passed, nullifiers, entries in found:
        for row in _unpack(nullifiers, entries):
            if not in_round or row[0] > passed:
                yield row


def check(tx: Connection) -> None:
    """Read everything that is here.

    Raises:
        CorruptionError: it is damaged, or pledges that a round has passed are not in the staged table.
    """
    with raw_cursor(tx) as cursor:
        _Memory(cursor, *(cursor.execute(_STATE).fetchone() or _NOTHING))


@contextlib.contextmanager
def raw_cursor(tx: Connection) -> Iterator[Any]:
    """The driver's own cursor, for what must be fast: SQLAlchemy's part of a statement costs four times
    what SQLite's does. Errors are as SQLAlchemy raises them, so that the store knows what they mean."""
    cursor = tx.connection.cursor()
    database: Any = tx.dialect.loaded_dbapi
    try:
        yield cursor
    except database.Error as exc:
        raise DBAPIError.instance(
            None, None, exc, database.Error, hide_parameters=True, dialect=tx.dialect
        ) from exc
    finally:
        cursor.close()


@contextlib.contextmanager
def _memory(tx: Connection) -> Iterator[tuple[Any, _Memory]]:
    """A cursor and what waits, which is put back only when nothing failed: half a change is forgotten."""
    with raw_cursor(tx) as cursor:
        memory: _Memory | None = tx.info.pop(_KEY, None)
        state = cursor.execute(_STATE).fetchone() or _NOTHING
        if memory is None or memory.mark != state[0]:
            memory = _Memory(cursor, *state)
        yield cursor, memory
        tx.info[_KEY] = memory


class _Memory:
    """What waits, as the writer knows it without looking."""

    def __init__(self, cursor: Any, mark: bytes | None, through: int, passed: bytes) -> None:
        self.mark = mark
        self.waiting: dict[Nullifier, PledgeRow] = {}
        self._last = 0  # number of the last row
        self._through = through
        self._passed = passed
        self._round: list[Nullifier] = []  # what is still to come of the round, descending
        gone: list[Nullifier] = []
        query = "SELECT number, nullifiers, entries FROM arrivals ORDER BY number"
        for self._last, nullifiers, entries in cursor.execute(query):
            for row in _unpack(nullifiers, entries):
                if self._last <= through and row[0] <= passed:
                    gone.append(row[0])
                    continue
                self.waiting[row[0]] = row
                if self._last <= through:
                    self._round.append(row[0])
        self._round.sort(reverse=True)
        if bool(self.waiting) != (mark is not None) or not {*_standing(cursor, gone)}.issuperset(gone):
            raise CorruptionError("pledges that have just come are neither waiting nor staged")

    def stage(self, cursor: Any, rows: Sequence[PledgeRow]) -> list[bool]:
        """See ``stage``."""
        scopes = _open_scopes(cursor, {row[1] for row in rows})
        new: dict[Nullifier, PledgeRow] = {}
        for row in rows:
            if row[1] in scopes and row[0] not in self.waiting:
                new.setdefault(row[0], row)
        for nullifier in _standing(cursor, list(new)):
            new.pop(nullifier, None)
        if new:
            self._last += 1
            cursor.execute(_APPEND, (self._last, *_pack(sorted(new.values()))))
            self.waiting.update(new)
        if self._round or len(self.waiting) >= MAX_WAITING:
            self._continue_round(cursor, max(MIN_SLICE, 2 * len(new)))
            self._keep(cursor)
        elif new:
            self._keep(cursor)
        return [new.get(row[0]) is row for row in rows]

    def settle(self, cursor: Any) -> None:
        """See the function ``settle``."""
        if self.waiting:
            _insert(cursor, sorted(self.waiting.values()))
            cursor.execute("DELETE FROM arrivals")
            self.waiting, self._round = {}, []
            self._last, self._through, self._passed = 0, 0, b""
            self._keep(cursor)

    def _continue_round(self, cursor: Any, number: int) -> None:
        if not self._round:
            self._round = sorted(self.waiting, reverse=True)
            self._through = self._last
        part = self._round[: -number - 1 : -1]
        del self._round[-number:]
        _insert(cursor, [self.waiting.pop(nullifier) for nullifier in part])
        self._passed = part[-1]
        if not self._round:
            cursor.execute("DELETE FROM arrivals WHERE number <= ?", (self._through,))
            self._through, self._passed = 0, b""

    def _keep(self, cursor: Any) -> None:
        """Note the change under a new mark; where nothing waits there is none."""
        if self.waiting:
            self.mark = os.urandom(16)
            cursor.execute(_KEEP, (self.mark, self._through, self._passed))
        else:
            self.mark, self._last = None, 0
            cursor.execute("DELETE FROM arrivals_state")


def _open_scopes(cursor: Any, scopes: Collection[ScopeId]) -> set[bytes]:
    query = "SELECT scope FROM scopes WHERE is_open AND scope = ?"
    return {found for scope in scopes for (found,) in cursor.execute(query, (scope,))}


def _standing(cursor: Any, nullifiers: Sequence[Nullifier]) -> Iterator[Nullifier]:
    """Those that are spent or staged."""
    for first in range(0, len(nullifiers), _NUMBERS[-1]):
        part = nullifiers[first : first + _NUMBERS[-1]]
        number = next(number for number in _NUMBERS if number >= len(part))
        values = [*part, *[part[-1]] * (number - len(part))]
        for table in ("spent", "staged_pledges"):
            query = _STANDING.format(table, ",".join("?" * number))
            yield from (Nullifier(found) for (found,) in cursor.execute(query, values))


def _insert(cursor: Any, rows: Iterable[PledgeRow]) -> None:
    """Put sorted rows into the staged table; late are those of the scopes that a batch is planned with,
    because what waited when it was planned was sorted in then."""
    late = {scope for (scope,) in cursor.execute("SELECT scope FROM scopes WHERE joins IS NOT NULL")}
    cursor.executemany(_STAGE, [(*row, row[1] in late) for row in rows])


# struct {
#     opaque nullifiers[32 * n];       ascending, a column of its own
#     struct {
#         opaque leaf_hash[32];
#         opaque entry<0..2^16-1>;
#     } entries[n];
# } Arrivals;
def _pack(rows: Sequence[PledgeRow]) -> tuple[bytes, bytes]:
    parts: list[bytes] = []
    for _, _, leaf_hash, _, _, entry in rows:
        parts += leaf_hash, u16(len(entry)), entry
    return b"".join(row[0] for row in rows), b"".join(parts)


def _unpack(nullifiers: bytes, entries: bytes) -> Iterator[PledgeRow]:
    at, last = 0, b""
    for first in range(0, len(nullifiers), _HASH_BYTES):
        nullifier = Nullifier(nullifiers[first : first + _HASH_BYTES])
        start = at + _HASH_BYTES + 2
        end = start + int.from_bytes(entries[start - 2 : start])
        if len(nullifier) != _HASH_BYTES or nullifier <= last or end > len(entries) or end < start + 68:
            break
        yield pledge_row(nullifier, LeafHash(entries[at : at + _HASH_BYTES]), entries[start:end])
        at, last = end, nullifier
    if at != len(entries) or len(nullifiers) % _HASH_BYTES:
        raise CorruptionError("a row of pledges that have just come is damaged")
