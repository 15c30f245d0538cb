"""What is accepted: staged for the next batches, or spent.

Each decision is one statement whose row count is checked; of pledges in SQLite, several in a transaction
that has the lock (``arrivals``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Row,
    Table,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite

from headcount_ledger import arrivals
from headcount_ledger.arrivals import PledgeRow, pledge_row
from headcount_ledger.schema import (
    notices,
    scopes,
    spent,
    staged_notices,
    staged_pledges,
    staged_revisions,
)
from headcount_spec.merkle import LeafHash
from headcount_spec.notice import Notice, manifest_of
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest, ScopeId


@dataclass(frozen=True, slots=True)
class StoredPledge:
    """What must be known of an accepted pledge to answer a retry or a revision."""

    scope: ScopeId
    leaf_hash: LeafHash
    revision_key: bytes
    serial: int  # of the last accepted revision, 0 without any
    revision_hash: LeafHash | None  # leaf hash of that revision
    revision_waits: bool  # for a batch; until then no other is taken


@dataclass(frozen=True, slots=True)
class StagedPledge:
    """What must be known of a pledge that waits for a batch."""

    scope: ScopeId
    leaf_hash: LeafHash
    revision_key: bytes


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """A notice that stands in its author's sequence, sealed or staged."""

    seq: int
    leaf_hash: LeafHash


def _insert_where(
    table: Table, names: Sequence[str], *conditions: ColumnElement[bool]
) -> Mapping[str, Insert]:
    """By dialect, an insert of one row, by name, that does nothing if a condition fails or its key stands."""
    row = select(*(_value(table, name) for name in names)).where(*conditions)
    return {
        "sqlite": sqlite.insert(table).from_select(names, row).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).from_select(names, row).on_conflict_do_nothing(),
    }


def _value(table: Table, name: str) -> BindParameter[Any]:
    return bindparam(name, type_=table.c[name].type)


# All rows of a group at once: a server is asked once, however many there are.
_STAGE_PLEDGES_SQL = """
INSERT INTO staged_pledges (nullifier, scope, leaf_hash, revision_key, choice, entry, is_late)
SELECT row.*, scopes.joins IS NOT NULL
FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[], %s::bytea[], %s::integer[], %s::bytea[])
    AS row (nullifier, scope, leaf_hash, revision_key, choice, entry)
JOIN scopes ON scopes.scope = row.scope AND scopes.is_open
WHERE NOT EXISTS (SELECT FROM spent WHERE spent.nullifier = row.nullifier)
ON CONFLICT DO NOTHING
RETURNING leaf_hash
"""

# Made once: building a statement costs more than running it.
_COUNT_NOTICES = select(func.count()).select_from(staged_notices)

_NULLIFIER = _value(staged_revisions, "nullifier")
_BEFORE = _value(staged_revisions, "serial") - 1
_STAGE_REVISION = _insert_where(
    staged_revisions,
    ("nullifier", "scope", "leaf_hash", "choice", "serial", "entry"),
    exists().where(scopes.c.scope == _value(staged_revisions, "scope"), scopes.c.is_open),
    or_(
        exists().where(spent.c.nullifier == _NULLIFIER, spent.c.serial == _BEFORE),
        and_(_BEFORE == 0, exists().where(staged_pledges.c.nullifier == _NULLIFIER)),
        and_(_BEFORE == 0, bindparam("has_come", type_=Integer) == 1),
    ),
)


def stage_pledges(tx: Connection, rows: Sequence[PledgeRow]) -> list[bool]:
    """Stage each pledge of an open scope unless its nullifier stands: this decides that it counts once.

    True of what was staged; of equal rows, perhaps of each. What must be fast, so it goes around SQLAlchemy.
    """
    if not rows:
        return []
    if tx.dialect.name == "sqlite":
        return arrivals.stage(tx, rows)
    with arrivals.raw_cursor(tx) as cursor:
        cursor.execute(_STAGE_PLEDGES_SQL, [list(column) for column in zip(*rows, strict=True)])
        staged = {bytes(leaf_hash) for (leaf_hash,) in cursor.fetchall()}
    return [leaf_hash in staged for _, _, leaf_hash, _, _, _ in rows]


def stage_pledge(tx: Connection, pledge: Pledge, nullifier: Nullifier, leaf_hash: LeafHash) -> bool:
    """Stage one pledge; see ``stage_pledges``."""
    return stage_pledges(tx, [pledge_row(nullifier, leaf_hash, pledge.to_bytes())])[0]


def settle(tx: Connection) -> None:
    """Sort what has just come into the staged table, before that is read as a whole or written anew."""
    if tx.dialect.name == "sqlite":
        arrivals.settle(tx)


def pledges_that_came(tx: Connection) -> Iterator[PledgeRow]:
    """The staged pledges that are not yet in the staged table."""
    return arrivals.waiting(tx) if tx.dialect.name == "sqlite" else iter(())


def check_arrivals(tx: Connection) -> None:
    """Refuse pledges that have come and are lost on the way to the staged table; see ``arrivals.check``."""
    if tx.dialect.name == "sqlite":
        arrivals.check(tx)


def stage_revision(tx: Connection, revision: Revision, leaf_hash: LeafHash) -> bool:
    """Stage a revision if it is the next of an accepted pledge of an open scope and none is staged."""
    row = {
        "nullifier": revision.nullifier,
        "scope": revision.scope_id,
        "leaf_hash": leaf_hash,
        "choice": revision.choice,
        "serial": revision.serial,
        "entry": revision.to_bytes(),
        "has_come": int(tx.dialect.name == "sqlite" and arrivals.holds(tx, revision.nullifier)),
    }
    return tx.execute(_STAGE_REVISION[tx.dialect.name], row).rowcount == 1


def has_notice(tx: Connection, scope: ScopeId, leaf_hash: LeafHash) -> bool:
    """Whether this very notice of the scope is sealed or staged."""
    tables = (notices, staged_notices)
    wanted = [select(t.c.seq).where(t.c.scope == scope, t.c.leaf_hash == leaf_hash) for t in tables]
    return tx.execute(union_all(*wanted)).first() is not None


def count_notices(tx: Connection) -> int:
    """How many notices wait for a batch."""
    return int(tx.execute(_COUNT_NOTICES).scalar_one())


def stage_notice(
    tx: Connection,
    scope: ScopeId,
    author: str,
    seq: int,
    type: str,
    leaf_hash: LeafHash,
    entry: bytes,
) -> None:
    """Stage a notice that was checked in the same transaction."""
    tx.execute(
        insert(staged_notices).values(
            scope=scope, author=author, seq=seq, type=type, leaf_hash=leaf_hash, entry=entry
        )
    )


def find_pledge(tx: Connection, nullifier: Nullifier) -> StoredPledge | None:
    """An accepted pledge, with its last accepted revision."""
    revised = tx.execute(
        select(staged_revisions.c.serial, staged_revisions.c.leaf_hash).where(
            staged_revisions.c.nullifier == nullifier
        )
    ).one_or_none()
    row = tx.execute(select(spent).where(spent.c.nullifier == nullifier)).one_or_none()
    pledge = find_staged(tx, nullifier) if row is None else _pledge_of(row)
    if pledge is None:
        return None
    serial, revision_hash = (0, None) if row is None else (row.serial, row.revision_hash)
    if revised is not None:
        serial, revision_hash = revised.serial, revised.leaf_hash
    return StoredPledge(
        pledge.scope,
        pledge.leaf_hash,
        pledge.revision_key,
        serial,
        revision_hash,
        revised is not None,
    )


def find_staged(tx: Connection, nullifier: Nullifier) -> StagedPledge | None:
    """A pledge that waits for a batch."""
    query = select(staged_pledges).where(staged_pledges.c.nullifier == nullifier)
    row = tx.execute(query).one_or_none()
    if row is not None:
        return _pledge_of(row)
    came = arrivals.find(tx, nullifier) if tx.dialect.name == "sqlite" else None
    return None if came is None else StagedPledge(came[1], came[2], came[3])


def _pledge_of(row: Row[*tuple[Any, ...]]) -> StagedPledge:
    return StagedPledge(ScopeId(row.scope), LeafHash(row.leaf_hash), row.revision_key)


def find_notice(tx: Connection, scope: ScopeId, author: str, seq: int) -> LeafHash | None:
    """The notice at this place of its author's sequence, sealed or staged."""
    queries = [
        select(table.c.leaf_hash).where(table.c.scope == scope, table.c.author == author, table.c.seq == seq)
        for table in (notices, staged_notices)
    ]
    found = tx.execute(union_all(*queries)).scalar()
    return None if found is None else LeafHash(found)


def last_notice(tx: Connection, scope: ScopeId, author: str) -> StoredNotice | None:
    """The last of an author's notices in a scope, sealed or staged."""
    queries = [
        select(table.c.seq, table.c.leaf_hash).where(table.c.scope == scope, table.c.author == author)
        for table in (notices, staged_notices)
    ]
    both = union_all(*queries).subquery()
    row = tx.execute(select(both).order_by(both.c.seq.desc()).limit(1)).one_or_none()
    return None if row is None else StoredNotice(row.seq, LeafHash(row.leaf_hash))


def manifests(tx: Connection) -> dict[ScopeId, Manifest]:
    """Manifests whose notices wait to be sealed."""
    query = select(staged_notices.c.scope, staged_notices.c.entry).where(staged_notices.c.type == "manifest")
    return {ScopeId(row.scope): _manifest_in(row.entry) for row in tx.execute(query)}


def manifest(tx: Connection, scope: ScopeId) -> Manifest | None:
    """The manifest of a scope whose notice waits to be sealed."""
    query = select(staged_notices.c.entry).where(
        staged_notices.c.scope == scope, staged_notices.c.type == "manifest"
    )
    entry = tx.execute(query).scalar_one_or_none()
    return None if entry is None else _manifest_in(entry)


def _manifest_in(entry: bytes) -> Manifest:
    return manifest_of(Notice.from_bytes(entry).statement)
