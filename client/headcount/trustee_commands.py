"""``headcount trustee init | enrol | restore | check | release | destroy | page``."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from headcount import draft as drafts
from headcount import private_file
from headcount import trustee as trustees
from headcount.contact_audit import Checked
from headcount.contact_audit import check as audit_contacts
from headcount.contact_scope import find_contacts
from headcount.quota_words import asked
from headcount.signer_commands import today
from headcount.terminal import FILE, FOLDER, LEDGER, POLICY, SCOPE, hint, progress, read_policy, say
from headcount.trustee_keys import TrusteeFolder
from headcount.trustee_page import Page
from headcount_ledger.reader.fetch import cached, is_url, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.notice import Notice
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import encode_base64, format_day

_DIR = click.option(
    "--dir", "folder", type=FOLDER, default="trustee", show_default=True, help="The trustee's own folder."
)
_PASSPHRASE = click.option(
    "--passphrase-file", type=FILE, help="Its first line is the backup's passphrase; asked for otherwise."
)
_YES = click.option("--yes", is_flag=True, help="Do not ask again.")


@click.group()
def trustee() -> None:
    """Keep one of the keys that open sealed contacts, and open them only when the count says so."""


@trustee.command()
@click.argument("name")
@_DIR
def init(name: str, folder: Path) -> None:
    """Make an identity as NAME, once; it is used in every campaign."""
    identity = TrusteeFolder(folder).create(name)
    say(encode_base64(identity.public_key))
    hint(f"keep {folder} secret; organisers may ask you to confirm this key by telephone")


@trustee.command()
@click.argument("draft", type=FOLDER)
@_DIR
@_PASSPHRASE
@click.option("--ledger", metavar="URL", help="The ledger's address, once the terms are published.")
@click.option("--policy", type=FILE, help="Whom to trust about the ledger (tlog-policy).")
def enrol(
    draft: Path, folder: Path, passphrase_file: Path | None, ledger: str | None, policy: Path | None
) -> None:
    """Answer the DRAFT of a contact scope with a key of its own, or sign the published terms.

    The first time your keys go into manifest.json. Once the organisers have published the terms
    (scope.json), the same command signs exactly these in the ledger: only then do people's programs seal
    anything for you.
    """
    own = TrusteeFolder(folder)
    published = draft / drafts.PUBLISHED
    if not published.exists():
        path = draft / drafts.MANIFEST
        value = trustees.enrol_draft(
            own, drafts.read_manifest(path), lambda: _passphrase(passphrase_file, True)
        )
        if value is not None:
            path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
        say(f"your keys are in {path.name}; once it is published, run this command again")
        hint(f"copy the new .backup file out of {folder}: without it a lost disk is a lost key")
        return
    if ledger is None or policy is None or not is_url(ledger):
        raise click.UsageError("the terms are published: give --ledger (its web address) and --policy")
    try:
        manifest = Manifest.from_bytes(private_file.read(published))
    except MalformedError as exc:
        raise ConfigurationError(f"{published.name}: {exc}") from exc
    trusted = read_policy(policy)
    with HttpTransport() as transport, progress("reading the ledger"):
        view = open_ledger(cached(open_fetch(ledger, transport)), trusted)
        signed = trustees.enrolment(own, manifest, view)
        campaign = find_contacts(view, manifest.scope_id).campaign.manifest
        for line in _terms(manifest, campaign):
            say(line)
        if signed is not None:
            trustees.post(signed, ledger, transport)
    say(f"signed: {manifest.title_text}")
    say(f"  scope {manifest.scope_id.hex()}")


def _terms(manifest: Manifest, campaign: Manifest) -> Iterator[str]:
    """What a trustee signs, in a few lines: organisers may have changed the draft since."""
    if manifest.trustees is not None and manifest.contacts is not None:
        names = ", ".join(trustee.name for trustee in manifest.trustees.members)
        yield f"any {manifest.trustees.t} of these open the contacts: {names}"
        yield f"  if {manifest.threshold} have pledged by {format_day(manifest.closes)}"
        if campaign.quotas is not None:
            yield f"  and {asked(campaign.quotas, len(campaign.options))}"
        for purpose in manifest.contacts.purposes:
            yield f"  for {purpose.name}: {purpose.text[manifest.language]}"


@trustee.command()
@click.argument("backup", type=FILE)
@_DIR
@_PASSPHRASE
def restore(backup: Path, folder: Path, passphrase_file: Path | None) -> None:
    """Bring a key back from its BACKUP."""
    TrusteeFolder(folder).restore(backup, _passphrase(passphrase_file, False))
    say("restored")


@trustee.command()
@LEDGER
@SCOPE
@POLICY
@_DIR
def check(ledger: str, scope_id: ScopeId, policy: Path, folder: Path) -> None:
    """Audit the whole LEDGER and say whether the contacts of SCOPE may be opened."""
    with HttpTransport() as transport:
        _show(_check(folder, ledger, scope_id, policy, transport))


@trustee.command()
@LEDGER
@SCOPE
@POLICY
@_DIR
@_YES
def release(ledger: str, scope_id: ScopeId, policy: Path, folder: Path, yes: bool) -> None:
    """Audit the whole LEDGER and, only if the campaign was reached, publish your key for SCOPE.

    The key and your signature on the count become a notice in the ledger. It cannot be taken back.
    """
    with HttpTransport() as transport:
        checked = _check(folder, ledger, scope_id, policy, transport)
        _show(checked)
        signed = trustees.release(TrusteeFolder(folder), checked, today())
        _publish(signed, ledger, transport, yes, "publish your key? It cannot be taken back")
    say("released")


@trustee.command()
@LEDGER
@SCOPE
@POLICY
@_DIR
@_YES
def destroy(ledger: str, scope_id: ScopeId, policy: Path, folder: Path, yes: bool) -> None:
    """Audit the whole LEDGER and, only if the campaign has failed, destroy your key for SCOPE."""
    with HttpTransport() as transport:
        checked = _check(folder, ledger, scope_id, policy, transport)
        _show(checked)
        if not yes:
            click.confirm("destroy your key?", abort=True, err=True)
        signed = trustees.destroy(TrusteeFolder(folder), checked, today())
        _publish(signed, ledger, transport, True, "")
    say("destroyed")
    hint("destroy every other copy of the backup too")


@trustee.command()
@LEDGER
@SCOPE
@POLICY
@_DIR
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="On loopback; any free one otherwise.")
@click.option("--browser/--no-browser", default=True, help="Whether to open it in the browser.")
def page(ledger: str, scope_id: ScopeId, policy: Path, folder: Path, port: int, browser: bool) -> None:
    """Do all this on a page in the browser of this machine, until it is stopped there.

    Nobody else reaches it: it listens on loopback, and its address has a secret.
    """
    if not is_url(ledger):
        raise click.UsageError("notices are sent to the ledger's web address")
    with HttpTransport() as transport:
        desk = Desk(folder, ledger, scope_id, policy, transport)
        server = make_server("127.0.0.1", port, Flask("page"), threaded=True, request_handler=SilentHandler)
        found = Page(desk, f"127.0.0.1:{server.port}", server.shutdown)
        server.app = found.app()
        say(found.address)
        hint("keep this address to yourself; the page has a button that stops this program")
        if browser:
            webbrowser.open(found.address)
        server.serve_forever()
    say("stopped")


class Desk:
    """The page's hands: the same as the commands'."""

    def __init__(
        self, folder: Path, ledger: str, scope_id: ScopeId, policy: Path, transport: HttpTransport
    ) -> None:
        self._folder = TrusteeFolder(folder)
        self._read: Callable[[], Checked] = lambda: _check(folder, ledger, scope_id, policy, transport)
        self._ledger = ledger
        self._transport = transport
        self.name = self._folder.identity().name

    def check(self) -> Checked:
        """How the campaign stands."""
        return self._read()

    def release(self) -> Checked:
        """Publish the key, if it was reached."""
        checked = self._read()
        signed = trustees.release(self._folder, checked, today())
        _publish(signed, self._ledger, self._transport, True, "")
        return checked

    def destroy(self) -> Checked:
        """Destroy the key, if it has failed."""
        checked = self._read()
        signed = trustees.destroy(self._folder, checked, today())
        _publish(signed, self._ledger, self._transport, True, "")
        return checked


class SilentHandler(WSGIRequestHandler):
    """No line for a request: it would have the secret."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""


def _check(folder: Path, ledger: str, scope_id: ScopeId, policy: Path, transport: HttpTransport) -> Checked:
    trusted = read_policy(policy)
    with progress("recounting") as bar:
        return audit_contacts(
            folder / "state.json", ledger, scope_id, policy=trusted, transport=transport, progress=bar
        )


def _show(checked: Checked) -> None:
    scope = checked.scope
    say(scope.campaign.manifest.title_text)
    say(f"  {checked.sentence}")
    report = checked.report
    say(f"  audited: {report.origin}, {report.size} entries, root {report.root.hex()}")
    say(f"  witnessed by {', '.join(report.cosigners) or 'nobody'}")
    if not checked.is_witnessed:
        hint("your policy asks for no witnesses: the ledger could show others another count than you")
    say(f"  trustees: {scope.trustees.t} of {len(scope.trustees.members)} open")
    for type, word in (("enrolment", "signed"), ("release", "released"), ("destruction", "destroyed")):
        say(f"    {word}: {', '.join(map(scope.name, scope.those_who(type))) or 'nobody'}")
    for name in trustees.misfits(checked):
        say(f"  {name} has released for a seal at which the campaign was not reached")


def _publish(signed: Notice | None, ledger: str, transport: HttpTransport, yes: bool, question: str) -> None:
    if signed is None:
        return
    if not is_url(ledger):
        raise click.UsageError("notices are sent to the ledger's web address")
    if not yes:
        click.confirm(question, abort=True, err=True)
    trustees.post(signed, ledger, transport)


def _passphrase(path: Path | None, confirm: bool) -> str:
    if path is None:
        asked: str = click.prompt(
            "passphrase of the backup", hide_input=True, confirmation_prompt=confirm, err=True
        )
        return asked
    try:
        return private_file.read(path).decode("utf-8").splitlines()[0]
    except (UnicodeDecodeError, IndexError) as exc:
        raise ConfigurationError(f"{path.name} has no passphrase") from exc
