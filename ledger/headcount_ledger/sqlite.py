"""SQLite: what the ledger does otherwise there than in PostgreSQL. Tables and engine are in ``schema``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, PoolProxiedConnection, delete, insert, select
from sqlalchemy.exc import DBAPIError

from headcount_ledger import schema
from headcount_ledger.lock import FileLock
from headcount_spec.errors import CorruptionError, UnavailableError

# Result codes after which the transaction is rolled back and nothing is wrong with the file.
_CERTAINLY_UNDONE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_CANTOPEN")


class Sqlite:
    """A database file; whoever writes locks it when the transaction begins."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(**{schema.WRITES: True})
        self._checkpointing = threading.Lock()
        self._checkpoints: PoolProxiedConnection | None = None  # what copies the log

    def close(self) -> None:
        """Give the connections back."""
        with self._checkpointing:
            if self._checkpoints is not None:
                self._checkpoints.close()
                self._checkpoints = None
        self.engine.dispose()

    def create_tables(self) -> None:
        """Make the tables of a new ledger."""
        schema.metadata.create_all(self.engine)
        schema.arrivals_metadata.create_all(self.engine)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction on one state of the tables."""
        with self.engine.begin() as tx:
            yield tx

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that has the lock when it begins."""
        with self._writing.begin() as tx:
            yield tx

    def refusal(self, error: DBAPIError, committing: bool) -> BaseException:
        """What a failed transaction that writes means."""
        name = getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
        if name.startswith(_CERTAINLY_UNDONE):
            return UnavailableError(f"the database cannot store it now ({name})")
        if name.startswith("SQLITE_CONSTRAINT"):
            return CorruptionError("a row stands already that must not")
        return SystemExit(f"it is not known whether a transaction was committed ({name})")

    def checkpoint_log(self) -> int:
        """Copy what can be copied of the write-ahead log into the file; how many pages the log has."""
        with self._checkpointing:
            if self._checkpoints is None:
                self._checkpoints = self.engine.raw_connection()
                self._checkpoints.detach()  # the writer would be given it in turn, with an empty cache
            return schema.checkpoint_log(self._checkpoints)

    def lock(self, path: Path) -> SqliteSession:
        """Take the sequencer's lock."""
        return SqliteSession(self, FileLock(path))


class SqliteSession:
    """Holds the sequencer's lock: a file beside the database."""

    def __init__(self, database: Sqlite, lock: FileLock) -> None:
        self._database = database
        self._lock = lock
        self.write = database.write
        self.write_aside = database.write

    def check(self) -> None:
        """The operating system keeps the lock as long as the process has it open."""

    def wipe(self) -> bool:
        """Empty the write-ahead log, which holds deleted rows; False while a reader is in the way."""
        return schema.truncate_log(self._database.engine)

    def close(self) -> None:
        """Let another sequencer run."""
        self._lock.close()


def rewrite(tx: Connection) -> None:
    """Write the pledges and revisions that remain again, sorted: their places told when they came."""
    for table in (schema.staged_pledges, schema.staged_revisions):
        rows = [dict(row._mapping) for row in tx.execute(select(table).order_by(table.c.nullifier))]
        tx.execute(delete(table))
        if rows:
            tx.execute(insert(table), rows)
