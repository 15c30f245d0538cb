"""``headcount audit``: recounts a published ledger and says whether its number is true."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headcount import audit_outputs, private_file, terminal
from headcount.audit_outputs import Outputs
from headcount_ledger.reader.bucket import Bucket, is_bucket
from headcount_ledger.reader.fetch import CONNECTIONS, Web, cached, is_url, open_fetch, open_folder
from headcount_spec.errors import ConfigurationError, ProtocolError
from headcount_spec.policy import Policy

if TYPE_CHECKING:
    from headcount_ledger.audit import Receipt
    from headcount_spec.checkpoint import Checkpoint
    from headcount_spec.scope import ScopeId
    from headcount_spec.tile import Fetch

LARGE_STATE = 64 * 1024 * 1024  # bytes: of four million pledges


def _scope(ctx: click.Context, param: click.Parameter, value: str | None) -> ScopeId | None:
    return None if value is None else terminal.scope_id(ctx, param, value)


@click.command(name="audit", short_help="Recount a ledger from its published files.")
@click.argument("target", callback=terminal.published)
@terminal.POLICY
@click.option(
    "--resume",
    type=terminal.FILE,
    help="State of the last good audit: only new entries are recounted, and a ledger that goes back or "
    "splits is caught. Made if it is not there yet.",
)
@click.option(
    "--receipt",
    "receipts",
    multiple=True,
    type=terminal.FILE,
    help="A .tlog-proof or pledge file whose entry must be there; may be given several times.",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes that verify. Default: one for each core.")
@click.option("--dask", "cluster", metavar="ADDRESS", help="Verify on a Dask cluster, as tcp://host:8786.")
@click.option("--sample", "drawn", type=click.IntRange(1), help="Look at so many entries only, at random.")
@click.option(
    "--since",
    type=terminal.FILE,
    help="An earlier published checkpoint: the ledger must continue it, and only later pledges are verified.",
)
@click.option(
    "--scope", "only", metavar="SCOPE", callback=_scope, help="Verify and print this scope's pledges only."
)
@audit_outputs.options
@click.option("--quiet", is_flag=True, help="No progress, and of the verdict only faults and the last line.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.pass_context
def audit_command(
    ctx: click.Context,
    target: str,
    policy: Path,
    resume: Path | None,
    receipts: tuple[Path, ...],
    jobs: int | None,
    cluster: str | None,
    drawn: int | None,
    since: Path | None,
    only: ScopeId | None,
    quiet: bool,
    as_json: bool,
    outputs: Outputs,
) -> None:
    """Recount the ledger at TARGET: an address, a folder with its published files, or a bucket.

    A bucket is s3://bucket/prefix?endpoint=URL&region=NAME. Says the count with what it counts, whom it
    still trusts, and everything that is wrong, with its place. Exits with 1 if anything is wrong.
    """
    _check_usage(
        resume=resume is not None,
        receipts=bool(receipts),
        sample=drawn is not None,
        since=since is not None,
        scope=only is not None,
        outputs=outputs != Outputs(),
    )
    if cluster is not None and jobs is not None:
        raise click.UsageError("--dask and --jobs do not go together")
    if is_bucket(target):
        Bucket(target).check()
    trusted = terminal.read_policy(policy)
    remembered = [] if since is None else [_checkpoint(since, trusted)]
    bar = nullcontext(None) if quiet else terminal.progress("recounting")
    if drawn is not None:
        from headcount_ledger.audit.sample import sample

        with _opened(target) as fetch, bar as shown:
            found = sample(cached(fetch), trusted, drawn, progress=shown)
        if as_json:
            _say_json(found.to_json())
        else:
            from headcount import audit_verdict

            _say_lines(audit_verdict.sample_lines(found))
        if not found.ok:
            ctx.exit(1)
        return
    other = nullcontext(None) if quiet else terminal.progress("fetching")
    with (
        _workers(cluster, jobs, resume) as executor,
        _source(target, cluster) as source,
        other as fetching,
        bar as shown,
    ):
        # Loaded here, when the processes have begun.
        from headcount_ledger.audit import audit
        from headcount_ledger.audit.unit import Extent

        report = audit(
            source,
            trusted,
            remembered=remembered,
            receipts=_receipts(receipts),
            progress=shown,
            executor=executor,
            extent=Extent(remembered[0].size if remembered else 0, only),
            connections=1 if Path(target).is_dir() else CONNECTIONS,
            resume=resume,
            fetching=fetching,
        )
        outputs.write(report, trusted, cached(source), shown)
    evidence = None
    if resume is not None:
        from headcount.audit_state import keep_evidence

        evidence = keep_evidence(report, resume)
    if evidence is not None:
        terminal.hint(f"the evidence is in {evidence.name}; show it to others before you go on")
    value, ok = report.to_json(), report.ok
    if only is not None:
        ok = ok and only in report.scopes  # what is not there is not proven
        value["ok"], value["scopes"] = ok, {s: c for s, c in value["scopes"].items() if s == only.hex()}
    if as_json:
        _say_json(value)
    else:
        from headcount import audit_verdict

        _say_lines(audit_verdict.lines(report, only=only, quiet=quiet))
    if not ok:
        ctx.exit(1)


def _say_json(value: dict[str, object]) -> None:
    terminal.say(json.dumps(value, ensure_ascii=False))


def _say_lines(lines: Iterable[str]) -> None:
    for line in lines:
        terminal.say(line)


def _receipts(paths: tuple[Path, ...]) -> list[Receipt]:
    if not paths:
        return []
    from headcount import audit_receipts

    return [receipt for path in paths for receipt in audit_receipts.load(path)]


def _check_usage(
    *, resume: bool, receipts: bool, sample: bool, since: bool, scope: bool, outputs: bool
) -> None:
    if outputs and (sample or since or scope):
        raise click.UsageError("--report, --database and --plots are of a whole audit")
    if sample and (resume or receipts or since or scope):
        raise click.UsageError("--sample goes with no option that needs a recount")
    if resume and (since or scope):
        raise click.UsageError("--resume is of a whole audit: it does not go with --since or --scope")


def _workers(
    cluster: str | None, jobs: int | None, resume: Path | None
) -> AbstractContextManager[Executor | None]:
    from headcount_ledger.audit.pool import cores, dask, processes

    if cluster is not None:
        return dask(cluster)
    # What a large ledger has grown by is likely to be much too, and that it is large is known already.
    many = resume is not None and resume.exists() and resume.stat().st_size > LARGE_STATE
    return processes(cores() if jobs is None else jobs, many)


@contextmanager
def _opened(target: str) -> Iterator[Fetch]:
    """Reads the target from this process."""
    if is_bucket(target):
        yield Bucket(target).__call__
        return
    if not is_url(target):
        yield open_folder(target)
        return
    from headcount_ledger.reader.transport import HttpTransport

    with HttpTransport() as transport:
        yield open_fetch(target, transport)


@contextmanager
def _source(target: str, cluster: str | None) -> Iterator[Fetch]:
    """The target for an audit: the machines of a cluster read it themselves."""
    if cluster is not None and is_bucket(target):
        yield Bucket(target)
    elif cluster is not None and is_url(target):
        yield Web(target)
    else:
        with _opened(target) as fetch:
            yield fetch


def _checkpoint(path: Path, policy: Policy) -> Checkpoint:
    # Today's witness policy may be younger than the file: the ledger's signature is what binds it.
    try:
        return Policy(logs=policy.logs).verify_checkpoint(private_file.read(path)).signed.checkpoint
    except ProtocolError as exc:
        if isinstance(exc, ConfigurationError):
            raise
        raise ConfigurationError(f"{path.name}: {exc}") from exc
