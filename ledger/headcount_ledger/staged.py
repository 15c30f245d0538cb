"""What is accepted: staged for the next batches, or spent.

Each decision is one statement whose row count is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    exists,
    insert,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import sqlite

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


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """A notice that stands in its author's sequence, sealed or staged."""

    seq: int
    leaf_hash: LeafHash


def stage_pledge(tx: Connection, pledge: Pledge, nullifier: Nullifier, leaf_hash: LeafHash) -> bool:
    """Stage a pledge of an open scope unless its nullifier stands: this decides that it counts once."""
    columns: Mapping[str, Any] = {
        "nullifier": nullifier,
        "scope": pledge.scope_id,
        "leaf_hash": leaf_hash,
        "revision_key": pledge.revision_key,
        "choice": pledge.choice,
        "entry": pledge.to_bytes(),
    }
    may = select(*_literals(staged_pledges, columns)).where(
        exists().where(scopes.c.scope == pledge.scope_id, scopes.c.is_open),
        ~exists().where(spent.c.nullifier == nullifier),
    )
    return _stage(tx, staged_pledges, columns, may)


def stage_revision(tx: Connection, revision: Revision, leaf_hash: LeafHash) -> bool:
    """Stage a revision if it is the next of an accepted pledge of an open scope and none is staged."""
    columns: Mapping[str, Any] = {
        "nullifier": revision.nullifier,
        "scope": revision.scope_id,
        "leaf_hash": leaf_hash,
        "choice": revision.choice,
        "serial": revision.serial,
        "entry": revision.to_bytes(),
    }
    before = revision.serial - 1
    stands: ColumnElement[bool] = exists().where(
        spent.c.nullifier == revision.nullifier, spent.c.serial == before
    )
    if before == 0:
        stands = or_(stands, exists().where(staged_pledges.c.nullifier == revision.nullifier))
    may = select(*_literals(staged_revisions, columns)).where(
        exists().where(scopes.c.scope == revision.scope_id, scopes.c.is_open), stands
    )
    return _stage(tx, staged_revisions, columns, may)


def _stage(tx: Connection, table: Table, columns: Mapping[str, Any], may: Select[*tuple[Any, ...]]) -> bool:
    statement = sqlite.insert(table).from_select(list(columns), may).on_conflict_do_nothing()
    return tx.execute(statement).rowcount == 1


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
    if row is not None:
        serial, revision_hash = row.serial, row.revision_hash
    else:
        query = select(staged_pledges).where(staged_pledges.c.nullifier == nullifier)
        row = tx.execute(query).one_or_none()
        if row is None:
            return None
        serial, revision_hash = 0, None
    if revised is not None:
        serial, revision_hash = revised.serial, revised.leaf_hash
    return StoredPledge(ScopeId(row.scope), LeafHash(row.leaf_hash), row.revision_key, serial, revision_hash)


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


def _literals(table: Table, columns: Mapping[str, Any]) -> list[Any]:
    return [literal(value, table.c[name].type) for name, value in columns.items()]
