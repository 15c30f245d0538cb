"""``headcount organiser mail | leave-key | leave-page``."""

from __future__ import annotations

import time
from pathlib import Path

import click
from werkzeug.serving import WSGIRequestHandler, make_server

from headcount import contact_key, leave, mailing, private_file
from headcount import opening_commands as opening_commands  # its commands are of the same group
from headcount.mailing_order import GONE, KEY, MailingOrder, takes_order
from headcount.scope_commands import organiser
from headcount.terminal import FILE, hint, progress, say
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.text import decode_base64, encode_base64

__all__ = ["organiser"]


@organiser.command()
@takes_order
@click.option("--smtp", required=True, metavar="HOST:PORT", help="The mail server.")
@click.option("--sender", required=True, metavar="ADDR", help="Who writes.")
@click.option("--no-tls", is_flag=True, help="Only for a mail server on this machine.")
@click.option("--user", help="At the mail server.")
@click.option("--password-file", type=FILE, help="Its first line is the user's password.")
@click.option("--per-minute", default=60, show_default=True, type=click.IntRange(1), help="Mails at most.")
@click.option("--anew", is_flag=True, help="Send what was announced before once more, to everybody.")
def mail(
    order: MailingOrder,
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
    host, _, port = smtp.rpartition(":")
    if not host or not port.isdecimal():
        raise click.UsageError("--smtp is HOST:PORT")
    password = private_file.read(password_file).decode().splitlines()[0] if password_file else None
    server = mailing.Server(host, int(port), sender, not no_tls, user, password)
    with order.announced(anew=anew) as ready:
        say(f"announced: {len(ready.mailing.recipients)} mails for {order.purpose}")
        with progress("mailing") as bar:
            done = mailing.send(
                ready.mailing,
                ready.state,
                ready.contacts,
                ready.template,
                server,
                contact_key=ready.contact_key,
                leave_url=order.leave_url,
                gone=ready.gone,
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
