"""The tables of what is sealed, against the entries of the published tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from headcount_ledger import schema, sealed
from headcount_ledger.fsck.finding import Findings
from headcount_ledger.head import Head
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import MalformedError, NotFoundError, ProtocolError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.notice import Notice, author, manifest_of
from headcount_spec.pledge import Pledge
from headcount_spec.quotas import option_id
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tile import TILE_WIDTH, Fetch, TileReader
from headcount_spec.totals import decode_totals, totals_path

Placed = tuple[int, LeafHash, Entry]  # leaf index, leaf hash, entry


class RowCheck:
    """Walks once through the entries; holds one bundle, the scopes and the batches' sizes in memory."""

    def __init__(self, tx: Connection, head: Head, day: int, findings: Findings) -> None:
        self._tx = tx
        self._head = head
        self._day = day
        self._findings = findings
        self.ends: list[int] = []  # size after each batch
        self.is_whole = True  # every entry could be read, so that numbers can be compared
        self._manifests: dict[ScopeId, Manifest] = {}
        self._closed_in: dict[ScopeId, int] = {}
        self._pledges = self._revised = self._notices = 0

    def compare(self, fetch: Fetch) -> int:
        """Compare everything; how many entries could be read."""
        entries = 0
        for block in self._blocks(fetch):
            entries += len(block)
            self._take_pledges([place for place in block if isinstance(place[2], Pledge)])
            self._take_revisions([place for place in block if isinstance(place[2], Revision)])
            self._take_notices([place for place in block if isinstance(place[2], Notice)])
        if self.is_whole:
            self._check_numbers()
            self._check_scopes(fetch)
        return entries

    def _blocks(self, fetch: Fetch) -> Iterator[list[Placed]]:
        """The entries that are what the tree says; the others are the audit's to name."""
        reader = TileReader(fetch, self._head.size)
        for number in range(-(-self._head.size // TILE_WIDTH)):
            block: list[Placed] = []
            first = number * TILE_WIDTH
            try:
                entries = reader.bundle(number)
                hashes = reader.tile(0, number)
                for place, data in enumerate(entries):
                    hash = leaf_hash(data)
                    if hash != hashes[32 * place : 32 * place + 32]:
                        self.is_whole = False
                        continue
                    entry = parse_entry(data)
                    if isinstance(entry, Seal):
                        self.ends.append(first + place + 1)
                    block.append((first + place, hash, entry))
            except (MalformedError, NotFoundError):
                self.is_whole = False
            yield block

    def _rows(self, table: Table, column: str, values: Sequence[Any]) -> dict[Any, Row[Any]]:
        rows = self._tx.execute(select(table).where(table.c[column].in_(values))) if values else ()
        return {getattr(row, column): row for row in rows}

    def _take_pledges(self, placed: list[Placed]) -> None:
        pledges = [(index, hash, entry) for index, hash, entry in placed if isinstance(entry, Pledge)]
        nullifiers = [pledge.nullifier for _, _, pledge in pledges]
        rows = self._rows(schema.spent, "nullifier", nullifiers)
        self._pledges += len(pledges)
        for (index, hash, pledge), nullifier in zip(pledges, nullifiers, strict=True):
            row = rows.get(nullifier)
            if row is None:
                self._findings.add(
                    "wrong-spent", f"entry {index}", "the pledge is not in it: it could count twice"
                )
                continue
            if (row.scope, row.leaf_hash, row.revision_key) != (pledge.scope_id, hash, pledge.revision_key):
                self._findings.add("wrong-spent", f"entry {index}", "the row is another pledge's")
            if row.serial == 0 and (row.choice, row.revision_hash) != (pledge.choice, None):
                self._findings.add(
                    "wrong-spent", f"entry {index}", "its choice was changed without a revision"
                )

    def _take_revisions(self, placed: list[Placed]) -> None:
        revisions = [(index, hash, entry) for index, hash, entry in placed if isinstance(entry, Revision)]
        rows = self._rows(schema.spent, "nullifier", [revision.nullifier for _, _, revision in revisions])
        for index, hash, revision in revisions:
            row = rows.get(revision.nullifier)
            if row is None or row.serial < revision.serial:
                self._findings.add("wrong-spent", f"entry {index}", "the revision is not in it")
            elif row.serial == revision.serial:
                self._revised += 1
                if (row.choice, row.revision_hash) != (revision.choice, hash):
                    self._findings.add("wrong-spent", f"entry {index}", "the row is not the last revision's")

    def _take_notices(self, placed: list[Placed]) -> None:
        notices = [(index, hash, entry) for index, hash, entry in placed if isinstance(entry, Notice)]
        rows = self._rows(schema.notices, "leaf_index", [index for index, _, _ in notices])
        self._notices += len(notices)
        for index, hash, notice in notices:
            statement = notice.statement
            if statement.type == "manifest":
                self._manifests.setdefault(statement.scope, manifest_of(statement))
            if statement.type == "closing":
                self._closed_in[statement.scope] = len([end for end in self.ends if end <= index])
            row = rows.get(index)
            said = (statement.scope, self._author(notice), statement.seq, statement.type, hash)
            if row is None or (row.scope, row.author, row.seq, row.type, row.leaf_hash) != said:
                self._findings.add("wrong-notice", f"entry {index}")

    def _author(self, notice: Notice) -> str | None:
        """Who speaks; the terms may stand behind the notice in its batch, so they are the stored ones."""
        try:
            manifest = sealed.manifest(self._tx, notice.statement.scope)
            return None if manifest is None else author(notice, manifest)
        except ProtocolError:
            return None

    def _check_numbers(self) -> None:
        spent = schema.spent
        expected = (
            ("wrong-spent", spent, None, self._pledges, "published pledges"),
            ("wrong-spent", spent, spent.c.serial != 0, self._revised, "last revisions"),
            ("wrong-notice", schema.notices, None, self._notices, "published notices"),
            ("wrong-scope", schema.scopes, None, len(self._manifests), "published manifests"),
        )
        for code, table, condition, number, what in expected:
            query = select(func.count()).select_from(table)
            found = self._tx.execute(query if condition is None else query.where(condition)).scalar_one()
            if found != number:
                self._findings.add(code, table.name, f"{found} rows for {number} {what}")

    def _check_options(self, totals: dict[ScopeId, tuple[int, int]]) -> None:
        """The rows of options against the published ones, which the audit compares with the entries."""
        published = {
            (scope, option): live
            for scope, manifest in self._manifests.items()
            for option, live in _options(manifest, totals).items()
            if live
        }
        stored = sealed.options(self._tx)
        for scope, option in sorted(published.keys() | stored.keys()):
            if published.get((scope, option)) != stored.get((scope, option)):
                place = f"scope {scope.hex()}"
                self._findings.add(
                    "wrong-scope", place, f"its count at option {option} is not the published one"
                )

    def _check_scopes(self, fetch: Fetch) -> None:
        totals: dict[ScopeId, tuple[int, int]] = {}
        if self._head.batches:
            try:
                totals = decode_totals(fetch(totals_path(self._head.batches - 1)))
            except (MalformedError, NotFoundError):
                return  # the audit names it
        self._check_options(totals)
        for row in self._tx.execute(select(schema.scopes)):
            manifest = self._manifests.get(row.scope)
            place = f"scope {bytes(row.scope).hex()}"
            if manifest is None or manifest.raw != row.manifest:
                self._findings.add("wrong-scope", place, "its terms are not those that were published")
                continue
            if totals.get(row.scope, (0, 0)) != (row.gross, row.live):
                self._findings.add("wrong-scope", place, "its counts are not the published ones")
            closed_in = self._closed_in.get(manifest.scope_id)
            if row.closed_in != closed_in or (row.is_open and closed_in is not None):
                self._findings.add("wrong-scope", place, "it is not closed as its closing notice says")
            elif not row.is_open and closed_in is None:
                is_due = self._day > manifest.closes or self._head.day > manifest.closes
                detail = "" if is_due else "before its closing day"
                self._findings.add("planned-closing" if is_due else "wrong-scope", place, detail)


def _options(manifest: Manifest, totals: dict[ScopeId, tuple[int, int]]) -> dict[int, int]:
    if manifest.quotas is None:
        return {}
    rows = ((option.number, option_id(manifest.scope_id, option.number)) for option in manifest.options)
    return {option: totals.get(row, (0, 0))[1] for option, row in rows}
