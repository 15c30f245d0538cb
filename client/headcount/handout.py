"""Writing by other ways than mail: Matrix, Signal and telephone have no server here that could send.

What is handed out is a mailing like any other: announced in the ledger for a purpose of the terms before
anything leaves, its state encrypted, those who have left skipped. The organiser's own program or people take
it from there. E-mail addresses are never handed out: they leave by mailing alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

from headcount import leave
from headcount.contact_list import ContactList
from headcount.mailing import Mailing, Template
from headcount.mailing_state import MailingState, Outcome
from headcount_spec.contact import CHANNELS, MATRIX, PHONE

HANDED_OUT = {name: type for name, type in CHANNELS.items() if type in (MATRIX, PHONE)}
COLUMNS = ("channel", "value", "text")


@dataclass(frozen=True, slots=True)
class Row:
    """One message to one person."""

    channel: str
    value: str
    text: str  # with the reader's own link to leave by


def rows(
    mailing: Mailing,
    contacts: ContactList,
    template: Template,
    *,
    contact_key: bytes,
    leave_url: str,
    gone: leave.Gone,
) -> Iterator[tuple[int, Row]]:
    """The messages of a mailing by their places in the list, without those to people who have left."""
    key = leave.leave_key(contact_key)
    for place in mailing.recipients:
        contact = contacts.contacts[place]
        id = leave.contact_id(contact_key, contact)
        if id not in gone.ids():
            link = f"{leave_url}/leave/{leave.make_token(key, id)}"
            yield place, Row(contact.channel, contact.value, template.text(link))


def note(state: MailingState, places: Iterator[int]) -> None:
    """Write down that these were handed out."""
    for place in places:
        if state.outcomes.get(place) != Outcome.SENT:
            state.note(place, Outcome.SENT)


def as_csv(found: list[Row]) -> bytes:
    """RFC 4180, with a header line."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((row.channel, row.value, row.text) for row in found)
    return text.getvalue().encode()


def as_lines(found: list[Row]) -> bytes:
    """JSON lines."""
    values = ({"channel": row.channel, "value": row.value, "text": row.text} for row in found)
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
