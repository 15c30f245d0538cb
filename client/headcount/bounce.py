"""Mails that come back after they were taken: delivery status notifications, RFC 3464.

They arrive in the sender's mailbox, which the organiser hands over as a file or a Maildir. A mail is found
again by its Message-ID, which leads to a reader only with the contact key and the state of the mailing. Who
can forge a bounce is who has seen the mail: its reader, and the servers on the way.
"""

from __future__ import annotations

import email
import email.errors
import mailbox
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from headcount import leave
from headcount.contact_list import ContactList
from headcount.mail_status import is_dead, read_status
from headcount.mailing import Mailing
from headcount.mailing_state import MailingState, Outcome
from headcount_spec.errors import ConfigurationError

MAX_BYTES = 2**20  # of one mail; a bounce has the headers of the mail, or the whole of ours
_ID = re.compile(r"<([a-z2-7]{32})@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bounce:
    """What a notification says about one mail of ours."""

    message_id: str  # the left part, lowercase
    is_final: bool  # it was given up; otherwise it is late
    is_dead: bool  # there is no such address


def read_box(path: Path) -> Iterator[bytes]:
    """The mails of a Maildir, an mbox file, or a file with one mail.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        if path.is_dir():
            for folder in ("new", "cur", "."):
                for file in sorted((path / folder).glob("*")):
                    if file.is_file():
                        yield _head(file)
        elif _head(path)[:5] == b"From ":
            box = mailbox.mbox(path, create=False)
            try:
                yield from (box.get_bytes(key)[:MAX_BYTES] for key in box.iterkeys())
            finally:
                box.close()
        else:
            yield _head(path)
    except (OSError, mailbox.Error) as exc:
        raise ConfigurationError(f"cannot read {path.name}") from exc


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES)


def parse(data: bytes) -> Bounce | None:
    """What one mail of the mailbox says; None if it is no notification about a mail of ours."""
    try:
        message = email.message_from_bytes(data)
        if message.get_content_type() != "multipart/report" or not message.is_multipart():
            return None
        parts = [part for part in message.walk() if part is not message]
        status = next((part for part in parts if part.get_content_type() == "message/delivery-status"), None)
        id = _original_id(parts)
        if status is None or id is None or not status.is_multipart():
            return None
        return _verdict(id, [group for group in status.walk() if group is not status])
    except (email.errors.MessageError, ValueError, LookupError, AttributeError, TypeError):
        return None  # what the parser of mails makes of what is none


def _verdict(id: str, groups: Sequence[Message]) -> Bounce | None:
    actions = {str(group.get("Action", "")).strip().lower() for group in groups}
    codes = [read_status(str(group.get("Status", ""))) for group in groups]
    if "failed" in actions and any(code is not None and code[0] == "5" for code in codes):
        return Bounce(id, True, any(map(is_dead, codes)))
    # Given up after days of trying (4.x.x), or still being tried: the address may be good.
    return Bounce(id, "failed" in actions, False) if actions & {"failed", "delayed"} else None


def _original_id(parts: Iterable[Message]) -> str | None:
    for part in parts:
        kind = part.get_content_type()
        headers: Message | None = None
        if kind == "message/rfc822" and part.is_multipart():
            inner = part.get_payload()
            headers = (
                inner[0] if isinstance(inner, list) and inner and isinstance(inner[0], Message) else None
            )
        elif kind == "text/rfc822-headers":
            raw = part.get_payload(decode=True)
            headers = email.message_from_bytes(raw) if isinstance(raw, bytes) else None
        found = _ID.search(str(headers.get("Message-ID", ""))) if headers is not None else None
        if found is not None:
            return found[1].lower()
    return None


def note(
    mails: Iterable[bytes],
    sent: Sequence[tuple[Mailing, MailingState]],
    contacts: ContactList,
    contact_key: bytes,
    gone: leave.Gone,
) -> Counter[str]:
    """Write down what has come back; addresses that do not exist are dropped.

    The same mails again change nothing. How many have bounced, are late, were dropped, or are other mails.
    """
    places = {
        mailing.message_id(contact_key, place): (state, place)
        for mailing, state in sent
        for place in mailing.recipients
    }
    counted: Counter[str] = Counter()
    for data in mails:
        bounce = parse(data)
        found = None if bounce is None else places.get(bounce.message_id)
        if bounce is None or found is None:
            counted["other"] += 1
            continue
        if not bounce.is_final:
            counted["late"] += 1
            continue
        state, place = found
        counted["bounced"] += 1
        if state.outcomes.get(place) != Outcome.BOUNCED:
            state.note(place, Outcome.BOUNCED)
        if bounce.is_dead:
            counted["dropped"] += 1
            gone.add(leave.contact_id(contact_key, contacts.contacts[place]))
    return counted
