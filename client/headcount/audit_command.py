"""``headcount audit``: recounts a published ledger and says whether its number is true."""

from __future__ import annotations

import json
from pathlib import Path

import click

from headcount import audit_receipts, audit_verdict, terminal
from headcount.audit_state import AuditState
from headcount_ledger.audit import audit
from headcount_ledger.reader.fetch import cached, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.policy import Policy


@click.command(name="audit", short_help="Recount a ledger from its published files.")
@click.argument("target", callback=terminal.ledger)
@terminal.POLICY
@click.option(
    "--state",
    type=terminal.FILE,
    help="Remembers the last good checkpoint; catches a ledger that goes back or splits.",
)
@click.option(
    "--receipt",
    "receipts",
    multiple=True,
    type=terminal.FILE,
    help="A .tlog-proof or pledge file whose entry must be there; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def audit_command(
    ctx: click.Context,
    target: str,
    policy: Path,
    state: Path | None,
    receipts: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Recount the ledger at TARGET, an address or a folder with its published files.

    Says the count with what it counts, whom it still trusts, and everything that is wrong, with its
    place. Exits with 1 if anything is wrong.
    """
    trusted = Policy.from_bytes(terminal.read_policy(policy))
    memory = AuditState(state, trusted) if state else None
    held = [receipt for path in receipts for receipt in audit_receipts.load(path)]
    with HttpTransport() as transport, terminal.progress("recounting") as bar:
        report = audit(
            cached(open_fetch(target, transport)),
            trusted,
            remembered=memory.remembered() if memory else (),
            receipts=held,
            progress=bar,
        )
    if as_json:
        terminal.say(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        for line in audit_verdict.lines(report):
            terminal.say(line)
    evidence = memory.take(report) if memory else None
    if evidence is not None:
        terminal.hint(f"the evidence is in {evidence.name}; show it to others before you go on")
    if not report.ok:
        ctx.exit(1)
