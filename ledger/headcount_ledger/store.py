"""Transactions of the ledger's database, whichever it is.

What is read and written in them is in ``head``, ``sealed``, ``staged`` and ``taking``, whose functions
take the transaction in which they run. What differs between databases is in ``sqlite`` and ``postgresql``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from headcount_ledger import schema
from headcount_ledger.postgresql import Postgresql
from headcount_ledger.sqlite import Sqlite
from headcount_spec.errors import UnavailableError

FROZEN_RETRY_S = 600  # by then the address may lead to the new place

Transaction = Callable[[], AbstractContextManager[Connection]]


class Session(Protocol):
    """What holds the sequencer's lock."""

    @property
    def write(self) -> Transaction:
        """A transaction that ends undone if the lock is lost before it ends."""
        ...

    @property
    def write_aside(self) -> Transaction:
        """The same for tables that only the sequencer writes: nobody waits for it."""
        ...

    def check(self) -> None:
        """Raises UnavailableError if the lock is lost."""
        ...

    def wipe(self) -> bool:
        """Wipe what deleted rows have left in the files; False if a reader is in the way."""
        ...

    def close(self) -> None:
        """Let another sequencer run."""
        ...


class Transactions:
    """A database of any tables.

    Transactions that write take a lock when they begin, one for all processes on all machines, so a look
    and a write in one of them are one step.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._database = Postgresql(engine) if engine.dialect.name == "postgresql" else Sqlite(engine)

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the tables.

        Raises:
            UnavailableError: the database does not answer.
        """
        try:
            with self._database.read() as tx:
                yield tx
        except (DBAPIError, PoolTimeoutError) as exc:
            raise UnavailableError("the database does not answer") from exc

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that is durable when the block ends and undone when it raises.

        Raises:
            UnavailableError: the database cannot store it now; it is undone.
            CorruptionError: a row stands already that must not; it is undone.
            SystemExit: it is not known whether it was committed.
        """
        return self._write(self._database.write)

    def checkpoint_log(self) -> int:
        """Copy what can be copied of SQLite's write-ahead log into the database; how many pages it has."""
        return self._database.checkpoint_log()

    @contextlib.contextmanager
    def _write(self, begin: Transaction) -> Iterator[Connection]:
        committing = False
        try:
            with begin() as tx:
                self._check(tx)
                yield tx
                committing = True
        except PoolTimeoutError as exc:
            raise UnavailableError("the database does not answer") from exc
        except DBAPIError as exc:
            raise self._database.refusal(exc, committing) from exc

    def _check(self, tx: Connection) -> None:
        """What must hold before anything is written."""


class Store(Transactions):
    """The database of one ledger; nothing is written in it any more once it is frozen."""

    def create_tables(self) -> None:
        """Make the tables of a new ledger."""
        self._database.create_tables()

    def _check(self, tx: Connection) -> None:
        if tx.exec_driver_sql(_FROZEN).first() is not None:
            raise UnavailableError("the ledger has moved, and takes nothing here", FROZEN_RETRY_S)

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[LockedStore]:
        """This store with the sequencer's lock, while the block runs; path is that of a lock file.

        Raises:
            UnavailableError: another sequencer has it.
        """
        try:
            session = self._database.lock(path)
        except (DBAPIError, PoolTimeoutError) as exc:
            raise UnavailableError("the database does not answer") from exc
        try:
            yield LockedStore(self._engine, session)
        finally:
            session.close()


class LockedStore(Store):
    """The store of the sequencer: its writes fail once the lock is lost."""

    def __init__(self, engine: Engine, session: Session) -> None:
        super().__init__(engine)
        self._session = session

    def write(self) -> AbstractContextManager[Connection]:
        """As ``Store.write``."""
        return self._write(self._session.write)

    def write_aside(self) -> AbstractContextManager[Connection]:
        """As ``Store.write``, for tables that only the sequencer writes: acceptance goes on meanwhile."""
        return self._write(self._session.write_aside)

    def check(self) -> None:
        """Look whether the lock is still held.

        Raises:
            UnavailableError: it is lost; another sequencer may run.
        """
        try:
            self._session.check()
        except DBAPIError as exc:
            raise UnavailableError("the database does not answer") from exc

    def wipe(self) -> bool:
        """Wipe what deleted rows have left in the database's files; False if a reader is in the way."""
        return self._session.wipe()


# Made once: building a statement costs more than running it.
_FROZEN = str(select(schema.frozen.c.id))
