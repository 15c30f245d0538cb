"""The witness's memory: of each log, the last checkpoint that it has cosigned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, select, update
from sqlalchemy.dialects.sqlite import insert

from headcount_ledger import schema
from headcount_ledger.store import Transactions
from headcount_spec.merkle import EMPTY_ROOT, RootHash

_metadata = MetaData()

_seen = Table(
    "seen",
    _metadata,
    Column("origin", String, primary_key=True),
    Column("size", BigInteger, nullable=False),  # 0 before any checkpoint
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary),  # signed by the log and by us; null before any checkpoint
    sqlite_with_rowid=False,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The largest tree of a log that the witness has vouched for."""

    size: int
    root: RootHash
    note: bytes | None  # None before any checkpoint


class WitnessStore:
    """One database; any number of threads and processes may share it."""

    def __init__(self, path: Path) -> None:
        self._store = Transactions(schema.open_engine(path))

    def create(self) -> None:
        """Make the table of a new witness."""
        with self._store.write() as tx:
            _metadata.create_all(tx)

    def admit(self, origins: Iterable[str]) -> None:
        """Give every log a row, so that there is always one to compare with; those that have one keep it."""
        rows = [{"origin": origin, "size": 0, "root": EMPTY_ROOT, "note": None} for origin in origins]
        if rows:
            with self._store.write() as tx:
                tx.execute(insert(_seen).on_conflict_do_nothing(), rows)

    def last(self, origin: str) -> Seen:
        """What was seen of a log that has a row."""
        with self._store.read() as tx:
            row = tx.execute(select(_seen).where(_seen.c.origin == origin)).one()
        return Seen(row.size, RootHash(row.root), row.note)

    def advance(self, origin: str, old: Seen, new: Seen) -> bool:
        """Replace what was seen if it is still the old one; durable on return. False if it is not.

        Raises:
            UnavailableError: it cannot be stored now, and was not.
            SystemExit: it is not known whether it was stored.
        """
        unchanged = (_seen.c.origin == origin) & (_seen.c.size == old.size) & (_seen.c.root == old.root)
        values = {"size": new.size, "root": new.root, "note": new.note}
        with self._store.write() as tx:
            return tx.execute(update(_seen).where(unchanged).values(**values)).rowcount == 1

    def close(self) -> None:
        """Give the connections back."""
        self._store.close()
