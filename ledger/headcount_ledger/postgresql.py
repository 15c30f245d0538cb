"""PostgreSQL 15 or newer: what the ledger does otherwise there than in SQLite.

Who writes takes one advisory lock first and keeps it to the end of the transaction, as SQLite does by
BEGIN IMMEDIATE. Without it staging and spending would pass each other: between the moment in which a
statement sees that a nullifier is not spent and the moment in which it inserts the nullifier among the
staged, the sequencer could move the same one from there to the spent set, and it would count twice.

Isolation: READ COMMITTED for what writes. Its statements see what was committed when each begins, and
the first of them waits for the lock, so the others see all that the holders before have done; nobody
else writes meanwhile. Under REPEATABLE READ the statement that waits would fix the view from before
its wait, and SERIALIZABLE would answer every conflict by an error instead of an order. What only reads
is REPEATABLE READ, read only: one state of the tables, whatever the number of statements.

The sequencer's lock is another advisory lock, of the session. Whatever the sequencer writes goes
through that same session: when the session is lost, its lock and its transaction end together, and no
moment is left in which it writes without the lock. That needs a connection of one's own, so no pooler
that gives each transaction another session; that is checked.

KNOWN: the write-ahead log (pg_wal, archives, replicas) tells the order of arrival for as long as it is
kept, and we cannot wipe it; docs/scaling.md says what its operator can do. In the tables themselves
the order is gone after each batch: see ``Session.wipe``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, insert, make_url, select
from sqlalchemy.exc import DBAPIError

from headcount_ledger import schema
from headcount_spec.errors import ConfigurationError, CorruptionError, UnavailableError

MIN_VERSION = 15
PARTITIONS = 16  # of the spent set: at a hundred million pledges about 2 GB each, vacuumed one by one
POOL = 20  # connections that stay open; the rest of a rush is opened and closed
CONNECT_S = 10
WIPE_WAIT_MS = 2000  # a wipe that waits for a reader makes all other readers wait behind it

_CLASS = int.from_bytes(b"hcnt", "big")  # first half of our advisory locks' keys: one ledger a database
_WRITERS, _SEQUENCER = 1, 2  # the second half
_LOCK_WRITERS = (
    "SELECT pg_advisory_xact_lock(%s, %s), set_config('idle_in_transaction_session_timeout', '60s', true)"
)

# A commit is durable when it returns. Whoever vanishes without closing the connection (power, network)
# loses its locks after 25 s, and who stands still with the writers' lock after 60 s.
_SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": f"{schema.BUSY_TIMEOUT_MS}ms",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}
# The server's own: what else would lose commits, or write down when each entry came.
_SERVER = {
    "fsync": ("on", "a commit would not survive a power cut"),
    "full_page_writes": ("on", "a power cut could tear a page"),
    "track_commit_timestamp": ("off", "it keeps the time of each acceptance"),
    "log_statement": ("none ddl", "the log would keep each entry with its time"),
}

# SQLSTATE classes with which the server says that the commit was refused: 23 constraint, 40 rollback,
# 53 resources. With others, or with none, it may have been done.
_REFUSED_COMMIT = ("23", "40", "53")
_LOCK_NOT_AVAILABLE = "55P03"


def open_engine(url: str, password: str | None = None) -> Engine:
    """An engine on a database that exists; the tables may not.

    Raises:
        ConfigurationError: psycopg is not installed, or the URL is none.
    """
    try:
        address = make_url(url)
        if password is not None:
            address = address.set(password=password)
        settings = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        engine = create_engine(
            address,
            pool_size=POOL,
            isolation_level="REPEATABLE READ",
            hide_parameters=True,  # an exception's message may reach a log: no nullifier in it
            # Decisions are row counts, also of INSERT, which psycopg forgets when the cursor is closed.
            execution_options={"preserve_rowcount": True},
            connect_args={"connect_timeout": CONNECT_S, "options": settings},
        )
    except ModuleNotFoundError as exc:
        raise ConfigurationError("PostgreSQL needs: pip install 'headcount[scale]'") from exc
    except (ValueError, DBAPIError) as exc:
        raise ConfigurationError("ledger.database is no URL of a database") from exc

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(schema.WRITES):
            connection.exec_driver_sql(_LOCK_WRITERS, (_CLASS, _WRITERS))

    return engine


def check_server(engine: Engine) -> None:
    """Refuse a server on which commits are not durable or arrivals are written down.

    Raises:
        ConfigurationError: it is too old, or a setting is wrong.
        UnavailableError: it does not answer.
    """
    try:
        with engine.connect() as connection:
            version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10000
            if version < MIN_VERSION:
                raise ConfigurationError(f"PostgreSQL {version} is too old: {MIN_VERSION} is needed")
            for name, (values, reason) in _SERVER.items():
                if connection.exec_driver_sql(f"SHOW {name}").scalar_one() not in values.split():
                    raise ConfigurationError(f"PostgreSQL's {name} must be {values.split()[0]}: {reason}")
    except DBAPIError as exc:
        raise UnavailableError("the database does not answer") from exc


class Postgresql:
    """A database on a server."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(postgresql_readonly=True)
        self._writing = engine.execution_options(isolation_level="READ COMMITTED", **{schema.WRITES: True})

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def create_tables(self) -> None:
        """Make the tables of a new ledger, those that are not there."""
        with self._writing.begin() as tx:
            schema.metadata.create_all(tx)
            schema.pending_metadata.create_all(tx)
            for number in range(PARTITIONS):
                tx.exec_driver_sql(
                    f"CREATE TABLE IF NOT EXISTS spent_{number:02} PARTITION OF spent"
                    f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
                )
            # Signatures and hashes do not shrink: no attempt to compress them.
            tx.exec_driver_sql("ALTER TABLE pending_objects ALTER COLUMN data SET STORAGE EXTERNAL")

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction on one state of the tables."""
        with self._reading.begin() as tx:
            yield tx

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that has the writers' lock when it begins."""
        with self._writing.begin() as tx:
            yield tx

    def refusal(self, error: DBAPIError, committing: bool) -> BaseException:
        """What a failed transaction that writes means."""
        state = getattr(error.orig, "sqlstate", None)
        name = state or type(error.orig).__name__
        if committing and (state is None or not state.startswith(_REFUSED_COMMIT)):
            return SystemExit(f"it is not known whether a transaction was committed ({name})")
        # COMMIT was never sent, or was answered by no: it is undone.
        if state is not None and state.startswith("23"):
            return CorruptionError("a row stands already that must not")
        if state is not None and state.startswith("XX"):
            return CorruptionError(f"the database says that it is damaged ({name})")
        return UnavailableError(f"the database cannot store it now ({name})")

    def checkpoint_log(self) -> int:
        """The server copies its write-ahead log itself; no pages."""
        return 0

    def lock(self, path: Path) -> PostgresqlSession:
        """Take the sequencer's lock; the path of a lock file is of no use here."""
        return PostgresqlSession(self.engine)


class PostgresqlSession:
    """Holds the sequencer's lock, and is the one connection through which the sequencer writes."""

    def __init__(self, engine: Engine) -> None:
        """Take the lock.

        Raises:
            UnavailableError: another session has it.
        """
        self._connection = engine.connect()
        self._session: Any = None
        try:
            self._connection.execution_options(isolation_level="READ COMMITTED")
            self._connection.detach()  # closed with the lock, and never given to somebody else
            self._session = self._connection.connection.dbapi_connection
            taken = self._connection.exec_driver_sql(
                "SELECT pg_try_advisory_lock(%s, %s)", _key()
            ).scalar_one()
            self._connection.commit()
            if not taken:
                raise UnavailableError("another sequencer runs on this ledger")
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction with the sequencer's lock and the writers'."""
        with self._begin(writers=True) as tx:
            yield tx

    @contextlib.contextmanager
    def write_aside(self) -> Iterator[Connection]:
        """A transaction with the sequencer's lock alone."""
        with self._begin(writers=False) as tx:
            yield tx

    @contextlib.contextmanager
    def _begin(self, *, writers: bool) -> Iterator[Connection]:
        connection = self._connection.execution_options(**{schema.WRITES: writers})
        with connection.begin():
            _check_lock(connection)
            yield connection

    def check(self) -> None:
        """Look whether the lock is still held.

        Raises:
            UnavailableError: it is lost.
        """
        with self._begin(writers=False):
            pass

    def wipe(self) -> bool:
        """Write the staged tables anew, without what was deleted; False if a reader is in the way.

        CLUSTER copies the rows that live in the order of their nullifiers into new files and removes the
        old ones. Unlike TRUNCATE it leaves transactions that began before with what they saw. ``rewrite``
        has given all rows one transaction number before: those had told the order too (xmin).
        """
        try:
            with self._begin(writers=True) as tx:
                tx.exec_driver_sql(f"SET LOCAL lock_timeout = {WIPE_WAIT_MS}")
                for table in (schema.staged_pledges, schema.staged_revisions):
                    tx.exec_driver_sql(f"CLUSTER {table.name} USING {table.name}_pkey")
        except DBAPIError as exc:
            if getattr(exc.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                return False
            raise UnavailableError("the database does not answer") from exc
        return True

    def close(self) -> None:
        """Let another sequencer run, at once; the server frees the lock of a lost connection itself."""
        with contextlib.suppress(DBAPIError):
            if not self._connection.invalidated:
                self._connection.rollback()
                self._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        with contextlib.suppress(DBAPIError):
            self._connection.close()
        if self._session is not None:
            self._session.close()  # SQLAlchemy forgets a detached one that was lost


@contextlib.contextmanager
def copying(tx: Connection, table: Table) -> Iterator[Any]:
    """A COPY into a table, all columns in their order; ``write_row`` sends a row.

    Raises:
        UnavailableError: the server does not take it; nothing was committed.
    """
    from psycopg import Error

    connection: Any = tx.connection.dbapi_connection  # psycopg's own
    try:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table.name} FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types([column.type.compile(tx.dialect).lower() for column in table.c])
            yield copy
    except Error as exc:
        name = exc.sqlstate or type(exc).__name__
        raise UnavailableError(f"the database cannot store it now ({name})") from exc


def rewrite(tx: Connection) -> None:
    """Write the pledges and revisions that remain again, sorted, in one transaction: see ``wipe``."""
    for table in (schema.staged_pledges, schema.staged_revisions):
        moved = delete(table).returning(*table.c).cte("moved")
        tx.execute(insert(table).from_select(moved.c.keys(), select(moved).order_by(moved.c.nullifier)))


def _key() -> tuple[int, int]:
    return _CLASS, _SEQUENCER


def _check_lock(tx: Connection) -> None:
    held = tx.exec_driver_sql(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted"
        " AND classid::bigint = %s AND objid::bigint = %s AND objsubid = 2",
        _key(),
    ).scalar_one()
    if held != 1:
        raise UnavailableError("the sequencer's lock is lost: its connection was another one's or was closed")
