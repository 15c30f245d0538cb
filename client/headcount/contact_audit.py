"""The audit of a whole ledger for one contact scope: whether its campaign was reached, beyond doubt.

Trustees run it before they release anything, and organisers before they open anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headcount.audit_memory import AuditMemory
from headcount.contact_scope import ContactScope, find_contacts
from headcount.quota_words import standing
from headcount_ledger.audit import AuditReport, audit
from headcount_ledger.reader.fetch import cached, open_fetch
from headcount_ledger.reader.reached import seals
from headcount_ledger.reader.transport import Transport
from headcount_ledger.reader.view import LedgerView, Progress, open_ledger
from headcount_spec.errors import ProofError
from headcount_spec.policy import NO_QUORUM, Policy
from headcount_spec.scope import ScopeId
from headcount_spec.text import format_day
from headcount_spec.tile import Fetch


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found out about a scope by auditing its ledger."""

    scope: ContactScope
    report: AuditReport
    view: LedgerView
    is_over: bool  # the campaign can no longer be reached
    live: int  # the campaign's count now

    @property
    def is_witnessed(self) -> bool:
        """Whether the reader's policy demands witnesses."""
        return self.view.policy.quorum != NO_QUORUM

    @property
    def options(self) -> Mapping[int, int]:
        """Live pledges at each option of the campaign now; empty without options."""
        return self.report.scopes[self.scope.campaign.manifest.scope_id].choices

    @property
    def sentence(self) -> str:
        """How the campaign stands."""
        campaign = self.scope.campaign.manifest
        if self.scope.reached is not None:
            found = self.scope.reached.reached
            place = f"batch {found.batch}, {format_day(found.day)}"
            return f"reached: {found.live} of {campaign.threshold} at {place}"
        count, last = f"{self.live} of {campaign.threshold}", format_day(campaign.deadline_day)
        if campaign.quotas is not None:
            count += f", {standing(campaign.quotas, self.options)}"
        if self.is_over:
            return f"failed: {count}, and it has ended"
        return f"not reached: {count}, until {last}"


def check(
    state: Path,
    ledger: str,
    scope_id: ScopeId,
    *,
    policy: Policy,
    transport: Transport,
    progress: Progress | None = None,
) -> Checked:
    """Audit the ledger and say how the campaign of a contact scope stands.

    state is the file of what was seen before; evidence against the ledger is saved beside it.

    Raises:
        ProofError: the audit finds anything wrong.
        NotFoundError, UnknownKeyError: the scope is not there, or its campaign does not name it.
        UnavailableError: the ledger cannot be read now.
    """
    fetch = pinned(cached(open_fetch(ledger, transport)))
    memory = AuditMemory(state, policy)
    report = audit(fetch, policy, remembered=memory.remembered(), progress=progress)
    evidence = memory.take(report)
    if not report.ok:
        kept = f"; the evidence is in {evidence.name}" if evidence is not None else ""
        first = report.faults[0]
        raise ProofError(f"the ledger does not pass the audit: {first.code}{kept}")
    view = open_ledger(fetch, policy)
    scope = find_contacts(view, scope_id)
    campaign = scope.campaign.manifest
    counted = report.scopes.get(campaign.scope_id)
    if counted is None:
        raise ProofError("the audit has not counted the campaign")
    # Two ways to the same seal: the recount of every entry, and the sealed totals.
    audited = None if counted.reached is None else (counted.reached.batch, counted.reached.day)
    found = None if scope.reached is None else (scope.reached.reached.batch, scope.reached.reached.day)
    if audited != found:
        raise ProofError("the audit and the sealed totals differ about when the campaign was reached")
    newest = next(seals(view)).seal.day
    is_over = scope.reached is None and (counted.closed or newest > campaign.deadline_day)
    return Checked(scope, report, view, is_over, counted.live)


def pinned(fetch: Fetch) -> Fetch:
    """The audit and what is read after it are of one checkpoint, however the ledger grows meanwhile."""
    kept: list[bytes] = []

    def read(path: str) -> bytes:
        if path != "checkpoint":
            return fetch(path)
        if not kept:
            kept.append(fetch(path))
        return kept[0]

    return read
