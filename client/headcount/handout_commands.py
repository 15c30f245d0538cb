"""``headcount organiser hand-out | bounces``: contacts without mail, and mails that came back."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from headcount import bounce, contact_key, contact_list, handout, leave, mailing, private_file
from headcount.mailing_commands import organiser
from headcount.mailing_order import GONE, KEY, LIST, MailingOrder, takes_order
from headcount.mailing_state import MailingState
from headcount.terminal import FILE, hint, say

__all__ = ["organiser"]


@organiser.command("hand-out")
@takes_order
@click.option("--channel", required=True, type=click.Choice(sorted(handout.HANDED_OUT)))
@click.option("--out", required=True, type=FILE, help="A .csv file, or JSON lines under any other name.")
def hand_out(order: MailingOrder, channel: str, out: Path) -> None:
    """Write the messages to those who left a Matrix address or a telephone number into a file.

    It is announced in the ledger first, like every mailing. E-mail addresses are never handed out.
    """
    with order.announced(handout.HANDED_OUT[channel]) as ready:
        said = dict(
            handout.rows(
                ready.mailing,
                ready.contacts,
                ready.template,
                contact_key=ready.contact_key,
                leave_url=order.leave_url,
                gone=ready.gone,
            )
        )
        make = handout.as_csv if out.suffix == ".csv" else handout.as_lines
        private_file.write(out, make(list(said.values())))
        handout.note(ready.state, iter(said))
    say(f"announced: {len(ready.mailing.recipients)} messages for {order.purpose}")
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
