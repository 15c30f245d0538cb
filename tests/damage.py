"""A ledger with something of everything that is stored, and bits of it that flip."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import fakes
import manifests
from fakes import DAY
from headcount_ledger import schema, staged
from headcount_ledger.config import LedgerConfig

SCOPE = manifests.manifest(
    min_batch=3,
    options=manifests.options("Yes", "No"),
    quotas={"each": 1, "options": 2},
    freezes="2026-03-01",
)
CLOSED = manifests.manifest(
    min_batch=1,
    title=manifests.both("Over", "Fini"),
    closes="2026-01-20",
    freezes="2026-01-15",
    issuers=[manifests.issuer(0, token_key=3)],
)
TODAY = CLOSED.closes + 1
PLEDGES = [manifests.pledge(SCOPE, i, choice=1) for i in range(255)]
WAITING = [manifests.pledge(SCOPE, i, choice=2) for i in range(300, 305)]


def everything(directory: Path) -> LedgerConfig:
    """Full and partial tiles, a closed scope, revisions, and rows in every table; a batch can be sealed."""
    with fakes.new_ledger(directory) as ledger:
        fakes.open_scopes(ledger, SCOPE, CLOSED)
        ledger.accept(manifests.pledge(CLOSED, 0).to_bytes(), DAY)
        for pledge in PLEDGES:
            ledger.accept(pledge.to_bytes(), DAY)
        ledger.seal(DAY)
        for serial, choice in ((1, 2), (2, manifests.WITHDRAWN)):
            ledger.accept(manifests.revision(PLEDGES[0], 0, serial, choice).to_bytes(), DAY)
            ledger.seal(DAY)
        ledger.accept(manifests.revision(PLEDGES[1], 1, 1, manifests.WITHDRAWN).to_bytes(), DAY)
        issued = manifests.issuance(SCOPE, DAY, 320, manifests.opening(SCOPE))
        ledger.accept(issued.to_bytes(), DAY)
        other = manifests.issuance(CLOSED, DAY, 16, manifests.opening(CLOSED))
        ledger.accept(other.to_bytes(), DAY)
        ledger.seal(TODAY)
        for pledge in WAITING:
            ledger.accept(pledge.to_bytes(), TODAY)
            if pledge is WAITING[2]:  # the others are still where they came
                with ledger.store.write() as tx:
                    staged.settle(tx)
        ledger.accept(manifests.revision(PLEDGES[0], 0, 3, 1).to_bytes(), TODAY)
        ledger.accept(manifests.revision(WAITING[0], 300, 1, 1).to_bytes(), TODAY)
        later = manifests.issuance(SCOPE, TODAY, 336, issued)
        ledger.accept(later.to_bytes(), TODAY)
        return ledger.config


def flip_byte(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def columns() -> list[tuple[str, str]]:
    """Every column of every table that has rows while the ledger is here."""
    tables = [table for table in schema.metadata.sorted_tables if table is not schema.frozen]
    all_columns = [column for table in tables for column in table.c]
    all_columns += [schema.arrivals.c.nullifiers, schema.arrivals.c.entries]
    return [(column.table.name, column.name) for column in all_columns]


def flip_column(config: LedgerConfig, table: str, column: str, place: int = 0, bit: int = 1) -> bool:
    """Flip a bit of a row's value (of a number the one given), or fill in a NULL; whether there is a row."""
    tables = {**schema.metadata.tables, **schema.arrivals_metadata.tables}
    keys = [key.name for key in tables[table].primary_key]
    connection = sqlite3.connect(config.database)
    try:
        order = ", ".join(keys)
        rows = connection.execute(
            f"SELECT {order}, {column} FROM {table} ORDER BY {column} IS NULL, {order}"  # noqa: S608
        ).fetchall()
        if not rows:
            return False
        *key, value = rows[min(place, len(rows) - 1)]
        flipped: object
        if value is None:
            flipped = 1
        elif isinstance(value, int):
            flipped = value ^ bit
        elif isinstance(value, str):
            flipped = value[:-1] + chr(ord(value[-1]) ^ 1)
        else:
            flipped = value[:-1] + bytes([value[-1] ^ 1])
        where = " AND ".join(f"{name} = ?" for name in keys)
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (flipped, *key))  # noqa: S608
        connection.commit()
        return True
    finally:
        connection.close()
