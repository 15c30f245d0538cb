"""``headcount contacts export``: the sealed contacts of a scope for its organiser, as one file.
``headcount webhooks``: tells partners how the counts move."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from pathlib import Path

import click

from headcount_ledger.reader.transport import HttpTransport
from headcount_spec import webhook
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_hex
from headcount_verifier import teller
from headcount_verifier.config import VerifierConfig
from headcount_verifier.contacts import Contacts

_PATIENCE_S = 30  # of --once with a receiver that does not take an event
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def contacts() -> None:
    """The store of sealed contacts, which opens for nobody here."""


@click.group()
def webhooks() -> None:
    """Tell other sites how the counts move, signed and until they have taken it."""


@webhooks.command()
@click.argument("path", metavar="FILE", type=_FILE)
@click.option(
    "--public", is_flag=True, help="A pair: the sender keeps FILE, receivers get the key that is printed."
)
def key(path: Path, public: bool) -> None:
    """Make a new key of webhooks in FILE: a secret that sender and receiver share, or half of a pair."""
    made = (
        webhook.Seed(secrets.token_bytes(32))
        if public
        else webhook.Secret(secrets.token_bytes(webhook.SECRET_BYTES))
    )
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(made.to_text() + "\n")
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc
    click.echo(f"key: {path}")
    if isinstance(made, webhook.Seed):
        click.echo(f"for receivers: {made.public.to_text()}")


@webhooks.command()
@click.argument("config", type=_FILE)
@click.option("--once", is_flag=True, help="Look once and tell what is new; for a timer.")
def run(config: Path, once: bool) -> None:
    """Tell whom the table [verifier] of CONFIG names, until stopped. A node does this by itself."""
    settings = VerifierConfig.from_file(config)
    if not once:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _signal, _frame: stop.set())
        teller.run(settings, stop)
        return
    with HttpTransport() as transport:
        found, lock = teller.open_teller(settings, transport)
        try:
            told = found.look()
            waiting = 0
            for receiver in found.receivers:
                waiting += receiver.outbox.deliver_now(_PATIENCE_S, time.time, time.sleep)
        finally:
            lock.close()
    click.echo(f"new: {told} events; {waiting} wait")


@contacts.command()
@click.argument("scope_hex", metavar="SCOPE")
@click.option("--config", required=True, type=_FILE, help="The TOML file with the table [verifier].")
@click.option("--out", required=True, type=_FILE, help="The file to write.")
def export(scope_hex: str, config: Path, out: Path) -> None:
    """Write the sealed contacts of SCOPE to a file for the organiser.

    Nobody can open one before the trustees have released their keys, and then the organiser alone.
    """
    store = Contacts.from_settings(VerifierConfig.from_file(config))
    if store is None:
        raise ConfigurationError("no contacts are kept here: verifier.contacts is not set")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            size = sum(file.write(piece) for piece in store.export(ScopeId(decode_hex(scope_hex, 32))))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {out.name}: {exc.strerror}") from exc
    finally:
        temporary.unlink(missing_ok=True)
        store.close()
    click.echo(f"exported: {out} ({size} bytes)")
