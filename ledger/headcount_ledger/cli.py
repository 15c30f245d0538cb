"""The ledger operator's commands."""

from __future__ import annotations

import dataclasses
import json
import time
import tomllib
from pathlib import Path

import click

from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger, create
from headcount_ledger.migration import migrate
from headcount_ledger.mirror import mirror
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.errors import ConfigurationError, CorruptionError, MalformedError, UnavailableError
from headcount_spec.policy import Policy
from headcount_spec.text import day_of, format_day

_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_PLACE = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_WITNESSES = click.option(
    "--witnesses",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="tlog-policy of the witnesses.  [default: DIR/witnesses, if it is there]",
)


@click.group()
def ledger() -> None:
    """Create and run a ledger.

    DIR is its directory, or the node's TOML file where its database or its tree stands elsewhere.
    """


def read_config(place: Path, witnesses: Path | None = None) -> LedgerConfig:
    """The configuration of the ledger in a directory, or of the table [ledger] of a TOML file.

    A file of witnesses stands in for the one that is configured.

    Raises:
        ConfigurationError: the file cannot be read, or has no such table.
    """
    if not place.is_file():
        return LedgerConfig(place, witnesses=witnesses)
    try:
        tables = tomllib.loads(place.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigurationError(f"{place.name} is not TOML") from exc
    if not isinstance(tables.get("ledger"), dict):
        raise ConfigurationError(f"{place.name} has no table [ledger]")
    config = LedgerConfig.from_table(tables["ledger"], place.parent)
    return config if witnesses is None else dataclasses.replace(config, witnesses=witnesses)


@ledger.command("create")
@click.argument("directory", metavar="DIR", type=_PLACE)
@click.option(
    "--origin",
    required=True,
    metavar="NAME",
    help="Origin line of its checkpoints: its URL without https://.",
)
def create_command(directory: Path, origin: str) -> None:
    """Create an empty ledger in DIR, with a new key, and print its trust policy."""
    config = read_config(directory)
    create(config, origin)
    with Ledger.open(config) as opened:
        click.echo(opened.policy().to_bytes(), nl=False)


@ledger.command("policy")
@click.argument("directory", metavar="DIR", type=_PLACE)
@click.option("--url", metavar="URL", help="Where the ledger is served, to stand in the policy.")
@_WITNESSES
def policy_command(directory: Path, url: str | None, witnesses: Path | None) -> None:
    """Print the trust policy (tlog-policy) with which clients read the ledger in DIR."""
    with Ledger.open(read_config(directory, witnesses)) as opened:
        click.echo(opened.policy(url).to_bytes(), nl=False)


@ledger.command("seal")
@click.argument("directory", metavar="DIR", type=_PLACE)
@_WITNESSES
def seal_command(directory: Path, witnesses: Path | None) -> None:
    """Seal one batch of what may join one now."""
    with Ledger.open(read_config(directory, witnesses)) as opened:
        batch = opened.seal(day_of(int(time.time())))
        if batch is None:
            click.echo("nothing to seal")
        else:
            click.echo(f"batch {batch.number}: {batch.pledges} pledges, {batch.size} entries in all")


@ledger.command("status")
@click.argument("directory", metavar="DIR", type=_PLACE)
def status_command(directory: Path) -> None:
    """Say what the ledger in DIR holds."""
    with Ledger.open(read_config(directory)) as opened:
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

    DIR can be served as it is, and every command that takes a ledger takes DIR. Audit pages can read it
    where it is served with "Access-Control-Allow-Origin: *". A run that was stopped goes on where it was; a
    ledger that goes back or shows another history is refused.
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
@click.argument("directory", metavar="DIR", type=_PLACE)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def fsck_command(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Verify every stored byte of the ledger in DIR while no sequencer runs on it.

    One line a finding: errors are what must not be, notes only say what is there, such as the
    temporary files of a crash. Nothing is repaired. Exits with 5 if there is an error.
    """
    report = fsck(read_config(directory), day_of(int(time.time())))
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


@ledger.command("migrate")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to", "config", required=True, metavar="CONFIG", type=_FILE, help="TOML file of the new node."
)
def migrate_command(directory: Path, config: Path) -> None:
    """Move the ledger in DIR to the database and the bucket that CONFIG names.

    From the first moment on the ledger in DIR takes nothing more, and the new one takes nothing before
    all is copied and compared. When it is interrupted, run it again.
    """
    migrate(LedgerConfig(directory), read_config(config), click.echo)
