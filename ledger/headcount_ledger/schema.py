"""The ledger's tables, and the options of SQLite; those of PostgreSQL are in ``postgresql``.

No table has a time, and but for the groups that have just come (``arrivals``) none has a row number that
would count: primary keys are the nullifiers and hashes themselves (WITHOUT ROWID in SQLite; PostgreSQL
ignores the option).

KNOWN: until its batch is sealed, the row of its group, the place of a staged row inside its page, and the
write-ahead log tell when a pledge came. Sealing deletes them with their bytes, writes what remains again in
sorted order and empties the log and its index. What stays of large batches is which page numbers they had
been given: they depend a little on which page of the staged table was full first, and so do those of pages
used later.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    PoolProxiedConnection,
    SmallInteger,
    String,
    Table,
    create_engine,
    event,
)

BUSY_TIMEOUT_MS = 30_000  # another process commits: wait for it
WRITES = "headcount_writes"  # execution option: the transaction takes the write lock when it begins

metadata = MetaData()


def _hash(name: str, **options: Any) -> Column[bytes]:
    return Column(name, LargeBinary(32), nullable=options.pop("nullable", False), **options)


def _table(name: str, *columns: Any, **options: Any) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False, **options)


# The one row that is the truth after a crash.
head = _table(
    "head",
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("key", String, nullable=False),  # vkey; its name is the origin line
    Column("batches", BigInteger, nullable=False),  # sealed so far, the number of the next
    Column("size", BigInteger, nullable=False),
    _hash("root"),
    Column("pledges", BigInteger, nullable=False),
    Column("day", BigInteger, nullable=False),  # of the last seal
    _hash("seal"),  # leaf hash of the last seal
    _hash("chain"),  # over every leaf, the last seal included
    Column("checkpoint", LargeBinary, nullable=False),  # signed by us, before any cosignature
    _hash("published", nullable=True),  # SHA-256 of it as published; null until then
)

# A row, and nothing is accepted or sealed here ever again: the ledger has moved.
frozen = _table(
    "frozen",
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("successor", String, nullable=False),  # where to
)

scopes = _table(
    "scopes",
    _hash("scope", primary_key=True),
    Column("gross", BigInteger, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("is_open", Boolean, nullable=False),  # false from the moment its closing batch is planned
    Column("closed_in", BigInteger),  # batch of its closing notice
    Column("joins", BigInteger),  # batch that is planned with what waited then, null if none is
    # The long one is last: what stands behind it would be on another page, and is looked up for each pledge.
    Column("manifest", LargeBinary, nullable=False),
)

# Live pledges at each option, of scopes whose terms have quotas; an option without any has no row.
option_counts = _table(
    "option_counts",
    _hash("scope", primary_key=True),
    Column("choice", Integer, primary_key=True, autoincrement=False),
    Column("live", BigInteger, nullable=False),
)

notices = _table(
    "notices",
    _hash("scope", primary_key=True),
    Column("author", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String, nullable=False),
    _hash("leaf_hash"),
    Column("leaf_index", BigInteger, nullable=False),
)

spent = _table(
    "spent",
    _hash("nullifier", primary_key=True),
    _hash("scope"),
    _hash("leaf_hash"),  # of the pledge
    _hash("revision_key"),
    Column("choice", Integer, nullable=False),  # after the last revision
    Column("serial", SmallInteger, nullable=False),  # of the last revision, 0 without any
    _hash("revision_hash", nullable=True),  # leaf hash of the last revision
    postgresql_partition_by="HASH (nullifier)",  # the parts: postgresql.create_tables
)

# A batch that is planned takes all pledges of the scopes that join it but the late ones: nothing is
# written into a row to plan with it.
staged_pledges = _table(
    "staged_pledges",
    _hash("nullifier", primary_key=True),
    _hash("scope"),
    _hash("leaf_hash"),
    _hash("revision_key"),
    Column("choice", Integer, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("is_late", Boolean, nullable=False),  # came after a batch was planned with its scope
)

# In the other two, batch is the batch that was planned with the row, null until then.
staged_revisions = _table(
    "staged_revisions",
    _hash("nullifier", primary_key=True),
    _hash("scope"),
    _hash("leaf_hash"),
    Column("choice", Integer, nullable=False),
    Column("serial", SmallInteger, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("batch", BigInteger),
)

staged_notices = _table(
    "staged_notices",
    _hash("scope", primary_key=True),
    Column("author", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String, nullable=False),
    _hash("leaf_hash"),
    Column("entry", LargeBinary, nullable=False),
    Column("batch", BigInteger),
)

MARKED = (staged_revisions, staged_notices)

# Pledges that have just come, where the database is SQLite, a row for each group that was committed: see
# arrivals. The number grows until all are sorted in. With a row number of SQLite's own, because rows of
# other tables spill to a page of their own at a quarter of a page.
arrivals_metadata = MetaData()

arrivals = Table(
    "arrivals",
    arrivals_metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("nullifiers", LargeBinary, nullable=False),  # 32 bytes each, ascending
    Column("entries", LargeBinary, nullable=False),  # with their leaf hashes
)

arrivals_state = Table(
    "arrivals_state",
    arrivals_metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("mark", LargeBinary(16), nullable=False),  # another one with every change
    Column("through", Integer, nullable=False),  # last row of the round, 0 without one
    Column("passed", LargeBinary(32), nullable=False),  # in those rows, what is not greater is sorted in
    sqlite_with_rowid=False,
)

# The batch between its building and its publication, where the database is PostgreSQL; see pending_tables.
pending_metadata = MetaData()

pending_objects = Table(
    "pending_objects",
    pending_metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # their order
    Column("path", String, nullable=False, unique=True),
    Column("data", LargeBinary, nullable=False),
)

pending_plan = Table(
    "pending_plan",
    pending_metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("plan", LargeBinary, nullable=False),
)


# Nullifiers fall anywhere in a table: with the 2 MB of cache that SQLite has by itself, a page is read
# from the file for almost every pledge, which makes staging it half as dear again.
_CACHE_KIB = 1 << 16
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL")  # codes of what another try may mend
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "temp_store=MEMORY",
    f"cache_size=-{_CACHE_KIB}",
)


def open_engine(path: Path, checkpoints: bool = True) -> Engine:
    """An engine on a SQLite file that exists or is about to be created.

    WAL with synchronous=FULL: a commit is durable when it returns. secure_delete: what is deleted
    is overwritten. temp_store: nothing is sorted in files beside the database. Without checkpoints, commits
    leave the write-ahead log to whoever calls ``checkpoint_log``.
    """
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        pool_use_lifo=True,  # the connection that wrote last: what it has in its cache is still true
        hide_parameters=True,  # an exception's message may reach a log: no nullifier in it
    )

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the module's own idea of transactions is in the way
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        if not checkpoints:
            cursor.execute("PRAGMA wal_autocheckpoint=0")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail instead of waiting for its turn.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def checkpoint_log(connection: PoolProxiedConnection) -> int:
    """A PASSIVE checkpoint, which waits for nobody and is in nobody's way; the pages in the log.

    Raises:
        SystemExit: the disk fails; it is not known what is durable.
    """
    try:
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
            _busy, pages, _copied = cursor.fetchone() or (0, 0, 0)
            return int(pages)
        finally:
            cursor.close()
    except sqlite3.Error as exc:
        if getattr(exc, "sqlite_errorname", "").startswith(_PASSING):
            return 0  # the next one tries again, and commits say what is wrong
        raise SystemExit(f"the write-ahead log cannot be copied ({type(exc).__name__})") from exc


def truncate_log(engine: Engine) -> bool:
    """Empty SQLite's write-ahead log, which holds deleted rows; False while a reader is in the way.

    The log's index (the file -shm) still lists which page each frame was of, in the order of the commits,
    until the log begins anew. So it begins anew here, with a frame of the first page, and is emptied again.

    Raises:
        SystemExit: the disk fails; it is not known what is durable.
    """
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        try:
            emptied = _checkpoint(cursor)
            if emptied:
                cursor.execute("PRAGMA user_version=0")  # we use it for nothing; writes the first page
                emptied = _checkpoint(cursor)
            return emptied
        finally:
            cursor.close()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorname.startswith(_PASSING):
            return False
        raise SystemExit(f"the write-ahead log cannot be emptied ({exc.sqlite_errorname})") from exc
    finally:
        raw.close()


def _checkpoint(cursor: Any) -> bool:
    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    busy, _frames, _copied = cursor.fetchone()
    return bool(busy == 0)
