"""What an audit has recounted as a SQLite database, for Datasette and everybody's own questions.

Entries are read once more and written as they come; whether they are those that were audited is decided by
the root to which they lead. Days are dates, scopes are numbered, hashes are hex.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headcount import output_file
from headcount.audit_tables import TABLES, VIEWS
from headcount.course import by_day, course
from headcount.report_file import tool_version
from headcount_ledger.audit import AuditReport
from headcount_ledger.reader.view import Progress
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotFoundError,
    ProofError,
    UnknownKeyError,
)
from headcount_spec.merkle import CompactRange, leaf_hash
from headcount_spec.notice import Notice, author, manifest_of
from headcount_spec.pledge import Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import WITHDRAWN, Manifest, ScopeId
from headcount_spec.text import format_day
from headcount_spec.tile import TILE_WIDTH, Fetch, TileReader

if TYPE_CHECKING:
    from sqlite_utils import Database

_ROWS = 10_000  # written at once
_PLEDGE = "INSERT INTO pledges VALUES (?, ?, ?, ?, ?, ?, 0, ?)"
_REVISION = "INSERT INTO revisions VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?)"
_NOTICE = "INSERT INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def write_database(report: AuditReport, fetch: Fetch, path: Path, progress: Progress | None = None) -> None:
    """Write the database of an audit whose entries fetch reads; an existing file is replaced.

    Raises:
        ConfigurationError: sqlite-utils is not installed, or the file cannot be written.
        ProofError: a sound ledger now shows other entries than those that were audited.
    """
    try:
        from sqlite_utils import Database
    except ModuleNotFoundError as exc:
        raise ConfigurationError("a database needs sqlite-utils: pip install 'headcount[audit]'") from exc
    with output_file.replacing(path) as temporary:
        database = Database(temporary)
        try:
            database.conn.execute("PRAGMA synchronous = OFF")  # a half-written file never gets its name
            _Writer(database, report).write(fetch, progress)
        finally:
            database.close()


class _Writer:
    def __init__(self, database: Database, report: AuditReport) -> None:
        self.database = database
        self.report = report
        self.scopes = {scope: number for number, scope in enumerate(report.scopes, 1)}
        self.manifests: dict[ScopeId, Manifest] = {}
        self.unnamed: list[tuple[int, Notice]] = []  # notices that stand before their manifest
        self.faults = {
            fault.index: fault.code for fault in reversed(report.faults) if fault.index is not None
        }

    def write(self, fetch: Fetch, progress: Progress | None) -> None:
        self._create()
        self._write_summary()
        with self.database.conn:
            self._write_entries(fetch, progress)
        with self.database.conn:
            self._settle()
        for name, sql in VIEWS.items():
            self.database.create_view(name, sql)
        self.database.conn.execute("ANALYZE")

    def _create(self) -> None:
        for name, (columns, key, references) in TABLES.items():
            self.database.create_table(name, columns, pk=key, foreign_keys=references)

    def _write_summary(self) -> None:
        report = self.report
        self.database.table("ledger").insert(
            {
                "origin": report.origin,
                "size": report.size,
                "root": report.root.hex(),
                "batches": report.batches,
                "ok": int(report.ok),
                "cosigners": ", ".join(report.cosigners),
                "checkpoint": report.checkpoint.decode("utf-8", "replace"),
                "tool": f"headcount {tool_version()}",
            }
        )
        for scope_id, number in self.scopes.items():
            self._write_scope(scope_id, number)
        self.database.table("batches").insert_all(
            {
                "number": row.number,
                "day": format_day(row.day),
                "first": row.first,
                "size": row.size,
                "entries": row.size - row.first,
                "pledges": sum(row.pledges.values()),
                "root": row.root.hex(),
            }
            for row in report.batch_rows
        )
        self.database.table("faults").insert_all(
            {
                "id": number,
                "code": fault.code,
                "meaning": fault.sentence,
                "detail": fault.detail,
                "batch": fault.batch,
                "entry": fault.index,
                "offset": fault.offset,
            }
            for number, fault in enumerate(report.faults, 1)
        )

    def _write_scope(self, scope_id: ScopeId, number: int) -> None:
        count = self.report.scopes[scope_id]
        self.database.table("scopes").insert(
            {
                "id": number,
                "scope_id": scope_id.hex(),
                "title": count.title,
                "kind": count.kind,
                "parent": self.scopes.get(count.parent) if count.parent else None,
                "level": count.level,
                "live": count.live,
                "gross": count.gross,
                "withdrawn": count.withdrawn,
                "threshold": count.threshold,
                "quota_each": count.quotas.each if count.quotas else None,
                "quota_options": count.quotas.options if count.quotas else None,
                "reached": format_day(count.reached.day) if count.reached else None,
                "reached_batch": count.reached.batch if count.reached else None,
                "opens": format_day(count.opens),
                "closes": format_day(count.closes),
                "closed_batch": count.closed_in,
                "min_batch": count.min_batch,
                "manifest": None,
            }
        )
        points = list(course(self.report, scope_id))
        self.database.table("counts_by_batch").insert_all(
            {"scope": number, "batch": p.batch, "pledges": p.pledges, "gross": p.gross, "live": p.live}
            for p in points
        )
        self.database.table("counts_by_day").insert_all(
            {
                "scope": number,
                "day": format_day(p.day),
                "pledges": p.pledges,
                "gross": p.gross,
                "live": p.live,
            }
            for p in by_day(iter(points))
        )
        gross = {p.batch: p.gross for p in points}
        for issuer, said in self.report.issuances.get(scope_id, {}).items():
            for item in said:
                self.database.table("issuances").insert(
                    {
                        "scope": number,
                        "issuer": issuer,
                        "day": format_day(item.day),
                        "batch": item.batch,
                        "issued": item.issued,
                        # Judged by it are the pledges up to the seal before.
                        "pledged": max((g for batch, g in gross.items() if batch < item.batch), default=0),
                    }
                )

    def _write_entries(self, fetch: Fetch, progress: Progress | None) -> None:
        rows = self._rows(fetch, progress)
        execute = self.database.conn.executemany
        while chunk := list(islice(rows, _ROWS)):
            for statement in (_PLEDGE, _REVISION, _NOTICE):
                execute(statement, (row for kind, row in chunk if kind == statement))

    def _rows(self, fetch: Fetch, progress: Progress | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
        report, tree = self.report, CompactRange()
        batches = iter(report.batch_rows)
        batch = next(batches, None)
        for index, data in self._entries(fetch, progress):
            tree.append(leaf_hash(data))
            while batch is not None and index >= batch.size:
                batch = next(batches, None)
            try:
                entry = parse_entry(data)
            except MalformedError:
                continue  # it is among the faults
            row = self._row(index, None if batch is None else batch.number, entry)
            if row is not None:
                yield row
        if report.ok and tree.root() != report.root:
            raise ProofError("the ledger shows other entries than those that were audited")

    def _entries(self, fetch: Fetch, progress: Progress | None) -> Iterator[tuple[int, bytes]]:
        size = self.report.size
        reader = TileReader(fetch, size)
        for number in range(-(-size // TILE_WIDTH)):
            try:
                entries = reader.bundle(number)
            except (MalformedError, NotFoundError) as exc:
                if self.report.ok:
                    raise ProofError(f"what was audited cannot be read any more: {exc}") from exc
                continue  # it is among the faults
            yield from enumerate(entries, number * TILE_WIDTH)
            if progress is not None:
                progress(min((number + 1) * TILE_WIDTH, size), size)

    def _row(self, index: int, batch: int | None, entry: Entry) -> tuple[str, tuple[Any, ...]] | None:
        fault = self.faults.get(index)
        if isinstance(entry, Pledge):
            scope = self.scopes.get(entry.scope_id)
            return _PLEDGE, (index, batch, scope, entry.nullifier.hex(), entry.choice, entry.choice, fault)
        if isinstance(entry, Revision):
            scope = self.scopes.get(entry.scope_id)
            withdraws = int(entry.choice == WITHDRAWN)
            choice = None if withdraws else entry.choice
            return _REVISION, (
                index,
                batch,
                scope,
                entry.nullifier.hex(),
                entry.serial,
                choice,
                withdraws,
                fault,
            )
        if isinstance(entry, Notice):
            said = entry.statement
            if said.type == "manifest":
                self.manifests.setdefault(said.scope, manifest_of(said))
            body = json.dumps(said.body, ensure_ascii=False, sort_keys=True)
            if said.scope not in self.manifests:
                self.unnamed.append((index, entry))
            who = self._author(entry)
            return _NOTICE, (index, batch, self.scopes.get(said.scope), who, said.seq, said.type, body, fault)
        return None

    def _author(self, notice: Notice) -> str:
        """The author by name, as far as it is known."""
        manifest = self.manifests.get(notice.statement.scope)
        try:
            return author(notice, manifest) if manifest is not None else notice.statement.role
        except UnknownKeyError:
            return notice.statement.role

    def _settle(self) -> None:
        """What only shows once all entries are there: what became of the pledges, whose words they were."""
        database = self.database
        for scope_id, manifest in self.manifests.items():
            if scope_id in self.scopes:
                database.table("scopes").update(self.scopes[scope_id], {"manifest": manifest.raw.decode()})
        database.table("pledges").create_index(["nullifier"])
        database.table("pledges").create_index(["scope", "batch"])
        database.table("pledges").create_index(["batch"])
        database.conn.execute(
            "UPDATE revisions SET pledge = (SELECT p.entry FROM pledges p"
            " WHERE p.nullifier = revisions.nullifier AND p.scope = revisions.scope AND p.fault IS NULL)"
        )
        database.table("revisions").create_index(["pledge", "serial"])
        database.conn.execute(
            "UPDATE pledges SET (choice, withdrawn) = (SELECT r.choice, r.withdraws FROM revisions r"
            " WHERE r.pledge = pledges.entry AND r.fault IS NULL ORDER BY r.serial DESC LIMIT 1)"
            " WHERE entry IN (SELECT pledge FROM revisions WHERE fault IS NULL)"
        )
        database.conn.executemany(
            "UPDATE notices SET author = ? WHERE entry = ?",
            [(self._author(notice), index) for index, notice in self.unnamed],
        )
