"""Scopes and notices that are sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from headcount_ledger.schema import notices, option_counts, scopes
from headcount_spec.errors import CorruptionError, MalformedError
from headcount_spec.merkle import LeafHash
from headcount_spec.scope import Manifest, ScopeId


@dataclass(frozen=True, slots=True)
class PlacedNotice:
    """A notice of the batch that is being committed."""

    scope: ScopeId
    author: str
    seq: int
    type: str
    leaf_hash: LeafHash
    leaf_index: int


@lru_cache(maxsize=1024)
def parse_manifest(raw: bytes) -> Manifest:
    """The manifest of bytes that were accepted; they are read on every tick."""
    return Manifest.from_bytes(raw)


def manifests(tx: Connection) -> dict[ScopeId, Manifest]:
    """Manifests of all sealed scopes."""
    rows = tx.execute(select(scopes.c.scope, scopes.c.manifest))
    return {ScopeId(row.scope): _terms(ScopeId(row.scope), row.manifest) for row in rows}


def manifest(tx: Connection, scope: ScopeId) -> Manifest | None:
    """The manifest of a sealed scope."""
    raw = tx.execute(select(scopes.c.manifest).where(scopes.c.scope == scope)).scalar_one_or_none()
    return None if raw is None else _terms(scope, raw)


def _terms(scope: ScopeId, raw: bytes) -> Manifest:
    """The manifest of a row.

    Raises:
        CorruptionError: the row holds other terms than those that the scope is named after.
    """
    try:
        manifest = parse_manifest(raw)
    except MalformedError as exc:
        raise CorruptionError("stored terms of a scope are damaged") from exc
    if manifest.scope_id != scope:
        raise CorruptionError("stored terms are not those of their scope")
    return manifest


def openings(tx: Connection, scope: ScopeId) -> int:
    """How many issuers' openings are sealed."""
    query = select(func.count(notices.c.author.distinct())).where(
        notices.c.scope == scope, notices.c.type == "opening"
    )
    return int(tx.execute(query).scalar_one())


def notice_indices(tx: Connection, scope: ScopeId) -> list[int]:
    """Leaf indices of a scope's sealed notices, ascending."""
    query = select(notices.c.leaf_index).where(notices.c.scope == scope).order_by(notices.c.leaf_index)
    return list(tx.execute(query).scalars())


def totals(tx: Connection) -> dict[ScopeId, tuple[int, int]]:
    """(gross, live) of every sealed scope at the last seal."""
    query = select(scopes.c.scope, scopes.c.gross, scopes.c.live)
    return {ScopeId(row.scope): (row.gross, row.live) for row in tx.execute(query)}


def options(tx: Connection) -> dict[tuple[ScopeId, int], int]:
    """(scope, option) → live pledges at the last seal, of the scopes with quotas."""
    return {(ScopeId(row.scope), row.choice): row.live for row in tx.execute(select(option_counts))}


def open_scopes(tx: Connection) -> list[ScopeId]:
    """Scopes that still accept."""
    return [ScopeId(scope) for scope in tx.execute(select(scopes.c.scope).where(scopes.c.is_open)).scalars()]


def stop_accepting(tx: Connection, closing: Sequence[ScopeId]) -> None:
    """From here on nothing more is staged for these scopes."""
    tx.execute(update(scopes).where(scopes.c.scope.in_(closing)).values(is_open=False))


def closing_scopes(tx: Connection) -> list[ScopeId]:
    """Scopes that accept no more and whose closing batch is not sealed, ascending."""
    query = select(scopes.c.scope).where(~scopes.c.is_open, scopes.c.closed_in.is_(None))
    return [ScopeId(scope) for scope in tx.execute(query.order_by(scopes.c.scope)).scalars()]


def add_scope(tx: Connection, scope: ScopeId, manifest: bytes) -> None:
    """A scope whose manifest is sealed."""
    tx.execute(insert(scopes).values(scope=scope, manifest=manifest, gross=0, live=0, is_open=True))


def add_notices(tx: Connection, placed: Sequence[PlacedNotice]) -> None:
    """Notices that are sealed."""
    if placed:
        tx.execute(insert(notices), [asdict(notice) for notice in placed])


def set_totals(tx: Connection, totals: Mapping[ScopeId, tuple[int, int]]) -> None:
    """The counts of these scopes at the new seal."""
    if totals:
        statement = update(scopes).where(scopes.c.scope == bindparam("b_scope"))
        rows = [{"b_scope": scope, "gross": gross, "live": live} for scope, (gross, live) in totals.items()]
        tx.execute(statement, rows)


def set_options(tx: Connection, counts: Mapping[tuple[ScopeId, int], int]) -> None:
    """Live pledges of these (scope, option) at the new seal."""
    if not counts:
        return
    table = option_counts
    statement = delete(table).where(
        table.c.scope == bindparam("b_scope"), table.c.choice == bindparam("b_choice")
    )
    tx.execute(statement, [{"b_scope": scope, "b_choice": choice} for scope, choice in counts])
    rows = [
        {"scope": scope, "choice": choice, "live": live} for (scope, choice), live in counts.items() if live
    ]
    if rows:
        tx.execute(insert(table), rows)


def close_scopes(tx: Connection, closed: Sequence[ScopeId], batch: int) -> None:
    """The closing notices of these scopes are in the batch."""
    tx.execute(update(scopes).where(scopes.c.scope.in_(closed)).values(closed_in=batch))
