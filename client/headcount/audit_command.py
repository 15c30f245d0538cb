"""``headcount audit``: recounts a published ledger and says whether its number is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from headcount import audit_receipts, audit_state, audit_verdict
from headcount.fetch import cached, open_fetch
from headcount.transport import HttpTransport
from headcount_ledger.audit import AuditReport, audit
from headcount_ledger.audit.engine import Progress as Report
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.policy import MAX_POLICY_BYTES, Policy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_CONTRADICTIONS = frozenset({"forked-ledger", "rolled-back-ledger"})


@click.command(name="audit")
@click.argument("target")
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(path_type=Path),
    help="Whom to trust: the ledger's key and the witnesses (tlog-policy).",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(path_type=Path),
    help="Remembers the last good checkpoint; finds a ledger that was rolled back or forked since.",
)
@click.option(
    "--receipt",
    "receipt_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A .tlog-proof or pledge file whose entry must be there. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def audit_command(
    target: str, policy_file: Path, state_file: Path | None, receipt_files: tuple[Path, ...], as_json: bool
) -> None:
    """Recount the ledger at TARGET, a web address or a folder with its published files.

    Exits with 1 if anything is wrong.
    """
    policy = read_policy(policy_file)
    remembered = audit_state.load(state_file, policy) if state_file else None
    receipts = [receipt for path in receipt_files for receipt in audit_receipts.load(path)]
    fetch = cached(open_fetch(target, HttpTransport()))
    with _progress() as progress:
        report = audit(fetch, policy, remembered=remembered, receipts=receipts, progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        for line in audit_verdict.lines(report):
            click.echo(line)
    if state_file:
        _remember(state_file, report)
    if not report.ok:
        raise SystemExit(1)


def read_policy(path: Path) -> Policy:
    """The policy of a file.

    Raises:
        ConfigurationError: it cannot be read or is no policy.
    """
    try:
        with open(path, "rb") as file:
            return Policy.from_bytes(file.read(MAX_POLICY_BYTES + 1))
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def _remember(state_file: Path, report: AuditReport) -> None:
    if report.ok:
        audit_state.save(state_file, report.checkpoint)
    elif any(fault.code in _CONTRADICTIONS for fault in report.faults):
        evidence = audit_state.save_evidence(state_file, report.checkpoint)
        click.echo(
            f"headcount: hint: the checkpoint that contradicts the remembered one is in {evidence}", err=True
        )


@contextmanager
def _progress() -> Iterator[Report | None]:
    """A progress bar on a terminal, nothing elsewhere; always on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("recounting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("recounting", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
