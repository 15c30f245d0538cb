"""The issuer operator's commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from headcount_issuer.config import IssuerConfig
from headcount_issuer.custody import encrypt_keys
from headcount_issuer.enrolment import Draft
from headcount_issuer.issuer import Issuer
from headcount_issuer.private_file import write_private
from headcount_issuer.sheet import sheet_html, sheet_text
from headcount_spec import scope
from headcount_spec.errors import ConfigurationError, CorruptionError
from headcount_spec.text import decode_hex, format_day

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
@click.option(
    "--config",
    "config_path",
    type=_FILE,
    envvar="HEADCOUNT_CONFIG",
    default="headcount.toml",
    show_default=True,
    help="The node's TOML file, with a table [issuer].",
)
@click.pass_context
def issuer(context: click.Context, config_path: Path) -> None:
    """Check that people are people, and sign one pledge of each blindly."""
    context.obj = config_path


@issuer.command()
@click.argument("directory", metavar="DIR", type=_FOLDER)
@click.option("--name", default="localhost:8001", show_default=True, help="Host as in manifests.")
@click.option("--url", default="http://localhost:8001", show_default=True, help="Where clients reach it.")
@click.option("--ledger", default="http://localhost:8000/ledger", show_default=True, help="The ledger's URL.")
@click.option("--attester", "attesters", multiple=True, default=("email",), show_default=True)
@click.option("--smtp-host", default="127.0.0.1", show_default=True)
@click.option("--smtp-port", type=click.IntRange(1, 65535), default=25, show_default=True)
@click.option("--sender", default="issuer@localhost", show_default=True, help="From address of the mails.")
def init(
    directory: Path,
    name: str,
    url: str,
    ledger: str,
    attesters: tuple[str, ...],
    smtp_host: str,
    smtp_port: int,
    sender: str,
) -> None:
    """Create an issuer in DIR: headcount.toml, unless it is there, notice key and database."""
    path = directory / "headcount.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(_toml(name, url, ledger, attesters, smtp_host, smtp_port, sender), "utf-8")
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc
    Issuer.create(IssuerConfig.from_file(path))
    click.echo(f"issuer {name} in {directory}; its settings are in {path.name}")


@issuer.command()
@click.argument("draft", metavar="DRAFT", type=click.Path(exists=True, path_type=Path))
@click.pass_obj
def enrol(config_path: Path, draft: Path) -> None:
    """Answer a draft with a token key of its own, or open the scope of a final manifest.

    DRAFT is the file, or the folder of a draft: its scope.json once published, else its manifest.json.
    """
    path = _draft_file(draft)
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        answer = opened.enrol(_read(path))
    if isinstance(answer, Draft):
        _write(path, json.dumps(answer.value, ensure_ascii=False, indent=2) + "\n")
        click.echo(f"token key and notice key are in {path.name}; publish it, then run this command again")
    else:
        click.echo(f"scope {answer.scope.hex()} is open at this issuer")


@issuer.command()
@click.argument("scope_hex", metavar="SCOPE")
@click.option("--number", type=click.IntRange(1), required=True, help="Of slips.")
@click.option("--out", type=_FOLDER, default=".", show_default=True, help="Folder of the two files.")
@click.pass_obj
def codes(config_path: Path, scope_hex: str, number: int, out: Path) -> None:
    """Make a sheet of single-use codes for SCOPE, as text and as HTML to print.

    Its Merkle root and number go into the ledger. The files are the only copy of the codes.
    """
    scope_id = scope.ScopeId(decode_hex(scope_hex, 32))
    text_path, html_path = out / f"codes-{scope_hex[:8]}.txt", out / f"codes-{scope_hex[:8]}.html"
    for path in (text_path, html_path):
        if path.exists():
            raise ConfigurationError(f"{path.name} exists already")
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        manifest, sheet = opened.make_codes(scope_id, number)
        write_private(text_path, sheet_text(manifest, sheet).encode())
        write_private(html_path, sheet_html(manifest, sheet).encode())
        opened.send_notices()
    click.echo(f"{number} codes in {text_path.name} and {html_path.name}")


@issuer.command()
@click.pass_obj
def issuance(config_path: Path) -> None:
    """Publish in the ledger how many tokens were issued so far, in each scope, rounded up to 16."""
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        opened.publish_issuance(now=True)
        click.echo(f"published for {sum(row.opened for row in opened.scopes())} scopes")


@issuer.command()
@click.pass_obj
def status(config_path: Path) -> None:
    """Say which scopes are open here, and what the ledger has not taken yet."""
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        click.echo(f"issuer {opened.config.name}, attesters {', '.join(opened.config.attesters)}")
        for row in opened.scopes():
            state = "open" if row.opened else "not opened: the ledger has not taken the notice"
            days = f"{format_day(row.manifest.opens)} to {format_day(row.manifest.closes)}"
            click.echo(f"{row.manifest.scope_id.hex()}  {days}  {row.manifest.level}  {row.issued}  {state}")
        click.echo(f"{opened.unsent_notices()} notices wait for the ledger")


@issuer.command()
@click.argument("scope_hex", metavar="SCOPE")
@click.pass_obj
def close(config_path: Path, scope_hex: str) -> None:
    """Destroy the keys of SCOPE, which has closed, and say so in the ledger.

    The token key goes at once, the key of the tags when no other scope asks for them any more: run it again
    then. What is destroyed cannot be had back, by anybody.
    """
    scope_id = scope.ScopeId(decode_hex(scope_hex, 32))
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        closed = opened.close_scope(scope_id)
    click.echo(
        f"destroyed, and said so in the ledger: {' and '.join(f'{key} key' for key in closed.destroyed)}"
    )
    if closed.tag_needed_until is not None:
        click.echo(
            f"another scope asks for the tags until {format_day(closed.tag_needed_until)}; close again then"
        )


@issuer.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.pass_obj
def inventory(config_path: Path, as_json: bool) -> None:
    """Say what this issuer holds, why, and until when, from its real files and tables.

    Fails if it finds something that it cannot name.
    """
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        found = opened.inventory()
    if as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=2))
    else:
        for line in found.lines():
            click.echo(line)
    if found.unknown():
        raise CorruptionError(f"nobody knows why this is here: {', '.join(found.unknown())}")


@issuer.command("encrypt-keys")
@click.pass_obj
def encrypt_keys_command(config_path: Path) -> None:
    """Encrypt the keys that lie in plain, under the passphrase that [issuer.custody] names.

    Where it names a file that is not there, a passphrase is drawn. Stop the issuer first.
    """
    config = IssuerConfig.from_file(config_path)
    passphrase = config.custody.passphrase
    if passphrase is None:
        raise ConfigurationError("[issuer.custody] names no passphrase_file and no passphrase_credential")
    passphrase.draw()
    done = encrypt_keys(config.keys, passphrase)
    click.echo(f"{len(done)} keys encrypted; throw away the backups that hold them in plain")


def _draft_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    published = path / "scope.json"
    return published if published.exists() else path / "manifest.json"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc


def _toml(
    name: str, url: str, ledger: str, attesters: tuple[str, ...], host: str, port: int, sender: str
) -> str:
    def quoted(value: Any) -> str:
        return json.dumps(value)  # JSON strings and lists of strings are TOML

    lines = [
        "[issuer]",
        f"name = {quoted(name)}",
        f"url = {quoted(url)}",
        'directory = "issuer"',
        f"ledger = {quoted(ledger)}",
        f"attesters = {quoted(list(attesters))}",
        "",
        "[issuer.custody]",
        'passphrase_file = "issuer.passphrase"  # opens the keys; best kept on another disk',
    ]
    if "email" in attesters:
        lines += [
            "",
            "[issuer.smtp]",
            f"host = {quoted(host)}",
            f"port = {port}",
            f"sender = {quoted(sender)}",
        ]
    return "\n".join(lines) + "\n"
