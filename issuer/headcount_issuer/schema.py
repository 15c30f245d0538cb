"""The tables of the issuer. No table has a column for a time, an address or a person."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, UniqueConstraint

metadata = MetaData()

# One row a scope that this issuer has begun to open.
scopes = Table(
    "scopes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1, in the order of enrolment
    Column("scope", LargeBinary(32), nullable=False, unique=True),
    Column("token_key_id", LargeBinary(32), nullable=False, unique=True),  # one key, one scope
    Column("manifest", LargeBinary, nullable=False),
    Column("opened", Integer, nullable=False),  # 1 when the ledger has taken the opening notice
    Column("depth", Integer, nullable=False),  # the scope has 2^depth buckets
    Column("issued", Integer, nullable=False),  # tokens, cumulative
)

# (scope, tag, SHA-256(blinded message)) in buckets of one page; tags has the layout and the reasons.
buckets = Table(
    "buckets",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # number << 40 | depth << 32 | bucket
    Column("records", LargeBinary, nullable=False),
)

# The tags of the codes on printed sheets, written in one transaction a sheet, in ascending order.
codes = Table(
    "codes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tag", LargeBinary(32), primary_key=True),
    sqlite_with_rowid=False,
)

# What this issuer has said in public, saved before it is sent.
notices = Table(
    "notices",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # of the scope
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    Column("sent", Integer, nullable=False),  # 1 when the ledger has taken it
    UniqueConstraint("entry"),
    sqlite_with_rowid=False,
)

# Opt-in accounts: sealed records in blobs; accounts has the layout, shelf the reasons.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # depth << 32 | number of the blob
    Column("records", LargeBinary, nullable=False),
)
