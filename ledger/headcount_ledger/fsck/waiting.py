"""What waits for a batch: every staged entry is verified again, as when it was accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Row, Table, select

from headcount_engine.acceptance import ScopeVerifier
from headcount_ledger import schema, sealed, staged
from headcount_ledger.arrivals import PledgeRow
from headcount_ledger.fsck.finding import Findings
from headcount_ledger.head import Head
from headcount_spec.errors import CorruptionError, NotFoundError, ProtocolError
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice, author, manifest_of, verify_notice
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest, ScopeId


def check_waiting(tx: Connection, head: Head, findings: Findings) -> int:
    """Verify all staged rows; how many there are."""
    check = _Waiting(tx, head)
    number = 0
    tables: tuple[tuple[Table, Callable[[Row[object]], None]], ...] = (
        (schema.staged_notices, check.notice),
        (schema.staged_pledges, check.pledge),
        (schema.staged_revisions, check.revision),
    )
    for fault in check.plans():
        findings.add("wrong-staged", "scopes", fault)
    for table, verify in tables:
        query = select(table).order_by(*table.primary_key).execution_options(yield_per=1000)
        for place, row in enumerate(tx.execute(query)):
            number += 1
            try:
                check.row(row)
                verify(row)
            except ProtocolError as exc:
                findings.add("wrong-staged", f"{table.name}, row {place} by its key", str(exc))
    return number + _check_arrivals(tx, check, findings)


def _check_arrivals(tx: Connection, check: _Waiting, findings: Findings) -> int:
    number, place = 0, "arrivals"
    try:
        staged.check_arrivals(tx)
        for number, row in enumerate(staged.pledges_that_came(tx), 1):
            place = f"arrivals, pledge {number} by their groups"
            try:
                check.arrival(row)
            except ProtocolError as exc:
                findings.add("wrong-staged", place, str(exc))
    except CorruptionError as exc:
        findings.add("wrong-staged", place, str(exc))
    return number


class _Waiting:
    """Verifies single rows."""

    def __init__(self, tx: Connection, head: Head) -> None:
        self._tx = tx
        self._head = head
        self._verifiers: dict[ScopeId, ScopeVerifier] = {}
        rows = tx.execute(select(schema.scopes)).all()
        self._accepting = {row.scope for row in rows if row.closed_in is None}
        self._joining = {row.scope: row.joins for row in rows if row.joins is not None}

    def row(self, row: Row[object]) -> None:
        """What holds for every table."""
        self._hash(row.entry, row.leaf_hash)

    def _hash(self, entry: object, hash: object) -> None:
        if not isinstance(entry, bytes) or leaf_hash(entry) != hash:
            raise CorruptionError("the entry has another hash than the one it was accepted with")

    def plans(self) -> Iterator[str]:
        """What is wrong about the scopes that are planned for a batch: the next, or the one on its way."""
        on_its_way = self._head.batches - (self._head.published is None)
        for batch in self._joining.values():
            if batch not in (self._head.batches, on_its_way):
                yield "a scope is planned for a batch that is not the next"

    def _mark(self, row: Row[object]) -> None:
        if row.batch not in (None, self._head.batches):
            raise CorruptionError("it is marked for a batch that is not the next")

    def notice(self, row: Row[object]) -> None:
        """A notice: its place in its author's sequence, and its signatures."""
        self._mark(row)
        notice = Notice.from_bytes(row.entry)
        statement = notice.statement
        if (statement.scope, statement.seq, statement.type) != (row.scope, row.seq, row.type):
            raise CorruptionError("the row says something else than its entry")
        manifest = manifest_of(statement) if statement.type == "manifest" else self._terms(statement.scope)
        if author(notice, manifest) != row.author:
            raise CorruptionError("the row names another author than its entry")
        previous = None
        if statement.seq:
            previous = (statement.seq - 1, self._notice_before(row))
        verify_notice(notice, manifest, previous)

    def _notice_before(self, row: Row[object]) -> bytes:
        for table in (schema.notices, schema.staged_notices):
            found = self._tx.execute(
                select(table.c.leaf_hash).where(
                    table.c.scope == row.scope, table.c.author == row.author, table.c.seq == row.seq - 1
                )
            ).scalar_one_or_none()
            if found is not None:
                return bytes(found)
        raise NotFoundError("its author's notice before it is missing")

    def arrival(self, row: PledgeRow) -> None:
        """A pledge that is not yet in the staged table."""
        nullifier, _, hash, _, _, entry = row
        self._hash(entry, hash)
        pledge = Pledge.from_bytes(entry)
        if self._pledge(pledge) != nullifier:
            raise CorruptionError("the row says something else than its entry")
        if self._find(schema.staged_pledges, nullifier) is not None:
            raise CorruptionError("the pledge is in the staged table already")

    def _pledge(self, pledge: Pledge) -> Nullifier:
        """What holds of both: the authenticators, and that it is not spent."""
        nullifier = self._verifier(pledge.scope_id).verify_pledge(pledge)
        if self._find(schema.spent, nullifier) is not None:
            raise CorruptionError("the pledge is spent already")
        return nullifier

    def pledge(self, row: Row[object]) -> None:
        """A pledge of the staged table."""
        pledge = Pledge.from_bytes(row.entry)
        said = (self._pledge(pledge), pledge.scope_id, pledge.revision_key, pledge.choice)
        if said != (row.nullifier, row.scope, row.revision_key, row.choice):
            raise CorruptionError("the row says something else than its entry")
        if row.is_late and pledge.scope_id not in self._joining:
            raise CorruptionError("it came after its scope was planned for a batch, and none is planned")

    def revision(self, row: Row[object]) -> None:
        """A revision: its signature, and that it is the next one of its pledge."""
        self._mark(row)
        revision = Revision.from_bytes(row.entry)
        said = (revision.nullifier, revision.scope_id, revision.serial, revision.choice)
        if said != (row.nullifier, row.scope, row.serial, row.choice):
            raise CorruptionError("the row says something else than its entry")
        spent = self._find(schema.spent, revision.nullifier)
        stands = spent or staged.find_staged(self._tx, revision.nullifier)
        if stands is None or stands.scope != revision.scope_id:
            raise NotFoundError("its pledge is missing")
        serial = 0 if spent is None else spent.serial
        self._verifier(revision.scope_id).verify_revision(revision, stands.revision_key, serial)

    def _find(self, table: Table, nullifier: bytes) -> Row[object] | None:
        return self._tx.execute(select(table).where(table.c.nullifier == nullifier)).one_or_none()

    def _verifier(self, scope: ScopeId) -> ScopeVerifier:
        if scope not in self._accepting:
            raise CorruptionError("its scope is not open, so no batch will take it")
        if scope not in self._verifiers:
            self._verifiers[scope] = ScopeVerifier(self._terms(scope))
        return self._verifiers[scope]

    def _terms(self, scope: ScopeId) -> Manifest:
        manifest = sealed.manifest(self._tx, scope)
        if manifest is None:
            table = schema.staged_notices
            entry = self._tx.execute(
                select(table.c.entry).where(table.c.scope == scope, table.c.type == "manifest")
            ).scalar_one_or_none()
            if entry is None:
                raise NotFoundError("the terms of its scope are missing")
            manifest = manifest_of(Notice.from_bytes(entry).statement)
        return manifest
