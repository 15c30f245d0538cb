"""``headcount organiser mail | leave-key | leave-page``."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click
from werkzeug.serving import WSGIRequestHandler, make_server

from headcount import contact_key, contact_list, leave, mailing, private_file
from headcount import opening_commands as opening_commands  # its commands are of the same group
from headcount import organiser as organisers
from headcount.contact_audit import pinned
from headcount.contact_scope import find_contacts
from headcount.mailing_state import MailingState
from headcount.notice import post
from headcount.scope_commands import organiser
from headcount.terminal import FILE, FOLDER, LEDGER, POLICY, SCOPE, hint, progress, read_policy, say
from headcount_ledger.reader.fetch import cached, is_url, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.policy import Policy
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_base64, encode_base64

KEY = click.option("--key", required=True, type=FILE, help="The contact key's file.")


def _secure(ctx: click.Context, param: click.Parameter, value: str) -> str:
    # RFC 8058, Section 3.1; a link in clear would tell everybody on the way who leaves what.
    if not re.fullmatch(r"https://[^\s<>\"\\?#]+", value, re.ASCII):
        raise click.BadParameter("an https address")
    return value.rstrip("/")


GONE = click.option("--gone", required=True, type=FILE, help="The file of those who have left.")
SIGN = click.option(
    "--sign", "signers", multiple=True, required=True, type=FILE, help="An organiser's key file."
)
LIST = click.option("--list", "place", required=True, type=FILE, help="The opened contacts.")
TEMPLATE = click.option(
    "--template", required=True, type=FOLDER, help="A folder with a <language>.txt for each."
)
PURPOSE = click.option("--purpose", required=True, help="One of the terms' purposes.")
STATE = click.option(
    "--state", "state_file", required=True, type=FILE, help="How far this mailing is, encrypted."
)
LEAVE_URL = click.option(
    "--leave-url",
    required=True,
    metavar="URL",
    callback=_secure,
    help="Where organiser leave-page is reached (https).",
)


@organiser.command()
@LEDGER
@SCOPE
@POLICY
@KEY
@SIGN
@LIST
@TEMPLATE
@PURPOSE
@STATE
@GONE
@LEAVE_URL
@click.option("--smtp", required=True, metavar="HOST:PORT", help="The mail server.")
@click.option("--sender", required=True, metavar="ADDR", help="Who writes.")
@click.option("--no-tls", is_flag=True, help="Only for a mail server on this machine.")
@click.option("--user", help="At the mail server.")
@click.option("--password-file", type=FILE, help="Its first line is the user's password.")
@click.option("--per-minute", default=60, show_default=True, type=click.IntRange(1), help="Mails at most.")
@click.option("--anew", is_flag=True, help="Send what was announced before once more, to everybody.")
def mail(
    ledger: str,
    scope_id: ScopeId,
    policy: Path,
    key: Path,
    signers: tuple[Path, ...],
    place: Path,
    template: Path,
    purpose: str,
    state_file: Path,
    gone: Path,
    leave_url: str,
    smtp: str,
    sender: str,
    no_tls: bool,
    user: str | None,
    password_file: Path | None,
    per_minute: int,
    anew: bool,
) -> None:
    """Write to the opened contacts of SCOPE, for one of the purposes of its terms.

    The mailing is announced in the ledger before the first mail. Stopped at any point, the same command
    goes on, and nobody gets a second mail. What the server was being given at that moment may have arrived
    or not: it is never sent again, and counted as unknown. The mail server signs (DKIM), and has to sign
    List-Unsubscribe and List-Unsubscribe-Post too, or mailboxes show no button to leave (RFC 8058).
    """
    if not is_url(ledger):
        raise click.UsageError("the mailing is announced at the ledger's web address")
    host, _, port = smtp.rpartition(":")
    if not host or not port.isdecimal():
        raise click.UsageError("--smtp is HOST:PORT")
    password = private_file.read(password_file).decode().splitlines()[0] if password_file else None
    server = mailing.Server(host, int(port), sender, not no_tls, user, password)
    secret, left = contact_key.read(key), leave.Gone(gone)
    contacts = contact_list.read(place, secret)
    with HttpTransport() as transport, MailingState(state_file, secret) as state:
        fetch = pinned(cached(open_fetch(ledger, transport)))
        scope = find_contacts(open_ledger(fetch, Policy.from_bytes(read_policy(policy))), scope_id)
        text = mailing.Template.read(template, scope.manifest.language)
        left.prepare(mailing.is_first(scope.view))
        found = mailing.announce(
            state,
            scope.view,
            contacts,
            text,
            purpose,
            [organisers.read_key(path) for path in signers],
            lambda contact: leave.contact_id(secret, contact) in left.ids(),
            anew=anew,
        )
        post(found.notice, ledger, transport)
        say(f"announced: {len(found.recipients)} mails for {purpose}")
        with progress("mailing") as bar:
            done = mailing.send(
                found,
                state,
                contacts,
                text,
                server,
                contact_key=secret,
                leave_url=leave_url,
                gone=left,
                pause=lambda: time.sleep(60 / per_minute),
                progress=bar,
            )
    for name, number in sorted(done.items()):
        say(f"  {number} {name}")
    if done["put off"]:
        hint("the same command tries those again that were put off")


@organiser.command("leave-key")
@KEY
@click.argument("file", type=FILE)
def write_leave_key(key: Path, file: Path) -> None:
    """Write into FILE what the leave page needs; it opens no contact."""
    private_file.create(file, encode_base64(leave.leave_key(contact_key.read(key))).encode() + b"\n")
    say(f"written: {file}")


@organiser.command("leave-page")
@click.argument("file", type=FILE)
@GONE
@click.option("--port", default=8010, show_default=True, type=click.IntRange(1, 65535))
def leave_page(file: Path, gone: Path, port: int) -> None:
    """Serve the page behind the links in mails, on loopback, with the key in FILE, until stopped.

    A web server with TLS stands before it. It knows no address and keeps no time.
    """
    try:
        key = decode_base64(private_file.read(file).decode("ascii").strip(), leave.KEY_BYTES)
    except (UnicodeDecodeError, MalformedError) as exc:
        raise ConfigurationError(f"{file.name} is no leave key") from exc
    app = leave.leave_app(key, leave.Gone(gone))
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent)
    say(f"http://127.0.0.1:{port}")
    server.serve_forever()


class _Silent(WSGIRequestHandler):
    """No line for a request: it would have a time and a link."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""
