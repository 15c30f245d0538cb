"""The ledger's database: the head, the spent nullifiers, what is staged for the next batches.

Each security decision is one statement whose row count is checked. Transactions that write take
the lock when they begin, so a look and a write in one of them are one step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from headcount_ledger import schema
from headcount_ledger.schema import (
    STAGED,
    head,
    notices,
    scopes,
    spent,
    staged_notices,
    staged_pledges,
    staged_revisions,
)
from headcount_spec.errors import CorruptionError, UnavailableError
from headcount_spec.merkle import LeafHash, RootHash
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import ScopeId
from headcount_spec.seal import GENESIS

# SQLite's result codes after which the transaction is rolled back and nothing is wrong with the file.
_CERTAINLY_UNDONE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_CANTOPEN")


@dataclass(frozen=True, slots=True)
class Head:
    """The ledger after its last committed batch."""

    key: str  # vkey
    batches: int  # sealed so far
    size: int  # entries
    root: RootHash
    pledges: int
    day: int  # of the last seal
    seal: bytes  # leaf hash of the last seal, zeros before any
    chain: bytes  # over every leaf
    checkpoint: bytes  # signed by the ledger, no cosignatures
    published: bytes | None  # SHA-256 of the published checkpoint, None while its publication is pending

    @property
    def prev_root(self) -> bytes:
        """What the next seal says of the tree before its batch: the root, zeros before any batch."""
        return self.root if self.batches else GENESIS


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


@dataclass(frozen=True, slots=True)
class PlacedNotice:
    """A notice of the batch that is being committed."""

    scope: ScopeId
    author: str
    seq: int
    type: str
    leaf_hash: LeafHash
    leaf_index: int


class Store:
    """The tables of one ledger. Methods take the transaction in which they run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{schema.WRITES: True})
        # on_conflict_do_nothing exists only on the dialects' own insert.
        self._is_postgresql = engine.dialect.name == "postgresql"

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
            raise UnavailableError("the ledger's database does not answer") from exc

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
                raise UnavailableError(f"the ledger's database cannot store it now ({name})") from exc
            if name.startswith("SQLITE_CONSTRAINT"):
                raise CorruptionError("a row stands already that must not") from exc
            raise SystemExit(f"it is not known whether a transaction was committed ({name})") from exc

    def truncate_log(self) -> bool:
        """Wipe deleted rows from the write-ahead log; False if a reader is in the way."""
        return schema.truncate_log(self._engine)

    # The head

    def head(self, tx: Connection) -> Head:
        """The one row."""
        row = tx.execute(select(head)).one()
        return Head(
            row.key,
            row.batches,
            row.size,
            RootHash(row.root),
            row.pledges,
            row.day,
            row.seal,
            row.chain,
            row.checkpoint,
            row.published,
        )

    def insert_head(self, tx: Connection, first: Head) -> None:
        """The row of a new ledger."""
        tx.execute(insert(head).values(id=1, **_fields(first)))

    def swap_head(self, tx: Connection, old: Head, new: Head) -> bool:
        """Replace the head if it is still the old one; False if it is not."""
        unchanged = and_(
            head.c.batches == old.batches,
            head.c.size == old.size,
            head.c.root == old.root,
            head.c.published.is_not(None),
        )
        return tx.execute(update(head).where(unchanged).values(**_fields(new))).rowcount == 1

    def mark_published(self, tx: Connection, batches: int, digest: bytes) -> bool:
        """Note what was published; False if the head is another by now."""
        done = update(head).where(head.c.batches == batches).values(published=digest)
        return tx.execute(done).rowcount == 1

    # Scopes and notices

    def manifests(self, tx: Connection) -> dict[ScopeId, bytes]:
        """Manifests of all sealed scopes."""
        return {
            ScopeId(row.scope): row.manifest for row in tx.execute(select(scopes.c.scope, scopes.c.manifest))
        }

    def manifest(self, tx: Connection, scope: ScopeId) -> bytes | None:
        """The manifest of a sealed scope."""
        return tx.execute(select(scopes.c.manifest).where(scopes.c.scope == scope)).scalar_one_or_none()

    def staged_manifests(self, tx: Connection) -> list[bytes]:
        """The notices, still to be sealed, that carry a manifest."""
        query = select(staged_notices.c.entry).where(staged_notices.c.type == "manifest")
        return list(tx.execute(query).scalars())

    def staged_manifest(self, tx: Connection, scope: ScopeId) -> bytes | None:
        """The notice with this scope's manifest, still to be sealed."""
        query = select(staged_notices.c.entry).where(
            staged_notices.c.scope == scope, staged_notices.c.type == "manifest"
        )
        return tx.execute(query).scalar_one_or_none()

    def openings(self, tx: Connection, scope: ScopeId) -> int:
        """How many issuers' openings are sealed."""
        query = select(func.count(notices.c.author.distinct())).where(
            notices.c.scope == scope, notices.c.type == "opening"
        )
        return int(tx.execute(query).scalar_one())

    def find_notice(self, tx: Connection, scope: ScopeId, author: str, seq: int) -> LeafHash | None:
        """The notice at this place of its author's sequence, sealed or staged."""
        queries = [
            select(table.c.leaf_hash).where(
                table.c.scope == scope, table.c.author == author, table.c.seq == seq
            )
            for table in (notices, staged_notices)
        ]
        found = tx.execute(union_all(*queries)).scalar()
        return None if found is None else LeafHash(found)

    def last_notice(self, tx: Connection, scope: ScopeId, author: str) -> StoredNotice | None:
        """The last of an author's notices in a scope, sealed or staged."""
        queries = [
            select(table.c.seq, table.c.leaf_hash).where(table.c.scope == scope, table.c.author == author)
            for table in (notices, staged_notices)
        ]
        both = union_all(*queries).subquery()
        row = tx.execute(select(both).order_by(both.c.seq.desc()).limit(1)).one_or_none()
        return None if row is None else StoredNotice(row.seq, LeafHash(row.leaf_hash))

    def notice_indices(self, tx: Connection, scope: ScopeId) -> list[int]:
        """Leaf indices of a scope's sealed notices, ascending."""
        query = select(notices.c.leaf_index).where(notices.c.scope == scope).order_by(notices.c.leaf_index)
        return list(tx.execute(query).scalars())

    def totals(self, tx: Connection) -> dict[ScopeId, tuple[int, int]]:
        """(gross, live) of every sealed scope at the last seal."""
        query = select(scopes.c.scope, scopes.c.gross, scopes.c.live)
        return {ScopeId(row.scope): (row.gross, row.live) for row in tx.execute(query)}

    # Acceptance

    def stage_pledge(self, tx: Connection, pledge: Pledge, nullifier: Nullifier, leaf_hash: LeafHash) -> bool:
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
        return self._stage(tx, staged_pledges, columns, may)

    def stage_revision(self, tx: Connection, revision: Revision, leaf_hash: LeafHash) -> bool:
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
        return self._stage(tx, staged_revisions, columns, may)

    def _stage(self, tx: Connection, table: Table, columns: Mapping[str, Any], may: Select[Any]) -> bool:
        if self._is_postgresql:
            statement = postgresql.insert(table).from_select(list(columns), may).on_conflict_do_nothing()
            return tx.execute(statement).rowcount == 1
        return (
            tx.execute(sqlite.insert(table).from_select(list(columns), may).on_conflict_do_nothing()).rowcount
            == 1
        )

    def stage_notice(
        self,
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

    def find_pledge(self, tx: Connection, nullifier: Nullifier) -> StoredPledge | None:
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
        return StoredPledge(
            ScopeId(row.scope), LeafHash(row.leaf_hash), row.revision_key, serial, revision_hash
        )

    # Planning a batch

    def open_scopes(self, tx: Connection) -> list[ScopeId]:
        """Scopes that still accept."""
        return [
            ScopeId(scope) for scope in tx.execute(select(scopes.c.scope).where(scopes.c.is_open)).scalars()
        ]

    def stop_accepting(self, tx: Connection, closing: Sequence[ScopeId]) -> None:
        """From here on nothing more is staged for these scopes."""
        tx.execute(update(scopes).where(scopes.c.scope.in_(closing)).values(is_open=False))

    def closing_scopes(self, tx: Connection) -> list[ScopeId]:
        """Scopes that accept no more and whose closing batch is not sealed, ascending."""
        query = select(scopes.c.scope).where(~scopes.c.is_open, scopes.c.closed_in.is_(None))
        return [ScopeId(scope) for scope in tx.execute(query.order_by(scopes.c.scope)).scalars()]

    def waiting(self, tx: Connection) -> dict[ScopeId, int]:
        """How many pledges wait in each scope."""
        query = select(staged_pledges.c.scope, func.count()).group_by(staged_pledges.c.scope)
        return {ScopeId(scope): number for scope, number in tx.execute(query)}

    def plan(self, tx: Connection, batch: int, joining: Sequence[ScopeId]) -> tuple[int, int, int]:
        """Mark what the batch takes: pledges of the joining scopes, revisions of what is in, all notices.

        The numbers of pledges, revisions and notices. Marks of a batch that never was are wiped.
        """
        for table in STAGED:
            tx.execute(update(table).where(table.c.batch.is_not(None)).values(batch=None))
        tx.execute(update(staged_pledges).where(staged_pledges.c.scope.in_(joining)).values(batch=batch))
        tx.execute(
            update(staged_revisions)
            .where(
                or_(
                    exists().where(spent.c.nullifier == staged_revisions.c.nullifier),
                    exists().where(
                        staged_pledges.c.nullifier == staged_revisions.c.nullifier,
                        staged_pledges.c.batch == batch,
                    ),
                )
            )
            .values(batch=batch)
        )
        tx.execute(update(staged_notices).values(batch=batch))
        pledges, revisions, others = (
            int(
                tx.execute(select(func.count()).select_from(table).where(table.c.batch == batch)).scalar_one()
            )
            for table in STAGED
        )
        return pledges, revisions, others

    def planned_pledges(self, tx: Connection, batch: int) -> Iterator[Row[Any]]:
        """(scope, leaf_hash, entry) in the order of the batch."""
        table = staged_pledges
        query = select(table.c.scope, table.c.leaf_hash, table.c.entry)
        return _stream(tx, query.where(table.c.batch == batch).order_by(table.c.nullifier))

    def planned_revisions(self, tx: Connection, batch: int) -> Iterator[Row[Any]]:
        """(scope, leaf_hash, choice, entry, before: the choice that stood) in the order of the batch."""
        table = staged_revisions
        before = func.coalesce(spent.c.choice, staged_pledges.c.choice).label("before")
        query = (
            select(table.c.scope, table.c.leaf_hash, table.c.choice, table.c.entry, before)
            .outerjoin(spent, spent.c.nullifier == table.c.nullifier)
            .outerjoin(staged_pledges, staged_pledges.c.nullifier == table.c.nullifier)
        )
        return _stream(tx, query.where(table.c.batch == batch).order_by(table.c.nullifier, table.c.serial))

    def planned_notices(self, tx: Connection, batch: int) -> list[Row[Any]]:
        """(scope, author, seq, type, leaf_hash, entry) in the order of the batch."""
        table = staged_notices
        query = select(table).where(table.c.batch == batch).order_by(table.c.leaf_hash)
        return list(tx.execute(query))

    # Committing a batch

    def spend(self, tx: Connection, batch: int) -> tuple[int, int]:
        """Move the batch's pledges into the spent set, sorted, and apply its revisions; how many of each."""
        moved = select(
            staged_pledges.c.nullifier,
            staged_pledges.c.scope,
            staged_pledges.c.leaf_hash,
            staged_pledges.c.revision_key,
            staged_pledges.c.choice,
            literal(0),
            null(),
        ).where(staged_pledges.c.batch == batch)
        columns = [spent.c.nullifier, spent.c.scope, spent.c.leaf_hash, spent.c.revision_key]
        columns += [spent.c.choice, spent.c.serial, spent.c.revision_hash]
        pledges = tx.execute(
            insert(spent).from_select(columns, moved.order_by(staged_pledges.c.nullifier))
        ).rowcount
        revised = (
            update(spent)
            .where(spent.c.nullifier == staged_revisions.c.nullifier, staged_revisions.c.batch == batch)
            .values(
                choice=staged_revisions.c.choice,
                serial=staged_revisions.c.serial,
                revision_hash=staged_revisions.c.leaf_hash,
            )
        )
        return pledges, tx.execute(revised).rowcount

    def add_scope(self, tx: Connection, scope: ScopeId, manifest: bytes) -> None:
        """A scope whose manifest is sealed."""
        tx.execute(insert(scopes).values(scope=scope, manifest=manifest, gross=0, live=0, is_open=True))

    def add_notices(self, tx: Connection, placed: Sequence[PlacedNotice]) -> None:
        """Notices that are sealed."""
        if placed:
            rows = [{name: getattr(notice, name) for name in PlacedNotice.__slots__} for notice in placed]
            tx.execute(insert(notices), rows)

    def set_totals(self, tx: Connection, totals: Mapping[ScopeId, tuple[int, int]]) -> None:
        """The counts of these scopes at the new seal."""
        if totals:
            statement = update(scopes).where(scopes.c.scope == bindparam("b_scope"))
            rows = [
                {"b_scope": scope, "gross": gross, "live": live} for scope, (gross, live) in totals.items()
            ]
            tx.execute(statement, rows)

    def close_scopes(self, tx: Connection, closed: Sequence[ScopeId], batch: int) -> None:
        """The closing notices of these scopes are in the batch."""
        tx.execute(update(scopes).where(scopes.c.scope.in_(closed)).values(closed_in=batch))

    def unstage(self, tx: Connection, batch: int) -> None:
        """Forget what the batch has taken."""
        for table in STAGED:
            tx.execute(delete(table).where(table.c.batch == batch))

    def rewrite_staged(self, tx: Connection) -> None:
        """Write the pledges and revisions that remain again, sorted: their places told when they came."""
        for table in (staged_pledges, staged_revisions):
            rows = [dict(row._mapping) for row in tx.execute(select(table).order_by(table.c.nullifier))]
            tx.execute(delete(table))
            if rows:
                tx.execute(insert(table), rows)


def _fields(value: Head) -> dict[str, Any]:
    return {name: getattr(value, name) for name in Head.__slots__}


def _literals(table: Table, columns: Mapping[str, Any]) -> list[Any]:
    return [literal(value, table.c[name].type) for name, value in columns.items()]


def _stream(tx: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    return iter(tx.execute(query.execution_options(yield_per=1000)))
