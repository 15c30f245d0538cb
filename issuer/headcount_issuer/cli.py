"""The issuer operator's commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from headcount_issuer.attesters.email import EmailConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.custody import encrypt_keys
from headcount_issuer.dkim_key import create_key, dns_record
from headcount_issuer.enrolment import Draft
from headcount_issuer.issuer import Issuer
from headcount_issuer.sheet_commands import codes, table
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
@click.option(
    "--attester",
    "attesters",
    multiple=True,
    type=click.Choice(("email", "in-person")),
    default=("email",),
    show_default=True,
    help="How people are checked; others are added in the file.",
)
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


@issuer.command("dkim-key")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--selector", default="headcount", show_default=True, help="Name of the key in the DNS.")
@click.pass_obj
def dkim_key(config_path: Path, path: Path, selector: str) -> None:
    """Make a key that signs the issuer's mails, and print what goes into the DNS and into the settings."""
    config = IssuerConfig.from_file(config_path)
    email = config.attesters.get("email")
    if not isinstance(email, EmailConfig):
        raise ConfigurationError("this issuer sends no mails")
    create_key(path)
    domain = email.sender.rpartition("@")[2]
    record = dns_record(path)
    strings = [record[i : i + 255] for i in range(0, len(record), 255)]  # RFC 1035, Section 3.3
    click.echo(f"{selector}._domainkey.{domain}. TXT {' '.join(map(json.dumps, strings))}")
    click.echo(f"\n[issuer.attesters.email.dkim]\nselector = {json.dumps(selector)}")
    click.echo(f"key_file = {json.dumps(str(path.resolve()))}")


issuer.add_command(codes)
issuer.add_command(table)


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
        "",
        "[issuer.custody]",
        'passphrase_file = "issuer.passphrase"  # opens the keys; best kept on another disk',
    ]
    for attester in attesters:
        lines += ["", f"[issuer.attesters.{attester}]"]
        if attester == "email":
            lines += [
                f"sender = {quoted(sender)}",
                "",
                "[issuer.attesters.email.smtp]",
                f"host = {quoted(host)}",
                f"port = {port}",
            ]
    return "\n".join(lines) + "\n"
