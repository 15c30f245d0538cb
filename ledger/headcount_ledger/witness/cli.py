"""The witness operator's commands."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from headcount_ledger.witness.app import DIRECTORY_VARIABLE
from headcount_ledger.witness.server import Witness, create, read_key
from headcount_spec.errors import ConfigurationError
from headcount_spec.note import VerificationKey

_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_CONNECTIONS = 1024  # at once; each has ten seconds to send its request
_HEADER_TIMEOUT_MS = 10_000


@click.group()
def witness() -> None:
    """Watch over other people's ledgers: cosign what only grows."""


@witness.command("create")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option("--name", required=True, metavar="NAME", help="Its key name: its URL without https://.")
@click.option(
    "--log", "logs", multiple=True, metavar="VKEY", help="Key of a log to cosign; may be given again."
)
def create_command(directory: Path, name: str, logs: tuple[str, ...]) -> None:
    """Create a witness in DIR, with a new key, and print its vkey.

    Further logs are added as lines `log VKEY` to the file DIR/logs, before the witness is started.
    """
    click.echo(create(directory, name, tuple(map(VerificationKey.from_text, logs))).to_text())


@witness.command("vkey")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
def vkey_command(directory: Path) -> None:
    """Print the key under which the witness in DIR cosigns."""
    click.echo(read_key(directory).cosigner_key.to_text())


@witness.command("serve")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to answer, as 127.0.0.1:8002.")
def serve_command(directory: Path, listen: str) -> None:
    """Answer the logs that the witness in DIR knows, until stopped.

    It speaks plain HTTP: put a web server with TLS before it. No address and no time is logged.
    """
    host, port = _listen(listen)
    _check_free(host, port)
    with Witness.open(directory) as opened:  # what is wrong is said here, not in the worker
        for origin in opened.origins():
            click.echo(f"watching over {origin}")
    try:
        # Needed here alone; the ledger's other parts run under any server.
        from granian import Granian
        from granian.constants import Interfaces
        from granian.http import HTTP1Settings
        from granian.log import LogLevels
    except ModuleNotFoundError as exc:
        raise ConfigurationError("serving needs granian: pip install 'headcount[node]'") from exc
    os.environ[DIRECTORY_VARIABLE] = str(directory.resolve())
    Granian(
        "headcount_ledger.witness.app:from_environment",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        factory=True,
        workers=1,
        backpressure=_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        log_level=LogLevels.error,
        log_access=False,
        websockets=False,
    ).serve()


def _check_free(host: str, port: int) -> None:
    """Granian shares ports: of two servers each would get every other request, and neither an error."""
    try:
        with socket.create_server((host, port), family=_family(host)):
            pass
    except OSError as exc:
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {exc.strerror}") from exc


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter("not HOST:PORT", param_hint="--listen")
    return host.strip("[]"), int(port)
