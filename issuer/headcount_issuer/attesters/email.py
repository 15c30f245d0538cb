"""The e-mail attester: whoever types the code that a mailbox received controls that mailbox.

The code is typed and never a link: mail scanners open links. It works only in the session that asked
for it, once, for ten minutes, and five tries. The answer is the same for every well-formed
address, known or unknown, good or bad; whether mail can be delivered is found out elsewhere and told nobody.
Refused openly are only the domains on a public list of throw-away mailboxes, whoever asks.

Before a mail goes out, the asking program has solved a proof of work, and the hour's budget has room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import ClassVar, Protocol

from headcount_engine.meter import Meter
from headcount_issuer.address import MAX_CHARS, Address, parse_address
from headcount_issuer.attester import Asking, Means, Proof, Share, Step
from headcount_issuer.dkim_key import DkimConfig, DkimKey
from headcount_issuer.letter import compose
from headcount_issuer.mail import Mailer, SmtpConfig
from headcount_issuer.meter import Budget
from headcount_issuer.typed_code import LIFETIME_S, TypedCode, draw_code
from headcount_issuer.work import Work
from headcount_spec.altcha import MAX_NUMBER, MAX_PAYLOAD_CHARS, WorkSolution
from headcount_spec.errors import MalformedError, NotEligibleError
from headcount_spec.jcs import JSON
from headcount_spec.members import LANGUAGE, Members

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
    dkim: DkimConfig | None = None
    work: int = 100_000  # twice the hashes that a program pays for a mail; 0 for none
    mails_per_hour: int = 10_000  # to everybody together; then 429
    mails_per_address: int = 5  # within ten minutes; more are silently not sent
    domain_quota: int = 200  # tokens a registrable mail domain gets in one scope
    domain_quotas: Mapping[str, int] = field(default_factory=dict)  # other numbers for known domains
    disposable: bool = False  # whether domains of throw-away mailboxes are taken, within their quota

    @classmethod
    def read(cls, members: Members, folder: Path) -> EmailConfig:
        """Take it from the node's file."""
        config = cls(
            sender=members.text("sender", 320, _MAILBOX),
            smtp=SmtpConfig.read(members.object("smtp"), folder),
            dkim=DkimConfig.read(members.object("dkim"), folder) if members.has("dkim") else None,
            work=members.integer_or("work", 100_000, 0, MAX_NUMBER),
            mails_per_hour=members.integer_or("mails_per_hour", 10_000, 1, 100_000_000),
            mails_per_address=members.integer_or("mails_per_address", 5, 1, 1000),
            domain_quota=members.integer_or("domain_quota", 200, 1, 10_000_000),
            domain_quotas=_quotas(members),
            disposable=members.boolean("disposable") if members.has("disposable") else False,
        )
        members.finish()
        return config

    def make(self, means: Means) -> EmailAttester:
        """The attester, with a mailer of its own."""
        key = None if self.dkim is None else DkimKey(self.dkim, self.sender.rpartition("@")[2])
        return EmailAttester(self, Mailer(self.smtp, key))


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
        self._mails = Meter(config.mails_per_address, LIFETIME_S)
        self._budget = Budget(config.mails_per_hour)
        self._work = Work(config.work)

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """The proof of work to be solved, if any is asked for."""
        return {"work": self._work.challenge(asking.now).to_json()} if self._work.is_asked else {}

    def begin(self, asking: Asking, evidence: Members) -> Step:
        """Send a code to evidence.address; evidence.language chooses the words of the mail.

        evidence.work is the solution of what challenge gave.
        """
        text = evidence.take("address")
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            raise MalformedError("evidence.address: not an e-mail address")
        language = evidence.text("language", 35, LANGUAGE) if evidence.has("language") else None
        solution = (
            WorkSolution.from_text(evidence.text("work", MAX_PAYLOAD_CHARS)) if evidence.has("work") else None
        )
        evidence.finish()
        address = parse_address(text)
        if address.is_disposable and not self._config.disposable:
            raise NotEligibleError("mailboxes to throw away are not taken here: give an address you keep")
        self.outbox.check_room()
        self._budget.check(asking.now)
        self._work.take(solution, asking.now)
        code = TypedCode(asking.now, self._draw_code)
        message = compose(self._config.sender, address, code.text, asking, language)
        if self._mails.take(address.canonical, asking.now):
            self._budget.take(asking.now)
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
