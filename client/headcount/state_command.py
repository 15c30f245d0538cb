"""``headcount scope state``: audit a ledger and say in which state a campaign is."""

from __future__ import annotations

import time
from pathlib import Path

import click

from headcount import assurance, private_file, quota_words
from headcount.audit_memory import AuditMemory
from headcount.contact_audit import pinned
from headcount.currency import said_since
from headcount.scope_commands import scope
from headcount.scope_view import find_scope
from headcount.terminal import FILE, LEDGER, POLICY, SCOPE, progress, read_policy, say
from headcount_ledger.audit import audit
from headcount_ledger.reader.fetch import cached, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import MalformedError, NotFoundError, ProofError
from headcount_spec.scope import ScopeId
from headcount_spec.text import format_day, parse_day


def _day(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_day(value)
    except MalformedError as exc:
        raise click.BadParameter("a day is YYYY-MM-DD") from exc


@scope.command()
@LEDGER
@SCOPE
@POLICY
@click.option("--state", "memory", type=FILE, help="Remembers the last good checkpoint of the ledger.")
@click.option("--since", callback=_day, metavar="DAY", help="Say how many have said so since this day.")
@click.option("--calendar", type=FILE, help="Write the action date as an iCalendar file.")
def state(
    ledger: str,
    scope_id: ScopeId,
    policy: Path,
    memory: Path | None,
    since: int | None,
    calendar: Path | None,
) -> None:
    """Audit LEDGER and say how the campaign SCOPE stands: open, reached, failed, action or closed."""
    trusted = read_policy(policy)
    kept = AuditMemory(memory, trusted) if memory else None
    with HttpTransport() as transport, progress("recounting") as bar:
        fetch = pinned(cached(open_fetch(ledger, transport)))
        report = audit(fetch, trusted, remembered=kept.remembered() if kept else (), progress=bar)
        if kept is not None:
            kept.take(report)
        if not report.ok:
            raise ProofError(f"the ledger does not pass the audit: {report.faults[0].code}")
        view = open_ledger(fetch, trusted)
        manifest = find_scope(view, scope_id, need_openings=False).manifest
        lately = None if since is None else said_since(view, scope_id, since)
    counted = report.scopes.get(scope_id)
    if counted is None:
        raise NotFoundError("the ledger has no scope with this id")
    found = assurance.assess(manifest, counted, int(time.time()))
    language = manifest.language
    say(f"{manifest.title_text}: {found.state}")
    say(f"  {found.live} of {found.threshold} at level {manifest.level}")
    if found.quotas is not None:
        say(f"  {quota_words.standing(found.quotas, found.options)}")
        for option in manifest.options:
            mark = ", enough" if option.number in found.enough else ""
            say(f"    {found.options[option.number]}{mark}: {option.label[language]}")
    if counted.withdrawn:
        say(f"  {counted.gross} pledged, {counted.withdrawn} withdrawn")
    if since is not None:
        say(f"  {lately} of them have said so since {format_day(since)}")
    if found.reached_on is not None:
        say(f"  reached on {format_day(found.reached_on)}; that stays, whoever withdraws")
    else:
        where = " at the options that are short" if found.live >= found.threshold else ""
        say(f"  {found.missing} more{where} until {format_day(found.deadline)}")
    for tier in found.tiers:
        say(f"  {tier.count}: {tier.effect[language]}")
    if found.next_tier is not None:
        say(f"  next, at {found.next_tier.count}: {found.next_tier.effect[language]}")
    if manifest.action is not None and found.days_left is not None:
        when = f"{format_day(manifest.action.date)} ({manifest.action.time_zone})"
        say(f"  {found.days_left} days to {when}: {manifest.action.what[language]}")
    if calendar is not None:
        private_file.write(calendar, assurance.calendar(manifest))
        calendar.chmod(0o644)  # it is for everybody
