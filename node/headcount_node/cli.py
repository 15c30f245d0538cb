"""The node's commands: serve its roles, and demonstrate all of them at once."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headcount_node.demo import Demo, Ports
from headcount_node.dishonest import Cheater
from headcount_node.foundation import CONFIG, POLICY, Foundation, Mail
from headcount_node.serve import Processes
from headcount_node.serve import serve as run_node
from headcount_node.telling import heading, tell_contacts
from headcount_spec.errors import MisbehaviourError, UnavailableError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_SIGNERS = click.IntRange(6, 10_000)
_PORT = click.IntRange(1024, 65_000)


@click.command("init", short_help="Make a node: its settings, a ledger, an issuer.")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--public", default="http://localhost:8000", show_default=True, help="Address of verifier and ledger."
)
@click.option(
    "--personhood", default="http://localhost:8001", show_default=True, help="Address of the issuer."
)
@click.option(
    "--attester",
    "attesters",
    multiple=True,
    type=click.Choice(["email", "in-person"]),
    default=("email", "in-person"),
    show_default=True,
    help="How the issuer checks people; may be repeated.",
)
@click.option("--smtp-host", default="127.0.0.1", show_default=True, help="Where mail is handed in.")
@click.option("--smtp-port", default=25, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--sender", default="codes@localhost", show_default=True, help="From address of the mails.")
@click.option(
    "--tick",
    "tick_s",
    default=60,
    show_default=True,
    type=click.IntRange(1, 86_400),
    help="Seconds between two batches of the ledger.",
)
def init(
    folder: Path,
    public: str,
    personhood: str,
    attesters: tuple[str, ...],
    smtp_host: str,
    smtp_port: int,
    sender: str,
    tick_s: int,
) -> None:
    """Make a node in DIR: settings for every role, an empty ledger with a new key, and an issuer.

    Everything is in DIR/headcount.toml afterwards, to be read and changed before headcount serve.
    """
    mail = Mail(smtp_host, smtp_port, sender)
    Foundation(public.rstrip("/"), personhood.rstrip("/"), attesters, mail, tick_s).create(folder)
    click.echo(f"settings: {folder / CONFIG}")
    click.echo(f"trust policy, for everybody who reads the ledger: {folder / POLICY}")
    click.echo(f"  Next: headcount serve {folder / CONFIG}")


@click.command("serve")
@click.argument("config", metavar="CONFIG", type=_FILE, envvar="HEADCOUNT_CONFIG")
def serve(config: Path) -> None:
    """Run the roles that CONFIG (a TOML file) names, until stopped.

    The verifier and the ledger answer on one origin, the issuer on another; none of them sets a cookie,
    and none of them logs an address.
    """
    raise SystemExit(run_node(config))


@click.command("demo", short_help="Run a whole campaign on this machine.")
@click.option("--once", is_flag=True, help="Stop when the story has been told, instead of serving on.")
@click.option("--signers", default=60, show_default=True, type=_SIGNERS, help="How many pledge.")
@click.option("--dir", "folder", type=_FOLDER, help="An empty or new folder for everything.  [default: demo]")
@click.option("--port", default=8000, show_default=True, type=_PORT, help="First port.")
def demo(once: bool, signers: int, folder: Path | None, port: int) -> None:
    """Run a whole campaign on this machine: keys, proofs, pledges, sealed contacts that open when there
    are enough and die where there are not, ten dishonest things, a recount."""
    signal.signal(signal.SIGTERM, _stop)
    console = Console(highlight=False, soft_wrap=True)
    ports = Ports(port, port + 1, (port + 2, port + 3), port + 25, (port + 4, port + 5))
    story = Demo(folder or _fresh_folder(), signers, ports, lambda text: console.print(text, markup=False))
    heading(console, "A ledger, two witnesses, an issuer, a campaign")
    story.prepare()
    with story.running() as processes:
        story.publish()
        title = story.manifest.title_text
        console.print(f"scope {story.manifest.scope_id.hex()}: {title}", markup=False)
        tell_contacts(console, story, lambda done, what, total: _track(console, done, what, total))
        story.publish_issuance()
        heading(console, "Ten dishonest things")
        _show_attempts(console, Cheater(story))
        heading(console, "Anybody recounts")
        ok = _recount(console, story)
        if not once and ok:
            heading(console, "Serving on; Ctrl-C stops")
            _serve_on(console, story, processes)
    if once and ok:
        _next(console, "recount", "audit", story.public, "--policy", story.policy)
        for command in story.witness_commands():
            _next(console, "witness", *command)
        _next(console, "serve", "serve", story.config)
    raise SystemExit(0 if ok else 1)


def _serve_on(console: Console, story: Demo, processes: Processes) -> None:
    """Keep the servers up; show what to do with them, and the mail that arrives here."""
    scope = story.manifest.scope_id.hex()
    console.print(f"open     {story.verifier_url}/")
    _next(console, "recount", "audit", story.ledger_url, "--policy", story.policy)
    _next(
        console,
        "pledge",
        *("prove", story.ledger_url, scope, "--policy", story.policy),
        *("--choice", "1", "--out", "me.pledge"),
    )
    story.mailbox.on_mail = lambda recipient, body: console.print(
        f"\nmail for {recipient}\n{body}", markup=False
    )
    try:
        while not processes.ended():
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise UnavailableError(f"a server ended; see {story.log}")


def _next(console: Console, what: str, *arguments: str | Path) -> None:
    """A command that the reader can run next, as this one was called."""
    if shutil.which("headcount"):
        called = ["headcount"]
    elif sys.argv[0].endswith("__main__.py"):
        called = [sys.executable, "-m", "headcount"]
    else:
        called = [sys.argv[0]]
    console.print(f"{what:<8} {shlex.join([*called, *map(str, arguments)])}", markup=False)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)  # as a shell reports SIGTERM; the servers are stopped on the way out


def _fresh_folder() -> Path:
    names = ["demo", *(f"demo-{number}" for number in range(2, 1000))]
    return next(Path(name) for name in names if not Path(name).exists())


def _track(console: Console, done: Iterable[None], what: str, total: int) -> Iterator[None]:
    """A progress bar on a terminal, a line at the end everywhere."""
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(done, total=total, description=what)
    console.print(f"{what}: {total} in {time.monotonic() - started:.1f} s")


def _show_attempts(console: Console, cheater: Cheater) -> None:
    missed = []
    for name, attempt in cheater.attempts():
        outcome = attempt(name)
        if not outcome.caught:
            missed.append(outcome.name)
        verdict = f"{outcome.by}: {outcome.code}" if outcome.caught else "NOBODY NOTICED"
        console.print(f"  {outcome.name:<18} {verdict:<26} {outcome.detail}", markup=False)
    if missed:
        raise MisbehaviourError(f"nobody noticed: {', '.join(missed)}")


def _recount(console: Console, story: Demo) -> bool:
    """Let the separate program recount the published files, twice: for people and for programs."""
    console.print(f"$ headcount audit {story.public} --policy {story.policy}", markup=False)
    done = story.audit(story.public)
    console.print(done.stdout.rstrip() + done.stderr.rstrip(), markup=False)
    report = json.loads(story.audit(story.public, "--json").stdout)
    counted = report["scopes"][story.manifest.scope_id.hex()]["count"]
    return done.returncode == 0 and bool(report["ok"]) and counted == story.signers
