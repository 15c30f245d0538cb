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
from typing import Protocol

from headcount_issuer.address import MAX_CHARS, Address, parse_address
from headcount_issuer.attester import Asking, Proof, Share, Step
from headcount_spec.errors import CodeRefusedError, MalformedError
from headcount_spec.members import LANGUAGE, Members
from headcount_spec.scope import Manifest

CODE_DIGITS = 8
CODE_LIFETIME_S = 600
TRIES = 5


class Outbox(Protocol):
    """Where mail is queued."""

    def check_room(self) -> None:
        """Refuse with UnavailableError while it is full."""
        ...

    def send(self, message: EmailMessage) -> None:
        """Queue one mail, or refuse with UnavailableError."""
        ...


@dataclass(slots=True)
class _Sent(Step):
    """A code is on its way."""

    code: str = field(repr=False)
    proof: Proof = field(repr=False)
    expires_at: int
    tries: int = TRIES


class EmailAttester:
    """Proves control of a mailbox; unique by canonical address."""

    name = "email"
    level = "email"

    def __init__(
        self,
        outbox: Outbox,
        sender: str,
        mails_per_address: int = 5,
        domain_quota: int = 200,
        domain_quotas: Mapping[str, int] | None = None,
        draw_code: Callable[[], str] | None = None,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._mails = _Meter(mails_per_address, CODE_LIFETIME_S)
        self._domain_quota = domain_quota
        self._domain_quotas = dict(domain_quotas or {})
        self._draw_code = _draw_code if draw_code is None else draw_code

    def begin(self, asking: Asking, evidence: Members) -> Step:
        """Send a code to evidence.address; evidence.language chooses the words of the mail."""
        text = evidence.take("address")
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            raise MalformedError("evidence.address: not an e-mail address")
        language = evidence.text("language", 35, LANGUAGE) if evidence.has("language") else None
        evidence.finish()
        address = parse_address(text)
        self._outbox.check_room()
        code = self._draw_code()
        message = compose(self._sender, address, code, asking, language)
        sent = _Sent(code, self._proof(address), asking.now + CODE_LIFETIME_S)
        if self._mails.take(address.canonical, asking.now):
            self._outbox.send(message)
        else:
            sent.tries = 0  # otherwise each session would bring five more guesses at this mailbox
        return sent

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """Compare evidence.code with the one that was sent."""
        assert isinstance(step, _Sent)  # noqa: S101
        code = evidence.take("code")
        evidence.finish()
        if not isinstance(code, str):
            raise MalformedError("evidence.code: not a string")
        if asking.now >= step.expires_at or step.tries <= 0:
            raise CodeRefusedError("the code is wrong or no longer valid")
        step.tries -= 1
        typed = code.replace(" ", "").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(typed, step.code.encode()):
            raise CodeRefusedError("the code is wrong or no longer valid")
        step.tries = 0
        return step.proof

    def _proof(self, address: Address) -> Proof:
        share = None
        if not address.is_large:
            limit = self._domain_quotas.get(address.registrable, self._domain_quota)
            share = Share(b"email domain\0" + address.registrable.encode(), limit)
        return Proof(self.level, (b"email\0" + address.canonical.encode(),), share)


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
    body = words["body"].format(
        title=" ".join(title.split()), site=site, code=code, minutes=CODE_LIFETIME_S // 60
    )
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


def _draw_code() -> str:
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


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
