"""What a batch takes from the staged tables: planned, read in its order, moved into the spent set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)

from headcount_ledger import postgresql, sqlite, staged
from headcount_ledger.schema import MARKED, scopes, spent, staged_notices, staged_pledges, staged_revisions
from headcount_spec.errors import CorruptionError
from headcount_spec.merkle import LeafHash
from headcount_spec.scope import ScopeId

_BLOCK = 1024  # rows that are read at once


def waiting(tx: Connection) -> dict[ScopeId, int]:
    """How many pledges wait in each scope."""
    query = select(staged_pledges.c.scope, func.count()).group_by(staged_pledges.c.scope)
    numbers = Counter({ScopeId(scope): number for scope, number in tx.execute(query)})
    numbers.update(scope for _, scope, *_ in staged.pledges_that_came(tx))
    return dict(numbers)


def check(tx: Connection, known: Collection[ScopeId], waiting: Collection[ScopeId]) -> None:
    """Refuse rows that no batch would ever take: of no sealed scope, or a revision of no pledge.

    known are the sealed scopes, waiting those of the staged pledges.

    Raises:
        CorruptionError: there is one; it was not accepted so.
    """
    revised = tx.execute(select(staged_revisions.c.scope).distinct()).scalars()
    if not {*waiting, *revised} <= set(known):
        raise CorruptionError("a staged row is of a scope that is not in the ledger")
    orphans = select(func.count()).where(
        ~exists().where(spent.c.nullifier == staged_revisions.c.nullifier),
        ~exists().where(staged_pledges.c.nullifier == staged_revisions.c.nullifier),
    )
    if tx.execute(orphans.select_from(staged_revisions)).scalar_one():
        raise CorruptionError("a staged revision is of a pledge that is not in the ledger")


def plan(tx: Connection, batch: int, joining: Sequence[ScopeId]) -> bool:
    """Mark what the batch takes: pledges of the joining scopes, revisions of what is in, all notices.

    Whether that is anything; pledges wait in every scope that joins. Marks of a batch that never was are
    wiped.
    """
    for table in MARKED:
        tx.execute(update(table).where(table.c.batch.is_not(None)).values(batch=None))
    _forget_plan(tx)
    tx.execute(update(scopes).where(scopes.c.scope.in_(joining)).values(joins=batch))
    revisions = tx.execute(
        update(staged_revisions)
        .where(
            or_(
                exists().where(spent.c.nullifier == staged_revisions.c.nullifier),
                exists().where(
                    staged_pledges.c.nullifier == staged_revisions.c.nullifier,
                    _is_taken(batch),
                ),
            )
        )
        .values(batch=batch)
    )
    notices = tx.execute(update(staged_notices).values(batch=batch))
    return bool(joining or revisions.rowcount or notices.rowcount)


def _forget_plan(tx: Connection) -> None:
    tx.execute(update(staged_pledges).where(staged_pledges.c.is_late).values(is_late=False))
    tx.execute(update(scopes).where(scopes.c.joins.is_not(None)).values(joins=None))


def _is_taken(batch: int) -> ColumnElement[bool]:
    """That the batch takes a staged pledge, for statements that read."""
    joined = select(scopes.c.scope).where(scopes.c.joins == batch)
    return and_(~staged_pledges.c.is_late, staged_pledges.c.scope.in_(joined))


def _is_one_of(tx: Connection, batch: int) -> ColumnElement[bool]:
    """The same for those that write: where a query stands in its condition, SQLite deletes in two passes."""
    joined = tx.execute(select(scopes.c.scope).where(scopes.c.joins == batch)).scalars().all()
    return and_(~staged_pledges.c.is_late, staged_pledges.c.scope.in_(joined))


def pledges(
    tx: Connection, batch: int
) -> Iterator[tuple[Sequence[ScopeId], Sequence[LeafHash], Sequence[bytes]]]:
    """Scopes, leaf hashes and entries of many pledges at a time, in the order of the batch."""
    table = staged_pledges
    query = select(table.c.scope, table.c.leaf_hash, table.c.entry)
    for rows in _blocks(tx, query.where(_is_taken(batch)).order_by(table.c.nullifier)):
        of_scopes, hashes, entries = zip(*rows, strict=True)
        yield of_scopes, hashes, entries


def spent_by(tx: Connection, batch: int) -> Iterator[tuple[Any, ...]]:
    """(nullifier, scope, choice, revision_key) that go into the spent set, in the order of the batch."""
    table = staged_pledges
    query = select(table.c.nullifier, table.c.scope, table.c.choice, table.c.revision_key)
    blocks = _blocks(tx, query.where(_is_taken(batch)).order_by(table.c.nullifier))
    return map(tuple, chain.from_iterable(blocks))


def revisions(tx: Connection, batch: int) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows in the order of the batch, with the choice and serial that stood: before, serial_before."""
    table = staged_revisions
    before = func.coalesce(spent.c.choice, staged_pledges.c.choice).label("before")
    query = (
        select(table, before, func.coalesce(spent.c.serial, 0).label("serial_before"))
        .outerjoin(spent, spent.c.nullifier == table.c.nullifier)
        .outerjoin(staged_pledges, staged_pledges.c.nullifier == table.c.nullifier)
    )
    return _stream(tx, query.where(table.c.batch == batch).order_by(table.c.nullifier, table.c.serial))


def notices(tx: Connection, batch: int) -> list[Row[*tuple[Any, ...]]]:
    """(scope, author, seq, type, leaf_hash, entry) in the order of the batch."""
    table = staged_notices
    query = select(table).where(table.c.batch == batch).order_by(table.c.leaf_hash)
    return list(tx.execute(query))


def spend(tx: Connection, batch: int) -> tuple[int, int]:
    """Move the batch's pledges into the spent set, sorted, and apply its revisions; how many of each."""
    moved = select(
        staged_pledges.c.nullifier,
        staged_pledges.c.scope,
        staged_pledges.c.leaf_hash,
        staged_pledges.c.revision_key,
        staged_pledges.c.choice,
        literal(0),
        null(),
    ).where(_is_one_of(tx, batch))
    columns = [spent.c.nullifier, spent.c.scope, spent.c.leaf_hash, spent.c.revision_key]
    columns += [spent.c.choice, spent.c.serial, spent.c.revision_hash]
    number = tx.execute(
        insert(spent).from_select(columns, moved.order_by(staged_pledges.c.nullifier))
    ).rowcount
    # Sorted too: PostgreSQL writes a changed row to a new place, in the order in which it meets them.
    last = (
        select(
            staged_revisions.c.nullifier,
            staged_revisions.c.choice,
            staged_revisions.c.serial,
            staged_revisions.c.leaf_hash,
        )
        .where(staged_revisions.c.batch == batch)
        .order_by(staged_revisions.c.nullifier)
        .subquery()
    )
    revised = (
        update(spent)
        .where(spent.c.nullifier == last.c.nullifier)
        .values(choice=last.c.choice, serial=last.c.serial, revision_hash=last.c.leaf_hash)
    )
    return number, tx.execute(revised).rowcount


def unstage(tx: Connection, batch: int) -> None:
    """Forget what the batch has taken."""
    tx.execute(delete(staged_pledges).where(_is_one_of(tx, batch)))
    for table in MARKED:
        tx.execute(delete(table).where(table.c.batch == batch))


def rewrite(tx: Connection) -> None:
    """Write the pledges and revisions that remain again, sorted: their places told when they came.

    So did which of them were late.
    """
    staged.settle(tx)
    _forget_plan(tx)
    (postgresql if tx.dialect.name == "postgresql" else sqlite).rewrite(tx)


def _blocks(tx: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[Sequence[Row[*tuple[Any, ...]]]]:
    """The rows of a query that has numbers only for parameters, as the driver gives them.

    SQLAlchemy would make bytes of bytes, value by value: half of what it costs to read a row.
    """
    text = str(query.compile(dialect=tx.dialect, compile_kwargs={"literal_binds": True}))
    return tx.exec_driver_sql(text, execution_options={"yield_per": _BLOCK}).partitions(_BLOCK)


def _stream(tx: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[Row[*tuple[Any, ...]]]:
    return iter(tx.execute(query.execution_options(yield_per=1000)))
