"""The ledger operator's commands."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger, create
from headcount_ledger.mirror import mirror
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.errors import ConfigurationError, CorruptionError, MalformedError, UnavailableError
from headcount_spec.policy import Policy
from headcount_spec.text import day_of, format_day

_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_WITNESSES = click.option(
    "--witnesses",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="tlog-policy of the witnesses.  [default: DIR/witnesses, if it is there]",
)


@click.group()
def ledger() -> None:
    """Create and run a ledger."""


@ledger.command("create")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option(
    "--origin",
    required=True,
    metavar="NAME",
    help="Origin line of its checkpoints: its URL without https://.",
)
def create_command(directory: Path, origin: str) -> None:
    """Create an empty ledger in DIR, with a new key, and print its trust policy."""
    config = LedgerConfig(directory)
    create(config, origin)
    with Ledger.open(config) as opened:
        click.echo(opened.policy().to_bytes(), nl=False)


@ledger.command("policy")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option("--url", metavar="URL", help="Where the ledger is served, to stand in the policy.")
@_WITNESSES
def policy_command(directory: Path, url: str | None, witnesses: Path | None) -> None:
    """Print the trust policy (tlog-policy) with which clients read the ledger in DIR."""
    with Ledger.open(LedgerConfig(directory, witnesses=witnesses)) as opened:
        click.echo(opened.policy(url).to_bytes(), nl=False)


@ledger.command("seal")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@_WITNESSES
def seal_command(directory: Path, witnesses: Path | None) -> None:
    """Seal one batch of what may join one now."""
    with Ledger.open(LedgerConfig(directory, witnesses=witnesses)) as opened:
        batch = opened.seal(day_of(int(time.time())))
        if batch is None:
            click.echo("nothing to seal")
        else:
            click.echo(f"batch {batch.number}: {batch.pledges} pledges, {batch.size} entries in all")


@ledger.command("status")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
def status_command(directory: Path) -> None:
    """Say what the ledger in DIR holds."""
    with Ledger.open(LedgerConfig(directory)) as opened:
        head = opened.head()
        click.echo(f"origin {opened.origin}")
        click.echo(f"{head.batches} batches, {head.size} entries, {head.pledges} pledges")
        if head.batches:
            click.echo(f"last batch on {format_day(head.day)}")
        if head.published is None:
            click.echo("the last batch is committed and not published; the next seal finishes it")
        click.echo(f"{opened.waiting()} pledges wait")


@ledger.command("mirror")
@click.argument("url")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Whom to trust about the ledger (tlog-policy).",
)
@click.option(
    "--every", "every_s", metavar="SECONDS", type=click.IntRange(1), help="Go on, and look again so often."
)
def mirror_command(url: str, directory: Path, policy_file: Path, every_s: int | None) -> None:
    """Keep a verified copy of the ledger at URL in DIR.

    DIR can be served as it is, and every command that takes a ledger takes DIR. A run that was stopped
    goes on where it was; a ledger that goes back or shows another history is refused.
    """
    try:
        policy = Policy.from_bytes(policy_file.read_bytes())
    except (OSError, MalformedError) as exc:
        raise ConfigurationError(f"cannot read {policy_file.name}: {exc}") from exc
    while True:
        with HttpTransport() as transport:
            try:
                held = mirror(open_fetch(url, transport), policy, directory)
                origin, size = held.checkpoint.origin, held.checkpoint.size
                click.echo(f"mirrored: {origin}, {size} entries, {held.added} of them new")
            except UnavailableError as exc:
                if every_s is None:
                    raise
                click.echo(f"headcount: {exc}; trying again in {every_s} seconds", err=True)
        if every_s is None:
            return
        time.sleep(every_s)


@ledger.command("fsck")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def fsck_command(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Verify every stored byte of the ledger in DIR while no sequencer runs on it.

    One line a finding: errors are what must not be, notes only say what is there, such as the
    temporary files of a crash. Nothing is repaired. Exits with 5 if there is an error.
    """
    report = fsck(LedgerConfig(directory), day_of(int(time.time())))
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        for finding in report.findings:
            click.echo(finding.line)
        if report.omitted:
            click.echo(f"and {report.omitted} more of the same kinds")
        seen = f"{report.entries} entries in {report.batches} batches, {report.waiting} waiting"
        verdict = "sound" if report.ok else "NOT SOUND"
        click.echo(f"{verdict}: {seen}, {report.files} files")
    if not report.ok:
        ctx.exit(CorruptionError.exit_code)
