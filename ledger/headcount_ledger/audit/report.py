"""What an audit found: the counts, the faults, and whom the number still trusts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headcount_ledger.audit.fault import Fault
from headcount_ledger.audit.receipt import ReceiptState
from headcount_ledger.audit.scopes import Issuance, Reached, ScopeRecount
from headcount_spec.quotas import enough_at
from headcount_spec.scope import ScopeId
from headcount_spec.terms import Continues, Quotas
from headcount_spec.text import format_day


@dataclass(frozen=True, slots=True)
class Part:
    """What one scope of a chain of successors adds to the total."""

    scope_id: ScopeId
    seal: int | None  # batch from which the next one continues; None for the last: all so far
    live: int

    def to_json(self) -> dict[str, Any]:
        """The members of a report."""
        return {"scope": self.scope_id.hex(), "seal": self.seal, "count": self.live}


@dataclass(frozen=True, slots=True)
class ScopeCount:
    """The count of one scope at the last seal."""

    scope_id: ScopeId
    kind: str
    parent: ScopeId | None
    title: str
    level: str  # what was proven of each person; levels are never added together
    gross: int  # valid pledges
    withdrawn: int
    choices: Mapping[int, int]  # option → live pledges; empty without options
    threshold: int
    reached: Reached | None
    opens: int  # day
    closes: int
    closed: bool  # its closing batch is there
    min_batch: int  # fewest pledges of a batch before the closing one
    closed_in: int | None  # number of the closing batch
    issuers: tuple[str, ...]  # all of them must sign
    continues: Continues | None = None
    quotas: Quotas | None = None
    parts: tuple[Part, ...] = ()  # of the total, the oldest first; empty unless it continues another

    @classmethod
    def of(cls, scope: ScopeRecount) -> ScopeCount:
        """What the recount has come to."""
        manifest = scope.manifest
        choices = {option.number: scope.choices[option.number] for option in manifest.options}
        return cls(
            scope_id=manifest.scope_id,
            kind=manifest.kind,
            parent=manifest.parent,
            title=manifest.title_text,
            level=manifest.level,
            gross=scope.gross,
            withdrawn=scope.withdrawn,
            choices=choices,
            threshold=manifest.threshold,
            reached=scope.reached,
            opens=manifest.opens,
            closes=manifest.closes,
            closed=scope.closed_in is not None,
            min_batch=manifest.min_batch,
            closed_in=scope.closed_in,
            issuers=tuple(scope.issuer_names()),
            continues=manifest.continues,
            quotas=manifest.quotas,
        )

    @property
    def live(self) -> int:
        """The count."""
        return self.gross - self.withdrawn

    @property
    def total(self) -> int:
        """The count with what the scope continues. Protocol, Section 4.8."""
        return sum(part.live for part in self.parts) if self.parts else self.live

    def to_json(self) -> dict[str, Any]:
        """The members of a report."""
        reached = self.reached
        total = {"total": self.total, "parts": [part.to_json() for part in self.parts]}
        return {
            "count": self.live,
            "withdrawn": self.withdrawn,
            "gross": self.gross,
            "level": self.level,
            "title": self.title,
            "kind": self.kind,
            "parent": self.parent.hex() if self.parent else None,
            "choices": {str(choice): number for choice, number in sorted(self.choices.items())},
            "threshold": self.threshold,
            **self._quotas(),
            "reached": {"batch": reached.batch, "day": format_day(reached.day)} if reached else None,
            "opens": format_day(self.opens),
            "closes": format_day(self.closes),
            "closed": self.closed,
            **(total if self.parts else {}),
        }

    def _quotas(self) -> dict[str, Any]:
        if self.quotas is None:
            return {}
        each, options = self.quotas.each, self.quotas.options
        enough = enough_at(self.quotas, self.choices)
        return {"quotas": {"each": each, "options": options, "enough": enough}}


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch: what an auditor's tables and plots need of it."""

    number: int
    first: int  # index of its first entry
    size: int  # of the tree with it
    day: int
    pledges: Mapping[ScopeId, int]  # valid ones of this batch; scopes without any are left out
    live: Mapping[ScopeId, int]  # live pledges at its seal; scopes that it does not change are left out
    root: bytes  # of the tree with it


def write_row(row: BatchRow) -> list[Any]:
    """A row as JSON."""
    pledges = {scope.hex(): number for scope, number in row.pledges.items()}
    live = {scope.hex(): number for scope, number in row.live.items()}
    return [row.number, row.first, row.size, row.day, pledges, live, row.root.hex()]


def read_row(value: Sequence[Any]) -> BatchRow:
    """What write_row has written."""
    number, first, size, day, pledges, live, root = value
    counted, alive = (
        {ScopeId(bytes.fromhex(scope)): count for scope, count in counts.items()}
        for counts in (pledges, live)
    )
    return BatchRow(number, first, size, day, counted, alive, bytes.fromhex(root))


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The verdict on a ledger at one checkpoint."""

    origin: str
    size: int  # entries
    root: bytes
    batches: int
    faults: tuple[Fault, ...]
    faults_omitted: int  # beyond fault.MAX_PER_CODE of one code
    scopes: Mapping[ScopeId, ScopeCount]
    trusts: tuple[str, ...]  # sentences
    receipts: tuple[ReceiptState, ...]
    cosigners: tuple[str, ...]  # witnesses of the checkpoint, by the policy's names
    checkpoint: bytes  # as published, for the next audit to compare with
    batch_rows: tuple[BatchRow, ...] = ()  # in the order of the log
    issuances: Mapping[ScopeId, Mapping[str, tuple[Issuance, ...]]] = field(default_factory=dict)  # by issuer
    unchecked: tuple[str, ...] = ()  # sentences: what the caller has told the audit to leave out

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "ok": self.ok,
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "batches": self.batches,
            "cosigners": list(self.cosigners),
            "faults": [fault.to_json() for fault in self.faults],
            "faults_omitted": self.faults_omitted,
            "scopes": {scope.hex(): count.to_json() for scope, count in sorted(self.scopes.items())},
            "receipts": [state.to_json() for state in self.receipts],
            "trusts": list(self.trusts),
            "unchecked": list(self.unchecked),
        }


def with_totals(scopes: Mapping[ScopeId, ScopeCount], rows: Sequence[BatchRow]) -> dict[ScopeId, ScopeCount]:
    """The same counts, those that continue others with the parts of their total. Protocol, Section 4.8."""
    return {
        scope_id: count if count.continues is None else replace(count, parts=_parts(count, scopes, rows))
        for scope_id, count in scopes.items()
    }


def _parts(
    count: ScopeCount, scopes: Mapping[ScopeId, ScopeCount], rows: Sequence[BatchRow]
) -> tuple[Part, ...]:
    parts = [Part(count.scope_id, None, count.live)]
    seen = {count.scope_id}
    continues = count.continues
    while continues is not None and continues.scope not in seen:
        scope_id = ScopeId(continues.scope)
        seen.add(scope_id)
        live = 0
        for row in rows:
            if row.number > continues.seal:
                break
            live = row.live.get(scope_id, live)
        parts.append(Part(scope_id, continues.seal, live))
        before = scopes.get(scope_id)
        continues = None if before is None else before.continues
    return tuple(reversed(parts))
