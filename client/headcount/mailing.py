"""Mailings to the opened contacts: announced in the ledger first, one mail a person, never two.

Nothing is sent for a purpose that the terms do not have; the first mailing is for their first purpose. A mail
has all languages of the template, since nobody knows which one its reader speaks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import smtplib
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate
from pathlib import Path

from headcount import leave, private_file
from headcount.contact_list import ContactList, derive
from headcount.mail_status import is_dead, read_status
from headcount.mailing_state import MailingState, Outcome
from headcount.notice import next_notice
from headcount.scope_view import ScopeView
from headcount_spec.contact import EMAIL, Contact
from headcount_spec.errors import ConfigurationError, MalformedError, NotEligibleError, UnavailableError
from headcount_spec.jcs import canonicalise, parse_json
from headcount_spec.members import LANGUAGE, Members
from headcount_spec.notice import Notice
from headcount_spec.text import encode_base64, is_plain
from headcount_spec.wire import u32

LEAVE = "{leave}"  # stands once in every language's text
_SUBJECT = "Subject: "
_MESSAGE_ID_BYTES = 20  # 32 characters of base32: mail servers may change the case
_TIMEOUT_S = 30.0
_POLICY = SMTP_POLICY.clone(max_line_length=998)  # RFC 5322: links of headers stay in one piece


@dataclass(frozen=True, slots=True)
class Template:
    """A mail in one or more languages."""

    texts: Mapping[str, tuple[str, str]]  # language → subject, body; the main language first

    @classmethod
    def read(cls, folder: Path, main: str) -> Template:
        """The files <language>.txt of a folder: a line "Subject: …", an empty line, a text with {leave}.

        Raises:
            ConfigurationError: there is none in the main language, or one is not like that.
        """
        found = {}
        for path in sorted(folder.glob("*.txt"), key=lambda path: (path.stem != main, path.stem)):
            try:
                text = private_file.read(path).decode("utf-8")
            except UnicodeDecodeError as exc:
                raise ConfigurationError(f"{path.name} is not UTF-8") from exc
            head, _, body = text.partition("\n\n")
            subject = head.removeprefix(_SUBJECT)
            good = head.startswith(_SUBJECT) and "\n" not in head and subject and body.count(LEAVE) == 1
            if not good or not is_plain(text) or not LANGUAGE.match(path.stem):
                raise ConfigurationError(f"{path.name} is no subject, empty line and text with {LEAVE}")
            found[path.stem] = (subject, body)
        if main not in found:
            raise ConfigurationError(f"there is no {main}.txt among the templates")
        return cls(found)

    @property
    def hash(self) -> bytes:
        """What the notice has of it: SHA-256 of {language: [subject, body]} in the form of RFC 8785."""
        value = {language: list(text) for language, text in self.texts.items()}
        return hashlib.sha256(canonicalise(value)).digest()

    def text(self, link: str) -> str:
        """All of its languages, with the link to leave by."""
        return "\n\n* * *\n\n".join(body.replace(LEAVE, link) for _, body in self.texts.values())

    def message(self, to: Contact, sender: str, link: str, id: str) -> EmailMessage:
        """The mail to one person; id is the left part of its Message-ID."""
        message = EmailMessage(policy=_POLICY)
        message["From"], message["To"] = sender, to.value
        message["Subject"] = next(iter(self.texts.values()))[0]
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = f"<{id}@{sender.rpartition('@')[2]}>"
        message["List-Unsubscribe"] = f"<{link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834
        text = self.text(link)
        # No 8-bit bytes: a server on the way that has to change them breaks the signature (DKIM).
        message.set_content(text, cte=None if text.isascii() else "quoted-printable")
        return message


@dataclass(frozen=True, slots=True)
class Server:
    """The mail server that takes the mails."""

    host: str
    port: int
    sender: str
    tls: bool = True  # STARTTLS; without it only on this machine
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def connect(self) -> smtplib.SMTP:
        """A session, encrypted and authenticated as configured.

        Raises:
            UnavailableError: there is none to be had.
        """
        if not self.tls and self.host not in ("localhost", "127.0.0.1"):
            raise ConfigurationError("mail leaves this machine by TLS only")
        try:
            session = smtplib.SMTP(self.host, self.port, timeout=_TIMEOUT_S)
        except (OSError, smtplib.SMTPException) as exc:
            raise UnavailableError("the mail server cannot be reached") from exc
        try:
            if self.tls:
                session.starttls(context=ssl.create_default_context())
            session.ehlo_or_helo_if_needed()
            if self.user is not None:
                session.login(self.user, self.password or "")
        except (OSError, smtplib.SMTPException) as exc:
            session.close()
            raise UnavailableError("the mail server does not let us in") from exc
        return session


@dataclass(frozen=True, slots=True)
class Mailing:
    """One mailing as it was announced."""

    notice: Notice
    recipients: tuple[int, ...]  # places in the list

    def message_id(self, contact_key: bytes, place: int) -> str:
        """What names one mail, 32 characters; only the contact key leads from it to a reader."""
        what = hashlib.sha256(self.notice.to_bytes()).digest() + u32(place)
        id = hmac.digest(derive(contact_key, b"message"), what, "sha256")[:_MESSAGE_ID_BYTES]
        return base64.b32encode(id).decode("ascii").lower()


def is_first(scope: ScopeView) -> bool:
    """Whether no mailing stands in the ledger yet."""
    return all(item.statement.type != "mailing" for item in scope.notices)


def announce(
    state: MailingState,
    scope: ScopeView,
    contacts: ContactList,
    template: Template,
    purpose: str,
    seeds: Sequence[bytes],
    skip: Callable[[Contact], bool],
    channel: int = EMAIL,
    *,
    anew: bool = False,
) -> Mailing:
    """The mailing of this state: the one that was begun, or a new one, on the disk before it is said.

    The notice has to reach the ledger before the first mail. anew: to write the same mail again, which a
    state that was lost or misspelt would do too.

    Raises:
        NotEligibleError: another scope's list, a purpose that the terms do not have, or not the first one
            for the first mailing, the same mail as before, or nobody to write to.
        ConfigurationError: the state is of a mailing with another template or purpose.
        UnknownKeyError: too few organisers' keys.
    """
    manifest = scope.manifest
    if manifest.contacts is None or contacts.scope_id != manifest.scope_id:
        raise NotEligibleError("the list is of another scope")
    if state.exists():
        mailing = read(state)
        body = mailing.notice.statement.body
        if (body["template"], body["purpose"]) != (template.hash.hex(), purpose):
            raise ConfigurationError("the state is of another mailing; give this one a file of its own")
        return mailing
    purposes = [item.name for item in manifest.contacts.purposes]
    if purpose not in purposes:
        raise NotEligibleError(f"the terms do not allow mail for this; only for {', '.join(purposes)}")
    if is_first(scope) and purpose != purposes[0]:
        raise NotEligibleError(f"the first mailing is for {purposes[0]}")
    said = ({**item.statement.body, "type": item.statement.type} for item in scope.notices)
    same = {"type": "mailing", "template": template.hash.hex(), "purpose": purpose}
    if channel == EMAIL and not anew and any(same.items() <= body.items() for body in said):
        raise NotEligibleError("this mail was announced before: go on with its state, or say --anew")
    places = (
        i for i, contact in enumerate(contacts.contacts) if contact.type == channel and not skip(contact)
    )
    recipients = tuple(places)
    if not recipients:
        raise NotEligibleError("there is nobody to write to")
    body = {"template": template.hash.hex(), "number": len(recipients), "purpose": purpose}
    mailing = Mailing(next_notice(scope, "mailing", body, seeds), recipients)
    value = {"notice": encode_base64(mailing.notice.to_bytes()), "recipients": list(recipients)}
    state.begin(canonicalise(value))
    return mailing


def read(state: MailingState) -> Mailing:
    """The mailing that was begun in this state.

    Raises:
        ConfigurationError: it cannot be read, or is of another key.
    """
    try:
        members = Members(parse_json(state.load(), 2**30), "mailing")
        notice = members.base64("notice", Notice.from_bytes)
        recipients = members.take("recipients")
        members.finish()
    except MalformedError as exc:
        raise ConfigurationError(f"not the state of a mailing: {exc}") from exc
    if not isinstance(recipients, list) or not all(isinstance(place, int) for place in recipients):
        raise ConfigurationError("not the state of a mailing")
    return Mailing(notice, tuple(recipients))


def send(
    mailing: Mailing,
    state: MailingState,
    contacts: ContactList,
    template: Template,
    server: Server,
    *,
    contact_key: bytes,
    leave_url: str,
    gone: leave.Gone,
    pause: Callable[[], None],
    progress: Callable[[int, int], None] | None = None,
) -> Counter[str]:
    """Send what was not sent yet; how many are sent, refused, put off, unknown or gone.

    pause is called before each mail. leave_url is where the page of leave_app stands.

    Raises:
        UnavailableError: the server has gone; called again it goes on, and nobody gets a second mail.
    """
    session: smtplib.SMTP | None = None
    key = leave.leave_key(contact_key)
    try:
        for done, place in enumerate(mailing.recipients, 1):
            contact = contacts.contacts[place]
            id = leave.contact_id(contact_key, contact)
            if state.outcomes.get(place, Outcome.PUT_OFF) == Outcome.PUT_OFF and id not in gone.ids():
                pause()
                session = session or server.connect()
                link = f"{leave_url}/leave/{leave.make_token(key, id)}"
                name = mailing.message_id(contact_key, place)
                try:
                    message = template.message(contact, server.sender, link, name)
                except ValueError:  # no header can have this address: one reader must not stop the others
                    state.note(place, Outcome.REFUSED)
                    continue
                if not _deliver(session, server.sender, contact, message, state, place):
                    gone.add(id)
            if progress is not None:
                progress(done, len(mailing.recipients))
    finally:
        if session is not None:
            session.close()
    return summary(mailing, state, contacts, contact_key, gone)


def summary(
    mailing: Mailing, state: MailingState, contacts: ContactList, contact_key: bytes, gone: leave.Gone
) -> Counter[str]:
    """How many mails are sent, refused, put off, unknown, or not sent since their reader has left."""
    names = {
        Outcome.SENT: "sent",
        Outcome.REFUSED: "refused",
        Outcome.TRYING: "unknown",
        Outcome.BOUNCED: "bounced",
    }
    found: Counter[str] = Counter()
    left = gone.ids()
    for place in mailing.recipients:
        is_gone = leave.contact_id(contact_key, contacts.contacts[place]) in left
        outcome = state.outcomes.get(place, Outcome.PUT_OFF)
        found[names.get(outcome, "left" if is_gone else "put off")] += 1
    return found


def _deliver(
    session: smtplib.SMTP,
    sender: str,
    contact: Contact,
    message: EmailMessage,
    state: MailingState,
    place: int,
) -> bool:
    """Hand one mail over; whether there is such an address.

    RFC 5321, Section 4.2.1: 2yz taken, 4yz later, 5yz never. But only what is said about the address drops
    it: a server that does not relay for us refuses everybody, and nothing has left that could arrive twice.
    """
    is_ascii = contact.value.isascii()
    if not is_ascii and not session.has_extn("smtputf8"):
        state.note(place, Outcome.PUT_OFF)  # by another server, perhaps
        return True
    try:
        session.rset()
        code, _ = session.mail(sender, [] if is_ascii else ["SMTPUTF8", "BODY=8BITMIME"])
        if code != 250:
            raise UnavailableError("the mail server refuses our sender")
        code, said = session.rcpt(contact.value)
        if code not in (250, 251):
            has_nobody = code >= 500 and is_dead(read_status(said.decode("ascii", "replace")))
            state.note(place, Outcome.REFUSED if has_nobody else Outcome.PUT_OFF)
            return not has_nobody
    except (OSError, smtplib.SMTPException) as exc:
        raise UnavailableError("the mail server has gone") from exc  # before the text had left
    state.note(place, Outcome.TRYING)
    try:
        code, _ = session.data(message.as_bytes(policy=_POLICY.clone(utf8=not is_ascii)))
    except smtplib.SMTPDataError as exc:
        code = exc.smtp_code  # it does not want the text
    except (OSError, smtplib.SMTPException) as exc:
        raise UnavailableError("the mail server has gone in the middle of a mail") from exc
    if code == 250:
        state.note(place, Outcome.SENT)
    else:
        state.note(place, Outcome.REFUSED if code >= 500 else Outcome.PUT_OFF)
    return True
