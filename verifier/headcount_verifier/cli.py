"""``headcount contacts export``: the sealed contacts of a scope for its organiser, as one file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_hex
from headcount_verifier.config import VerifierConfig
from headcount_verifier.contacts import Contacts

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def contacts() -> None:
    """The store of sealed contacts, which opens for nobody here."""


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
