"""``headcount monitor``: follows ledgers for as long as they live, and tells when one goes wrong."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from headcount import audit_receipts, cosigner, private_file, terminal
from headcount.finding import Event
from headcount.monitor import Holding, Looked, Monitor
from headcount.monitor_evidence import EvidenceFolder
from headcount.monitor_pages import PageWatch
from headcount.monitor_state import StateFile
from headcount.pledge_file import PledgeFile
from headcount_ledger.audit.pool import cores, processes
from headcount_ledger.reader.bucket import Bucket, is_bucket
from headcount_ledger.reader.fetch import CONNECTIONS, open_fetch
from headcount_ledger.reader.outbox import Outbox, check_url, read_signers
from headcount_ledger.reader.transport import HttpTransport, Transport
from headcount_spec import jcs
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.tile import Fetch

_DAY_S = 86400
_PATIENCE_S = 30  # of --once with a webhook that is not taken


@click.command(short_help="Follow ledgers, and tell when one goes wrong.")
@click.argument(
    "targets",
    metavar="LEDGER...",
    nargs=-1,
    required=True,
    callback=lambda ctx, param, values: tuple(terminal.published(ctx, param, value) for value in values),
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    type=terminal.FILE,
    help="Whom to trust about the ledgers: one file for all, or one for each, in their order.",
)
@click.option("--state", required=True, type=terminal.FOLDER, help="What is remembered, and the evidence.")
@click.option("--once", is_flag=True, help="Look once; exit with 1 if anything is wrong.")
@click.option("--every", default=300.0, show_default=True, metavar="SECONDS", help="Pause between two looks.")
@click.option(
    "--silent-after",
    default=48.0,
    show_default=True,
    metavar="HOURS",
    help="So long may a ledger publish nothing: more than its tick, and than its people sleep.",
)
@click.option(
    "--promise",
    "promises",
    multiple=True,
    type=terminal.FILE,
    help="A pledge file or .tlog-proof whose entry must be there in time; may be repeated.",
)
@click.option("--webhook", "url", metavar="URL", help="Where to post each event.")
@click.option(
    "--webhook-secret",
    "secret",
    type=terminal.FILE,
    help="File with the keys that sign them: headcount webhooks key.",
)
@click.option(
    "--recount-every",
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="How often all entries are read again; between, only new ones are.",
)
@click.option("--pages", "with_pages", is_flag=True, help="Compare what the campaigns' sites serve.")
@click.option("--jobs", type=click.IntRange(1), help="Processes that verify. Default: one for each core.")
@click.option("--key", type=terminal.FILE, help="A witness's private key: cosign what was audited.")
@click.option("--cosignatures", type=terminal.FOLDER, help="Where to publish what was cosigned.")
@click.pass_context
def monitor(
    ctx: click.Context,
    targets: tuple[str, ...],
    policies: tuple[Path, ...],
    state: Path,
    once: bool,
    every: float,
    silent_after: float,
    promises: tuple[Path, ...],
    url: str | None,
    secret: Path | None,
    recount_every: float,
    with_pages: bool,
    jobs: int | None,
    key: Path | None,
    cosignatures: Path | None,
) -> None:
    """Follow each LEDGER, an address or a folder, and tell when it goes wrong or right again.

    Every new checkpoint is audited and compared with those before. One line an event; what others can check
    is kept in the folder evidence of the state. With --pages, the sites at which people sign are asked for
    their pages and files, and these are compared with what the organisers have stated in the ledger.
    """
    if len(policies) not in (1, len(targets)):
        raise click.UsageError("give one --policy, or one for each ledger")
    if (url is None) != (secret is None):
        raise click.UsageError("--webhook and --webhook-secret go together")
    if (key is None) != (cosignatures is None):
        raise click.UsageError("--key and --cosignatures go together")
    if url is not None:
        check_url(url)  # now, not when the first event waits to be told
    trusted = [terminal.read_policy(path) for path in policies]
    trusted *= len(targets) if len(trusted) == 1 else 1
    holdings = [_holding(path) for path in promises]
    signer = None if key is None or cosignatures is None else _cosigner(key, cosignatures)
    workers = processes(cores() if jobs is None else jobs)
    with workers as executor, _only_one(state), HttpTransport() as transport:
        outbox = None
        if url is not None and secret is not None:
            outbox = Outbox(state / "outbox", url, read_signers(secret), transport)
        monitors = [
            Monitor(
                target=target,
                fetch=_fetch(target, transport),
                policy=policy,
                state_file=StateFile(state, target),
                evidence=EvidenceFolder(state / "evidence"),
                silent_after_h=silent_after,
                holdings=holdings,
                cosigner=signer,
                recount_after_s=recount_every * _DAY_S,
                executor=executor,
                connections=1 if Path(target).is_dir() else CONNECTIONS,
                pages=PageWatch(transport, 1 if once else 2) if with_pages else None,
                patience=1 if once else 2,  # a network that stumbles is not yet news
                tell=(lambda event: None) if outbox is None else partial(_put, outbox),
            )
            for target, policy in zip(targets, trusted, strict=True)
        ]
        while True:
            wrong = sum(len(_look(item, once=once).standing) for item in monitors)
            if once:
                undelivered = 0 if outbox is None else outbox.deliver_now(_PATIENCE_S, time.time, time.sleep)
                if undelivered:
                    terminal.hint(f"{undelivered} events could not be posted; they are kept and sent again")
                ctx.exit(1 if wrong else 0)
            if outbox is not None:
                outbox.deliver(time.time())
            time.sleep(every)


def _fetch(target: str, transport: Transport) -> Fetch:
    return Bucket(target).__call__ if is_bucket(target) else open_fetch(target, transport)


def _put(outbox: Outbox, event: Event) -> None:
    when = datetime.fromtimestamp(event.time, UTC)
    body = {
        "type": f"finding.{event.status}",
        "timestamp": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "data": event.to_json(),
    }
    outbox.put(event.id, event.time, jcs.canonicalise(body))


def _look(item: Monitor, *, once: bool) -> Looked:
    with terminal.progress(f"auditing {item.target}") as bar:
        looked = item.look(int(time.time()), bar)
    for event in looked.events:
        terminal.say(event.line)
    if looked.cosigned:
        terminal.say(f"cosigned: {item.target}: {looked.size} entries, in {looked.cosigned}")
    if once:
        new = {event.finding.key for event in looked.events}
        for finding in looked.standing:
            if finding.key not in new:
                terminal.say(f"still: {finding.line}")
        if not looked.standing:
            terminal.say(f"{item.target}: {looked.size} entries, nothing is wrong")
    return looked


def _holding(path: Path) -> Holding:
    try:
        content = PledgeFile.from_bytes(private_file.read(path))
    except MalformedError:
        return Holding(tuple(audit_receipts.load(path)))
    if content.promise is None:
        raise ConfigurationError(f"{path.name}: the pledge was not sent yet")
    return Holding.of_pledge(path.name, content)


def _cosigner(key: Path, folder: Path) -> cosigner.Cosigner:
    return cosigner.Cosigner(cosigner.read_key(key), folder)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two monitors on one state could cosign two histories."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as exc:
        raise ConfigurationError(f"cannot write to {folder.name}: {exc.strerror}") from exc
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigurationError(f"another monitor uses {folder.name}") from exc
        yield
