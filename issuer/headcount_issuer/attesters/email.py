"""The e-mail attester: whoever types the code that a mailbox received controls that mailbox.

The code is typed and never a link: mail scanners open links. It works only in the session that asked
for it, once, for ten minutes, and five tries. The answer is the same for every well-formed
address, known or unknown, good or bad; whether mail can be delivered is found out elsewhere and told nobody.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Protocol

from headcount_issuer.address import MAX_CHARS, Address, parse_address
from headcount_issuer.attester import Asking, Means, Proof, Share, Step
from headcount_issuer.mail import Mailer, SmtpConfig
from headcount_issuer.typed_code import LIFETIME_S, TypedCode, draw_code
from headcount_spec.errors import MalformedError
from headcount_spec.jcs import JSON
from headcount_spec.members import LANGUAGE, Members
from headcount_spec.scope import Manifest

_MAILBOX = re.compile(r"\A[A-Za-z0-9._-]{1,64}@[a-z0-9.-]{1,253}\Z")
_DOMAIN = re.compile(r"\A[a-z0-9-]+(?:\.[a-z0-9-]+)+\Z")


class Outbox(Protocol):
    """Where mail is queued."""

    def check_room(self) -> None:
        """Refuse with UnavailableError while it is full."""
        ...

    def send(self, message: EmailMessage) -> None:
        """Queue one mail, or refuse with UnavailableError."""
        ...

    def close(self) -> None:
        """Stop; what waits is lost."""
        ...


@dataclass(frozen=True, slots=True)
class EmailConfig:
    """The table ``[issuer.attesters.email]``."""

    name: ClassVar[str] = "email"

    sender: str  # the address in From
    smtp: SmtpConfig
    mails_per_address: int = 5  # within ten minutes; more are silently not sent
    domain_quota: int = 200  # tokens a registrable mail domain gets in one scope
    domain_quotas: Mapping[str, int] = field(default_factory=dict)  # other numbers for known domains

    @classmethod
    def read(cls, members: Members, folder: Path) -> EmailConfig:
        """Take it from the node's file."""
        config = cls(
            sender=members.text("sender", 320, _MAILBOX),
            smtp=SmtpConfig.read(members.object("smtp"), folder),
            mails_per_address=members.integer_or("mails_per_address", 5, 1, 1000),
            domain_quota=members.integer_or("domain_quota", 200, 1, 10_000_000),
            domain_quotas=_quotas(members),
        )
        members.finish()
        return config

    def make(self, means: Means) -> EmailAttester:
        """The attester, with a mailer of its own."""
        return EmailAttester(self, Mailer(self.smtp))


def _quotas(members: Members) -> Mapping[str, int]:
    if not members.has("domain_quotas"):
        return {}
    value = members.take("domain_quotas")
    path = f"{members.path}.domain_quotas"
    if not isinstance(value, dict) or not all(map(_DOMAIN.match, value)):
        raise MalformedError(f"{path}: not a table of registrable domains")
    inner = Members(value, path)
    return {domain: inner.integer(domain, 1) for domain in value}


@dataclass(slots=True)
class _Sent(Step):
    """A code is on its way."""

    code: TypedCode = field(repr=False)
    proof: Proof = field(repr=False)


class EmailAttester:
    """Proves control of a mailbox; unique by canonical address."""

    name = "email"

    def __init__(self, config: EmailConfig, outbox: Outbox, draw_code: Callable[[], str] = draw_code) -> None:
        self._config = config
        self.outbox = outbox
        self._draw_code = draw_code
        self._mails = _Meter(config.mails_per_address, LIFETIME_S)

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """Nothing."""
        return {}

    def begin(self, asking: Asking, evidence: Members) -> Step:
        """Send a code to evidence.address; evidence.language chooses the words of the mail."""
        text = evidence.take("address")
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            raise MalformedError("evidence.address: not an e-mail address")
        language = evidence.text("language", 35, LANGUAGE) if evidence.has("language") else None
        evidence.finish()
        address = parse_address(text)
        self.outbox.check_room()
        code = TypedCode(asking.now, self._draw_code)
        message = compose(self._config.sender, address, code.text, asking, language)
        if self._mails.take(address.canonical, asking.now):
            self.outbox.send(message)
        else:
            code.void()  # otherwise each session would bring five more guesses at this mailbox
        return _Sent(code, self._proof(address))

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """Compare evidence.code with the one that was sent."""
        assert isinstance(step, _Sent)  # noqa: S101
        typed = evidence.take("code")
        evidence.finish()
        step.code.check(typed, asking.now)
        return step.proof

    def close(self) -> None:
        """Stop handing in mail."""
        self.outbox.close()

    def _proof(self, address: Address) -> Proof:
        share = None
        if not address.is_large:
            limit = self._config.domain_quotas.get(address.registrable, self._config.domain_quota)
            share = Share(b"email domain\0" + address.registrable.encode(), limit)
        return Proof(self.name, (b"email\0" + address.canonical.encode(),), share)


def compose(
    sender: str, address: Address, code: str, asking: Asking, language: str | None = None
) -> EmailMessage:
    """The mail with a code: plain text, no link, nothing that reports back."""
    words = _words(asking.manifest, language)
    title = asking.manifest.title.get(words["language"], asking.manifest.title_text)
    site = asking.site.split("://", 1)[-1]
    local, domain = address.deliver_to.rsplit("@", 1)
    message = EmailMessage(SMTP if address.deliver_to.isascii() else SMTPUTF8)
    message["From"] = sender
    message["To"] = HeaderAddress(username=local, domain=domain)
    message["Subject"] = words["subject"]
    message["Date"] = datetime.fromtimestamp(asking.now, UTC)
    message["Message-ID"] = f"<{secrets.token_hex(16)}@{sender.rsplit('@', 1)[1]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply, please
    body = words["body"].format(title=" ".join(title.split()), site=site, code=code, minutes=LIFETIME_S // 60)
    message.set_content(body, cte="quoted-printable")
    message["Content-Language"] = words["language"]
    return message


def _words(manifest: Manifest, language: str | None) -> Mapping[str, str]:
    catalogue = _catalogue()
    for wanted in (language, manifest.language, "en"):
        if wanted is not None and wanted.split("-")[0] in catalogue:
            return catalogue[wanted.split("-")[0]]
    return catalogue["en"]


@functools.cache
def _catalogue() -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = json.loads(
        files("headcount_issuer.attesters").joinpath("email.json").read_text("utf-8")
    )
    return {
        language: {"language": language, "subject": text["subject"], "body": "\n".join(text["body"]) + "\n"}
        for language, text in texts.items()
    }


class _Meter:
    """At most so many mails to one mailbox in a stretch of time, in memory, under a key that dies with it.

    It stops the flooding of a stranger's mailbox, and it caps the guesses at one mailbox's codes: what
    was not sent cannot be typed.
    """

    def __init__(self, maximum: int, stretch_s: int) -> None:
        self._maximum = maximum
        self._stretch_s = stretch_s
        self._lock = threading.Lock()
        self._began_at = 0
        self._key = b""
        self._counts: Counter[bytes] = Counter()

    def take(self, value: str, now: int) -> bool:
        with self._lock:
            if not self._began_at <= now < self._began_at + self._stretch_s:
                self._began_at, self._key = now, secrets.token_bytes(32)
                self._counts = Counter()
            mark = hmac.new(self._key, value.encode(), hashlib.sha256).digest()
            self._counts[mark] += 1
            return self._counts[mark] <= self._maximum
