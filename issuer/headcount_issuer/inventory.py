"""What an issuer holds, why, until when: from its real files and tables, and from the rules below.

Every kind of file and every table has a rule (holding); what has none is listed as unknown, and the command
fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, text

from headcount_issuer.closing import needed_until
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import own_terms
from headcount_issuer.holding import MEMORY, TABLES, Rule, rule_of_file
from headcount_issuer.keys import Keys
from headcount_issuer.schema import codes
from headcount_issuer.store import ScopeRow, Store
from headcount_spec.jcs import JSON
from headcount_spec.scope import ScopeId
from headcount_spec.text import format_day


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is held."""

    where: str  # a path below the issuer's folder, or "table <name>", or "security module"
    rule: Rule | None  # None: unknown
    records: int | None = None  # of a table
    until: str = ""  # the rule's, or the day that is known


@dataclass(frozen=True, slots=True)
class ScopeItems:
    """What is held of one scope."""

    scope: ScopeId
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that an issuer holds today."""

    issuer: str
    custody: str
    scopes: tuple[ScopeItems, ...]
    others: tuple[Item, ...]  # that belong to no scope

    def unknown(self) -> list[str]:
        """Where something lies that no rule speaks of."""
        return [item.where for item in self.items() if item.rule is None]

    def items(self) -> Iterator[Item]:
        """All of it."""
        yield from self.others
        for scope in self.scopes:
            yield from scope.items

    def to_json(self) -> dict[str, JSON]:
        """As one JSON object."""
        return {
            "issuer": self.issuer,
            "custody": self.custody,
            "held": [_item_json(item) for item in self.others],
            "scopes": [
                {
                    "scope": scope.scope.hex(),
                    "title": scope.title,
                    "held": [_item_json(item) for item in scope.items],
                }
                for scope in self.scopes
            ],
            "memory": [_rule_json(rule) for rule in MEMORY],
        }

    def lines(self) -> Iterator[str]:
        """As text."""
        yield f"issuer {self.issuer} holds, token keys in {self.custody}:"
        for item in self.others:
            yield from _item_lines(item)
        for scope in self.scopes:
            yield f"scope {scope.scope.hex()}  {scope.title}"
            if not scope.items:
                yield "  nothing that is not public"
            for item in scope.items:
                yield from _item_lines(item)
        yield "in memory only:"
        for rule in MEMORY:
            yield from _item_lines(Item("", rule, until=rule.until))


def take_inventory(config: IssuerConfig, store: Store, keys: Keys, today: int) -> Inventory:
    """Look into the folder and the database.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    rows = store.scopes()
    files = sorted(
        str(path.relative_to(config.directory)) for path in config.directory.rglob("*") if path.is_file()
    )
    named: set[str] = set()
    scopes = []
    for row in rows:
        items = tuple(_of_scope(config, store, keys, row, rows, today, files))
        named |= {item.where for item in items}
        scopes.append(ScopeItems(row.manifest.scope_id, " ".join(row.manifest.title_text.split()), items))
    others = [_file_item(path) for path in files if path not in named]
    others += list(_tables(store))
    return Inventory(config.name, keys.custody, tuple(scopes), tuple(others))


def _of_scope(
    config: IssuerConfig,
    store: Store,
    keys: Keys,
    row: ScopeRow,
    rows: list[ScopeRow],
    today: int,
    files: list[str],
) -> Iterator[Item]:
    manifest = row.manifest
    key_id = own_terms(manifest, config.name).token_key_id
    tags_until = needed_until(manifest, (other.manifest for other in rows))
    token_file, tag_file = f"keys/{key_id.hex()}.pem", f"keys/{manifest.scope_id.hex()}.tag"
    if token_file in files:
        yield Item(token_file, rule_of_file(token_file), until=_until(manifest.closes, today))
    if tag_file in files:
        until = _until(tags_until, today)
        yield Item(tag_file, rule_of_file(tag_file), until=until)
        number = store.count_tags(row.number)
        yield Item(f"table buckets, scope {row.number}", TABLES["buckets"], number, until)
        with store.reading() as connection:
            query = select(func.count()).select_from(codes).where(codes.c.number == row.number)
            sheet = int(connection.execute(query).scalar_one())
        if sheet:
            yield Item(f"table codes, scope {row.number}", TABLES["codes"], sheet, until)


def _tables(store: Store) -> Iterator[Item]:
    with store.reading() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"))
        for (name,) in names.all():
            count = connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()  # noqa: S608 - a name that SQLite gave
            rule = TABLES.get(name)
            yield Item(f"table {name}", rule, int(count), "" if rule is None else rule.until)


def _file_item(path: str) -> Item:
    rule = rule_of_file(path)
    return Item(path, rule, until="" if rule is None else rule.until)


def _until(day: int, today: int) -> str:
    if today <= day:
        return f"{format_day(day)}, then headcount issuer close"
    return f"now: it is needed no more since {format_day(day)}; run headcount issuer close"


def _item_lines(item: Item) -> Iterator[str]:
    rule = item.rule
    if rule is None:
        yield f"  {item.where}: UNKNOWN"
        return
    records = "" if item.records is None else f" ({item.records})"
    yield f"  {item.where}{records}: {rule.what}" if item.where else f"  {rule.what}"
    yield f"    why: {rule.why}"
    yield f"    until: {item.until or rule.until}"
    yield f"    tells: {rule.tells}"


def _rule_json(rule: Rule) -> dict[str, JSON]:
    return {"what": rule.what, "why": rule.why, "until": rule.until, "tells": rule.tells}


def _item_json(item: Item) -> dict[str, JSON]:
    value: dict[str, Any] = {"where": item.where, "known": item.rule is not None}
    if item.records is not None:
        value["records"] = item.records
    if item.rule is not None:
        value |= _rule_json(item.rule)
        value["until"] = item.until or item.rule.until
    return value
