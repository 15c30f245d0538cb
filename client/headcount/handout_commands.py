"""``headcount organiser hand-out | bounces``: contacts without mail, and mails that came back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from headcount import bounce, contact_key, contact_list, handout, leave, mailing, private_file
from headcount import organiser as organisers
from headcount.contact_audit import pinned
from headcount.contact_scope import find_contacts
from headcount.mailing_commands import GONE, KEY, LEAVE_URL, LIST, PURPOSE, SIGN, STATE, TEMPLATE
from headcount.mailing_state import MailingState
from headcount.notice import post
from headcount.scope_commands import organiser
from headcount.terminal import FILE, LEDGER, POLICY, SCOPE, hint, read_policy, say
from headcount_ledger.reader.fetch import cached, is_url, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.policy import Policy
from headcount_spec.scope import ScopeId

__all__ = ["organiser"]


@organiser.command("hand-out")
@LEDGER
@SCOPE
@POLICY
@click.option("--channel", required=True, type=click.Choice(sorted(handout.HANDED_OUT)))
@KEY
@SIGN
@LIST
@TEMPLATE
@PURPOSE
@STATE
@GONE
@LEAVE_URL
@click.option("--out", required=True, type=FILE, help="A .csv file, or JSON lines under any other name.")
def hand_out(
    ledger: str,
    scope_id: ScopeId,
    policy: Path,
    channel: str,
    key: Path,
    signers: tuple[Path, ...],
    place: Path,
    template: Path,
    purpose: str,
    state_file: Path,
    gone: Path,
    leave_url: str,
    out: Path,
) -> None:
    """Write the messages to those who left a Matrix address or a telephone number into a file.

    It is announced in the ledger first, like every mailing. E-mail addresses are never handed out.
    """
    if not is_url(ledger):
        raise click.UsageError("it is announced at the ledger's web address")
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
            handout.HANDED_OUT[channel],
        )
        post(found.notice, ledger, transport)
        said = dict(handout.rows(found, contacts, text, contact_key=secret, leave_url=leave_url, gone=left))
        make = handout.as_csv if out.suffix == ".csv" else handout.as_lines
        private_file.write(out, make(list(said.values())))
        handout.note(state, iter(said))
    say(f"announced: {len(found.recipients)} messages for {purpose}")
    say(f"handed out: {len(said)} in {out}")
    hint(f"delete {out} once they are sent: it is the only place with these contacts in clear")


@organiser.command()
@click.argument("box", type=click.Path(path_type=Path, exists=True))
@KEY
@LIST
@click.option(
    "--state", "states", multiple=True, required=True, type=FILE, help="Of a mailing; may be repeated."
)
@GONE
def bounces(box: Path, key: Path, place: Path, states: tuple[Path, ...], gone: Path) -> None:
    """Read the mails that came back out of BOX: a Maildir, an mbox file, or a file with one mail.

    Addresses that do not exist get no more mail. The same mails again change nothing.
    """
    secret = contact_key.read(key)
    contacts = contact_list.read(place, secret)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(MailingState(path, secret)) for path in states]
        sent = [(mailing.read(state), state) for state in opened]
        done = bounce.note(bounce.read_box(box), sent, contacts, secret, leave.Gone(gone))
    say(f"bounced: {done['bounced']}; {done['dropped']} addresses get no more mail")
    if done["late"]:
        say(f"  {done['late']} are late, and still tried")
    if done["other"]:
        say(f"  {done['other']} other mails, passed over")
