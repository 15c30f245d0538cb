"""Where a ledger stands, as its configuration says: key, database, tree and pending batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.exc import DBAPIError

from headcount_ledger import postgresql, schema
from headcount_ledger.config import LedgerConfig
from headcount_ledger.pending import Pending, PendingBatch
from headcount_ledger.pending_tables import PendingTables
from headcount_ledger.storage import DirectoryStorage, Storage
from headcount_ledger.store import LockedStore
from headcount_spec.errors import ConfigurationError, MalformedError, ProtocolError, UnavailableError
from headcount_spec.note import SigningKey


def read_key(path: Path) -> SigningKey:
    """The private key of a ledger.

    Raises:
        ConfigurationError: the file holds something else.
    """
    try:
        return SigningKey.from_text(path.read_text("ascii").removesuffix("\n"))
    except (MalformedError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is no private key of a ledger") from exc


def open_storage(config: LedgerConfig) -> Storage:
    """Where the tree stands."""
    if config.bucket is None:
        return DirectoryStorage(config.public)
    from headcount_ledger.bucket import BucketStorage  # obstore is installed where it is needed

    return BucketStorage(config.bucket)


def open_database(config: LedgerConfig, checkpoints: bool = True) -> Engine:
    """The database, whether the tables are there or not; checkpoints: see ``schema.open_engine``.

    Raises:
        ConfigurationError: there is none, or the server is not fit for a ledger.
    """
    if config.postgresql is None:
        if not config.database.is_file():
            raise ConfigurationError(f"no ledger in {config.directory}: `headcount ledger create` makes one")
        return schema.open_engine(config.database, checkpoints)
    engine = postgresql.open_engine(config.postgresql, _read_password(config.password))
    try:
        postgresql.check_server(engine)
    except ProtocolError:
        engine.dispose()
        raise
    return engine


def open_pending(config: LedgerConfig, store: LockedStore) -> PendingBatch:
    """The batch on its way, where another that can lock the same database finds it."""
    return Pending(config.pending) if config.postgresql is None else PendingTables(store)


def has_tables(engine: Engine) -> bool:
    """Whether the tables of a ledger, or some of them, are in a database."""
    with _reading(engine) as connection:
        return inspect(connection).has_table(schema.head.name)


def check_tables(engine: Engine) -> None:
    """Refuse a database whose tables are not those of this version.

    Raises:
        ConfigurationError: another version has made it.
    """
    with _reading(engine) as connection:
        found = inspect(connection).get_multi_columns()
    there = {name: {column["name"] for column in columns} for (_, name), columns in found.items()}
    tables = dict(schema.metadata.tables)
    if engine.dialect.name == "sqlite":
        tables.update(schema.arrivals_metadata.tables)
    for name, table in tables.items():
        if there.get(name) != set(table.c.keys()):
            raise ConfigurationError(
                f"another version has made this database: its table {name} is not there or has other columns"
            )


def has_head(engine: Engine) -> bool:
    """Whether a database has a ledger: one that is being created or moved here has no head yet."""
    if not has_tables(engine):
        return False
    with _reading(engine) as connection:
        return connection.execute(select(schema.head.c.id)).first() is not None


@contextlib.contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    """A connection for a look.

    Raises:
        UnavailableError: the database does not answer.
    """
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as exc:
        raise UnavailableError("the database does not answer") from exc


def _read_password(path: Path | None) -> str | None:
    try:
        return None if path is None else path.read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"cannot read {path}: the password of the database") from exc
