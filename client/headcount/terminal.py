"""How the command line speaks: results on stdout, everything else on stderr.

Errors are ``headcount: error: …``, lowercase and without a full stop, followed by ``headcount: hint:``
lines. Questions and progress appear on stderr, progress on a terminal only, so that stdout can be piped.
Titles and names are other people's: what would steer the terminal instead of being read is shown as \\uXXXX.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from headcount.question import Ask, Question
from headcount_ledger.reader.view import Progress
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.policy import MAX_POLICY_BYTES, Policy
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_hex

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

# C0 but the newline, DEL and C1 (ECMA-48), and the explicit directions of UAX #9, Section 2.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """The text with what steers a terminal made visible; JSON stays the same JSON."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str) -> None:
    """A sentence of the result."""
    click.echo(shown(text))


def error(text: str) -> None:
    """What went wrong."""
    text = shown(" ".join(text.split())).rstrip(".")
    click.echo(f"headcount: error: {text[:1].lower()}{text[1:]}", err=True)


def hint(text: str) -> None:
    """What may help."""
    click.echo(f"headcount: hint: {shown(text)}", err=True)


@contextmanager
def progress(label: str) -> Iterator[Progress | None]:
    """A progress bar for long work, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from headcount.progress_bar import progress_bar

    with progress_bar(shown(label)) as show:
        yield show


def asker(address: str | None) -> Ask:
    """Asks on the terminal; the address may be given beforehand."""

    def ask(question: Question) -> str:
        name = question.issuer.name
        if question.kind == "address":
            return address or _prompt(f"e-mail address (for {name} only)")
        again = "that code was refused, try again: " if question.attempt > 1 else ""
        if question.kind == "mailed-code":
            return _prompt(f"{again}code from the mail of {name}")
        if question.kind == "page-code":
            if question.attempt == 1:
                click.echo(f"open in a browser, for {shown(name)}: {shown(question.page or '')}", err=True)
            return _prompt(f"{again}code that the page shows at the end")
        if question.kind == "evidence":
            # Who has named an address proves that one.
            given = address is not None and "email" in question.choices
            return "email" if given else _choose(question.choices, name)
        if question.kind == "remember":
            return _prompt(f"make a passkey, to come back to {name} with", click.Choice(question.choices))
        if question.kind == "account-page":
            click.echo(f"open in a browser, for {shown(name)}: {shown(question.page or '')}", err=True)
            return _prompt("press Enter when it is done", default="done")
        return _prompt(f"{again}code on your slip (for {name})")

    return ask


_EVIDENCE = {
    "email": "an e-mail address",
    "oidc": "a log-in",
    "in-person": "a slip of paper with a code",
    "device": "a passkey",
    "eid": "an electronic identity",
    "passkey": "the passkey that you made there before",
}


def _choose(choices: tuple[str, ...], name: str) -> str:
    for choice in choices:
        click.echo(f"  {choice}: {_EVIDENCE.get(choice, choice)}", err=True)
    return _prompt(f"what to show to {name}", click.Choice(choices))


def _prompt(text: str, kind: click.Choice[str] | None = None, default: str | None = None) -> str:
    try:
        answer: str = click.prompt(
            shown(text), err=True, type=kind, default=default, show_default=default is None
        )
    except click.Abort:
        click.echo(err=True)  # what follows is not the answer
        raise
    return answer


def read_policy(path: Path) -> Policy:
    """A trust policy.

    Raises:
        ConfigurationError: its file cannot be read or is no policy.
    """
    return _policy(path)[0]


def policy_bytes(path: Path) -> bytes:
    """A trust policy as it stands in its file, to be kept with what it was asked for.

    Raises:
        ConfigurationError: as read_policy.
    """
    return _policy(path)[1]


def _policy(path: Path) -> tuple[Policy, bytes]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        return Policy.from_bytes(data), data
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def scope_id(ctx: click.Context, param: click.Parameter, value: str) -> ScopeId:
    """Option callback: a scope id from 64 hex digits."""
    try:
        return ScopeId(decode_hex(value.lower(), 32))
    except MalformedError as exc:
        raise click.BadParameter("a scope id is 64 hex digits") from exc


def ledger(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Option callback: an address without a slash at the end, or the absolute path of a folder."""
    if value.startswith(("http://", "https://")):
        return value.rstrip("/")
    if not Path(value).is_dir():
        raise click.BadParameter("neither an http(s) address nor a folder")
    return str(Path(value).resolve())


def published(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Option callback: a ledger, or an address of a bucket."""
    return value if value.startswith("s3://") else ledger(ctx, param, value)


LEDGER = click.argument("ledger", callback=ledger)
SCOPE = click.argument("scope_id", metavar="SCOPE", callback=scope_id)
POLICY = click.option(
    "--policy", required=True, type=FILE, help="Whom to trust about the ledger (tlog-policy)."
)
