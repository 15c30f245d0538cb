"""Transactions of the ledger's database.

What is read and written in them is in ``head``, ``sealed``, ``staged`` and ``taking``, whose functions
take the transaction in which they run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from headcount_ledger import schema
from headcount_spec.errors import CorruptionError, UnavailableError

# SQLite's result codes after which the transaction is rolled back and nothing is wrong with the file.
_CERTAINLY_UNDONE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_CANTOPEN")


class Store:
    """The database of one ledger.

    Transactions that write take the lock when they begin, so a look and a write in one of them are
    one step.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{schema.WRITES: True})

    def create_tables(self) -> None:
        """Make the tables of a new ledger."""
        schema.metadata.create_all(self._engine)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the tables.

        Raises:
            UnavailableError: the database does not answer.
        """
        try:
            with self._engine.begin() as tx:
                yield tx
        except DBAPIError as exc:
            raise UnavailableError("the database does not answer") from exc

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when the block ends and undone when it raises.

        Raises:
            UnavailableError: the database cannot store it now; it is undone.
            CorruptionError: a row stands already that must not; it is undone.
            SystemExit: it is not known whether it was committed.
        """
        try:
            with self._writing.begin() as tx:
                yield tx
        except DBAPIError as exc:
            name = getattr(exc.orig, "sqlite_errorname", type(exc.orig).__name__)
            if name.startswith(_CERTAINLY_UNDONE):
                raise UnavailableError(f"the database cannot store it now ({name})") from exc
            if name.startswith("SQLITE_CONSTRAINT"):
                raise CorruptionError("a row stands already that must not") from exc
            raise SystemExit(f"it is not known whether a transaction was committed ({name})") from exc

    def truncate_log(self) -> bool:
        """Wipe deleted rows from the write-ahead log; False if a reader is in the way."""
        return schema.truncate_log(self._engine)
