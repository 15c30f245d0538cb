"""The verdict of an audit in sentences: the count with what it counts, whom it trusts, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from headcount.quota_words import standing
from headcount_ledger.audit import AuditReport, Fault, ReceiptState, ScopeCount
from headcount_ledger.audit.sample import NOT_CHECKED, SampleReport
from headcount_spec.level import Level
from headcount_spec.scope import ScopeId
from headcount_spec.text import format_day

# What was proven of each person, never "people" for less.
_LEVELS = {
    "email": ("confirmed e-mail address", "confirmed e-mail addresses"),
    "oidc": ("account at an identity provider", "accounts at identity providers"),
    "in-person": ("code handed out in person", "codes handed out in person"),
    "device": ("device with a passkey", "devices with a passkey"),
    "eid": ("electronic identity", "electronic identities"),
}


def count_words(count: int, level: str) -> str:
    """A count with its level: "50 confirmed e-mail addresses"."""
    demanded = Level.from_text(level)
    parts = demanded.parts
    if not all(part in _LEVELS for part in parts):
        return f"{count} pledges at level {level}"
    if demanded.is_choice:
        kinds = ", ".join(_LEVELS[part][0] for part in parts)
        return f"{count} pledges, each with {demanded.needed} of: {kinds}"
    return f"{count} " + ", each with a ".join(
        [_LEVELS[parts[0]][count != 1], *(_LEVELS[part][0] for part in parts[1:])]
    )


def lines(report: AuditReport, *, only: ScopeId | None = None, quiet: bool = False) -> Iterator[str]:
    """The lines of the readable verdict: of one scope only, or only what is wrong and the last line."""
    for fault in report.faults:
        yield fault_line(fault)
    if report.faults_omitted:
        yield f"and {report.faults_omitted} more faults of the same kinds"
    if not quiet:
        yield from _counts(report, only)
    if report.ok and only is not None and only not in report.scopes:
        yield f"NOT PROVEN: the ledger has no scope {only.hex()}"
    elif not report.ok:
        number = len(report.faults) + report.faults_omitted
        yield f"NOT PROVEN: {number} {'fault' if number == 1 else 'faults'}"
    elif report.unchecked:
        yield "consistent as far as it was checked: nothing is wrong in what was recounted"
    else:
        yield "consistent: everything that the ledger has published was recounted, and nothing is wrong"


def _counts(report: AuditReport, only: ScopeId | None) -> Iterator[str]:
    if report.faults and report.scopes:
        yield "what could be counted all the same, and is not proven:"
    for scope in report.scopes.values():
        if only in (None, scope.scope_id):
            yield from _scope_lines(scope)
    if only is not None and only not in report.scopes:
        yield f"the ledger has no scope {only.hex()}"
    for receipt in report.receipts:
        yield _receipt_line(receipt)
    if report.origin:
        yield f"{report.origin}: {report.size} entries in {report.batches} batches, root {report.root.hex()}"
    if report.unchecked:
        yield "what was not checked:"
        for sentence in report.unchecked:
            yield f"  - {sentence}"
    if report.ok:
        yield "whom the numbers still trust:"
        for sentence in report.trusts:
            yield f"  - {sentence}"


def sample_lines(report: SampleReport) -> Iterator[str]:
    """The lines of the verdict on a sample."""
    for fault in report.faults:
        yield fault_line(fault)
    for scope_id, (gross, live) in sorted(report.said.items()):
        yield f"scope {scope_id.hex()}: the ledger says {live} live of {gross} pledges"
    if report.origin:
        drawn = f"{report.entries} of {report.size} entries drawn"
        yield f"{report.origin}: {drawn}, {report.pledges} of them pledges"
    if report.ok and report.pledges:
        yield f"if {report.bad_fraction:.3%} of the pledges were bad, one would have been drawn with 99 %"
    yield "what was not checked:"
    for sentence in NOT_CHECKED:
        yield f"  - {sentence}"
    if report.ok:
        yield "nothing wrong in the sample: a recount alone can say that the number is true"
    else:
        number = len(report.faults)
        yield f"NOT PROVEN: {number} {'fault' if number == 1 else 'faults'}"


def fault_line(fault: Fault) -> str:
    """One fault: its code, its place, what it means, and the detail."""
    places = [
        f"{name} {value}"
        for name, value in (("batch", fault.batch), ("entry", fault.index), ("byte", fault.offset))
        if value is not None
    ]
    place = f" ({', '.join(places)})" if places else ""
    return f"fault: {fault.code}{place}: {fault.sentence}: {fault.detail}"


def _receipt_line(receipt: ReceiptState) -> str:
    if receipt.index is not None and receipt.state == "included":
        return f"{receipt.name}: included as entry {receipt.index}"
    if receipt.state == "promised" and receipt.deadline is not None:
        return f"{receipt.name}: not published yet, promised by {format_day(receipt.deadline)}"
    return f"{receipt.name}: {receipt.state}"


def _scope_lines(scope: ScopeCount) -> Iterator[str]:
    yield f"{scope.title}: {count_words(scope.total, scope.level)}"
    for part in scope.parts:
        where = "here" if part.seal is None else f"in {part.scope_id.hex()[:16]}… up to batch {part.seal}"
        yield f"  {part.live} {where}"
    if scope.withdrawn:
        yield f"  {scope.gross} pledged, {scope.withdrawn} withdrawn"
    for choice, number in scope.choices.items():
        yield f"  option {choice}: {number}"
    if scope.kind == "contact":
        yield "  sealed contacts; what opens them is the count of their campaign"
    elif scope.reached is not None:
        day = format_day(scope.reached.day)
        met = "and the quotas were" if scope.quotas is not None else "was"
        yield f"  the threshold of {scope.threshold} {met} reached at batch {scope.reached.batch}, {day}"
    elif scope.quotas is not None and scope.live >= scope.threshold:
        yield f"  the threshold of {scope.threshold} alone is not enough: the quotas were not met"
    else:
        yield f"  the threshold of {scope.threshold} was not reached"
    if scope.quotas is not None:
        yield f"  {standing(scope.quotas, scope.choices)}"
    if scope.closed:
        yield f"  closed since {format_day(scope.closes)}"
    yield f"  scope {scope.scope_id.hex()}"
