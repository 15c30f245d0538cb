"""One look at a ledger after another: what has come to be wrong, what has passed, and what to keep of it.

A look is an audit with the checkpoints that were seen before, and what only a clock tells: silence, promises
and notices that are overdue although no seal says so. On a ledger with a fault nothing is advanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from headcount.audit_receipts import of_pledge
from headcount.cosigner import Cosigner, check_extends
from headcount.finding import PAGE_SENTENCES, Event, Finding
from headcount.monitor_evidence import EvidenceFolder
from headcount.monitor_pages import PageWatch, campaigns
from headcount.monitor_state import LedgerState, Standing, StateFile
from headcount.pledge_file import PledgeFile
from headcount_ledger.audit import AuditReport, Receipt, audit
from headcount_ledger.audit.receipt import check_receipt
from headcount_ledger.reader.fetch import cached
from headcount_ledger.reader.view import Progress, open_ledger
from headcount_spec.checkpoint import SignedCheckpoint, parse_checkpoint
from headcount_spec.errors import MalformedError, NotFoundError, ProofError, ProtocolError, UnavailableError
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise
from headcount_spec.text import day_of, format_day
from headcount_spec.tile import Fetch

ISSUANCE_PATIENCE_DAYS = 7  # Protocol, Section 4.8
# What passes without anybody reading the entries again.
CLOCK_CODES = ("silent-ledger", "unreachable-ledger", "missing-issuance", "broken-promise")
MAX_FINDINGS = 1000  # of one look, attacks first: a hostile ledger must not fill the disk
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Holding:
    """What somebody holds of one pledge: its file, or a receipt alone."""

    receipts: tuple[Receipt, ...]
    content: PledgeFile | None = None

    @classmethod
    def of_pledge(cls, name: str, content: PledgeFile) -> Holding:
        """From a pledge file: with it a broken promise becomes an accusation."""
        return cls(tuple(of_pledge(name, content)), content)


@dataclass(frozen=True, slots=True)
class Looked:
    """The outcome of one look."""

    events: tuple[Event, ...]  # what has come and gone since the last
    standing: tuple[Finding, ...]  # all that is wrong now
    size: int  # entries at the last checkpoint that could be read
    cosigned: str = ""  # file of a new cosignature


@dataclass(frozen=True, slots=True)
class Monitor:
    """Follows one ledger."""

    target: str
    fetch: Fetch
    policy: Policy
    state_file: StateFile
    evidence: EvidenceFolder
    silent_after_h: float
    holdings: Sequence[Holding] = ()
    cosigner: Cosigner | None = None
    recount_after_s: float = 7 * 86400  # so long the state of an earlier audit is believed
    executor: Executor | None = None  # for the audits
    connections: int = 1  # at a time, to read the ledger
    patience: int = 1  # so many looks in a row that cannot read the ledger are a finding
    pages: PageWatch | None = None  # compares what the campaigns' sites serve
    tell: Callable[[Event], object] = lambda event: None  # before it is remembered that it was told

    def look(self, now: int, progress: Progress | None = None) -> Looked:
        """Look once; now is in seconds since 1970.

        Raises:
            ConfigurationError: a file of the monitor cannot be read or written.
        """
        state = self.state_file.load()
        try:
            raw = self.fetch("checkpoint")
        except (UnavailableError, NotFoundError) as exc:
            state = replace(state, failures=state.failures + 1)
            return self._settle(state, self._unreachable(state, exc), {}, now)
        state = replace(state, failures=0)
        if raw != state.seen:
            state = replace(state, seen=raw, changed=now)
        is_due = self._is_recount_due(state, now)
        is_known = self.pages is None or state.campaigns is not None
        if raw == state.checkpoint and not is_due and is_known:
            # Nothing new: what was recounted stands.
            state, cosigned = self._cosign(state, now)
            by_page, kept = self._by_page(state, now)
            return self._settle(state, [*self._by_clock(state, now), *by_page], kept, now, cosigned)
        pinned = cached(_pinned(self.fetch, raw))
        saved = self.state_file.audit_path(self.policy)
        if is_due:
            saved.unlink(missing_ok=True)  # the audit begins anew and saves its own
        report = self._audit(state, raw, pinned, saved, progress)
        findings = [Finding.of_fault(self.target, fault) for fault in report.faults]
        kept = self._keep(report, state, pinned)
        cosigned = ""
        if report.ok:
            promised = [item for item in report.receipts if item.state == "promised"]
            waiting = {item.name: item.deadline for item in promised if item.deadline is not None}
            unjudged = dict(_unjudged(report))
            state = replace(
                state,
                checkpoint=report.checkpoint,
                waiting=waiting,
                unjudged=unjudged,
                campaigns=campaigns(report),
            )
            if is_due:
                state = replace(state, recounted=now)
            state, cosigned = self._cosign(state, now)
        else:
            state = replace(state, waiting={}, unjudged={})
        findings += self._by_clock(state, now)
        by_page, kept_pages = self._by_page(state, now)
        return self._settle(state, [*findings, *by_page], {**kept, **kept_pages}, now, cosigned)

    def _is_recount_due(self, state: LedgerState, now: int) -> bool:
        """Whether every entry is to be read, although an audit has read them before.

        What was read once may be served otherwise today. And a fault in it must not pass because it is
        not looked at.
        """
        codes = (
            {item.finding.code for item in state.standing.values()} - set(CLOCK_CODES) - set(PAGE_SENTENCES)
        )
        return bool(codes) or now - state.recounted > self.recount_after_s

    def _audit(
        self, state: LedgerState, raw: bytes, fetch: Fetch, resume: Path, progress: Progress | None
    ) -> AuditReport:
        receipts = [item for holding in self.holdings for item in holding.receipts]
        return audit(
            fetch,
            self.policy,
            remembered=[parse_checkpoint(old).checkpoint for old in self._remembered(state, raw)],
            receipts=[item for item in receipts if _belongs(item, self.policy, raw)],
            progress=progress,
            executor=self.executor,
            connections=self.connections,
            resume=resume,
        )

    def _remembered(self, state: LedgerState, now: bytes) -> list[bytes]:
        """What the ledger must continue: what was seen here, and of the same log at other targets.

        Of these only what is not longer: a mirror that lags is no ledger that went back.
        """
        size = _size(now)
        others = [old.raw for old in self._elsewhere(now) if old.checkpoint.size <= size]
        return [raw for raw in dict.fromkeys((state.checkpoint, state.cosigned, *others)) if raw]

    def _elsewhere(self, now: bytes) -> list[SignedCheckpoint]:
        """Checkpoints of this log that were accepted at another target: two hosts may show two histories."""
        logs = Policy(logs=self.policy.logs)  # what the log's own key has signed binds it
        found = []
        for raw in self.state_file.elsewhere():
            try:
                signed = logs.verify_checkpoint(raw).signed
                if signed.checkpoint.origin == parse_checkpoint(now).checkpoint.origin:
                    found.append(signed)
            except ProtocolError:
                continue  # of another log
        return found

    def _keep(self, report: AuditReport, state: LedgerState, fetch: Fetch) -> dict[str, tuple[str, ...]]:
        """The evidence of each new fault, by the finding's key."""
        new = [
            fault for fault in report.faults if Finding.of_fault(self.target, fault).key not in state.standing
        ]
        if not new or not report.checkpoint:
            return {}
        remembered = self._remembered(state, report.checkpoint)
        both = self.evidence.of_contradiction(report, remembered, fetch)
        whole = self.evidence.of_report(report, self.policy)
        entries = self.evidence.of_entries(report, self.policy, fetch)
        promises = self._accuse(fetch) if any(fault.code == "broken-promise" for fault in new) else []
        kept = {}
        for fault in new:
            single = [] if fault.index is None else entries.get((fault.code, fault.index), [])
            more = {"forked-ledger": both, "rolled-back-ledger": both, "broken-promise": promises}
            kept[Finding.of_fault(self.target, fault).key] = (*more.get(fault.code, single), *whole)
        return kept

    def _accuse(self, fetch: Fetch) -> list[str]:
        """Accusations for all promises that the ledger's own seals show to be broken."""
        names = []
        try:
            view = open_ledger(fetch, self.policy)
        except ProtocolError:
            return []
        for holding in self.holdings:
            if holding.content is not None:
                for promise in _promises(holding):
                    names += self.evidence.of_promise(holding.content, promise, view)
        return names

    def _by_clock(self, state: LedgerState, now: int) -> Iterator[Finding]:
        """What is overdue although the files do not say so."""
        today = day_of(now)
        hours = (now - self._last_sign(state)) / _HOUR_S
        if hours > self.silent_after_h:
            mark = str(self._last_sign(state))
            yield Finding(self.target, "silent-ledger", f"for {hours:.0f} hours", mark=mark)
        for name, deadline in state.waiting.items():
            if today > deadline:
                yield Finding(
                    self.target,
                    "broken-promise",
                    f"the entry of {name} was promised by {format_day(deadline)}, and no later seal is there",
                    mark=name,
                )
        for who, since in state.unjudged.items():
            if today - since > ISSUANCE_PATIENCE_DAYS:
                yield Finding(
                    self.target,
                    "missing-issuance",
                    f"{who} has published no number since the pledges of {format_day(since)}",
                    mark=who,
                )

    def _by_page(self, state: LedgerState, now: int) -> tuple[list[Finding], Mapping[str, tuple[str, ...]]]:
        """What the sites of the open campaigns do not serve as stated in the last good checkpoint."""
        before = [item.finding for item in state.standing.values() if item.finding.code in PAGE_SENTENCES]
        if self.pages is None or not state.campaigns:
            return [], {}
        try:
            view = open_ledger(cached(_pinned(self.fetch, state.checkpoint)), self.policy)
            deviations = self.pages.look(view, self.target, state.campaigns, day_of(now))
        except ProtocolError:
            return before, {}  # the ledger is not there to compare with
        found, kept = [], {}
        for item in deviations:
            finding = Finding(self.target, item.code, f"{item.site}: {item.detail}", mark=item.mark)
            found.append(finding)
            if finding.key not in state.standing and item.served is not None:
                kept[finding.key] = tuple(self.evidence.of_page(item, state.checkpoint))
        return found, kept

    def _last_sign(self, state: LedgerState) -> int:
        """When the ledger was last known to live: its witnesses say it, or our own clock."""
        try:
            signed = parse_checkpoint(state.seen)
            times = [time for _, time in self.policy.verify_cosignatures(signed)]
        except ProtocolError:
            times = []
        return max(times) if times else state.changed

    def _unreachable(self, state: LedgerState, exc: ProtocolError) -> list[Finding]:
        standing = [item.finding for item in state.standing.values()]
        kept = [finding for finding in standing if finding.code != "unreachable-ledger"]
        if state.failures < self.patience:
            return kept
        return [*kept, Finding(self.target, "unreachable-ledger", str(exc), mark="unreachable")]

    def _cosign(self, state: LedgerState, now: int) -> tuple[LedgerState, str]:
        """Cosign the checkpoint that was just audited without a fault."""
        if self.cosigner is None:
            return state, ""
        signed = parse_checkpoint(state.checkpoint)
        if any(old.checkpoint.size > signed.checkpoint.size for old in self._elsewhere(state.checkpoint)):
            return state, ""  # this host lags behind another: a witness never goes back
        if state.cosigned:
            before = parse_checkpoint(state.cosigned)
            check_extends(before, signed)  # the audit has compared them; a key is not risked on that alone
            if before.checkpoint == signed.checkpoint and self.cosigner.is_published(signed):
                return state, ""
        state = replace(state, cosigned=state.checkpoint)
        self.state_file.save(state)  # before the cosignature leaves
        return state, str(self.cosigner.publish(signed, self.policy, now))

    def _settle(
        self,
        state: LedgerState,
        findings: Sequence[Finding],
        kept: Mapping[str, tuple[str, ...]],
        now: int,
        cosigned: str = "",
    ) -> Looked:
        current = {finding.key: finding for finding in findings[:MAX_FINDINGS]}
        events = [
            Event(finding, "new", now, kept.get(key, ()))
            for key, finding in current.items()
            if key not in state.standing
        ]
        events += [
            Event(item.finding, "resolved", now) for key, item in state.standing.items() if key not in current
        ]
        standing = {key: state.standing.get(key, Standing(finding, now)) for key, finding in current.items()}
        for event in events:
            self.tell(event)
        self.state_file.save(replace(state, standing=standing))
        return Looked(tuple(events), tuple(current.values()), _size(state.seen), cosigned)


def _belongs(receipt: Receipt, policy: Policy, raw: bytes) -> bool:
    """Whether a receipt is of the log with this checkpoint; a monitor's are of all that it follows."""
    try:
        check_receipt(receipt, parse_checkpoint(raw).checkpoint.origin, policy)
    except (MalformedError, ProofError):
        return False
    return True


def _pinned(fetch: Fetch, raw: bytes) -> Fetch:
    """The files under one checkpoint, whatever is published meanwhile."""
    return lambda path: raw if path == "checkpoint" else fetch(path)


def _promises(holding: Holding) -> Iterator[Promise]:
    return (item.promise for item in holding.receipts if item.promise is not None)


def _unjudged(report: AuditReport) -> Iterator[tuple[str, int]]:
    """For each issuer whose last number is older than some pledges, the day of the first of these."""
    for scope_id, scope in report.scopes.items():
        said = report.issuances.get(scope_id, {})
        for name in scope.issuers:
            # A notice judges the pledges up to the seal before its batch.
            last = max((item.batch for item in said.get(name, ())), default=-1)
            days = [row.day for row in report.batch_rows if row.number >= last and scope_id in row.pledges]
            if days:
                yield f"{name} ({scope.title})", min(days)


def _size(raw: bytes) -> int:
    try:
        return parse_checkpoint(raw).checkpoint.size
    except MalformedError:
        return 0
