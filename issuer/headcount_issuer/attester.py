"""Attesters: who is a person, and what makes two proofs the same person's.

An attester turns evidence into a Proof: what it proves, and *uniqueness inputs*, byte strings
that are equal whenever the person is the same. Inputs are keyed (HMAC under the scope's key) before
they are stored; in clear they live in memory, in a session, for minutes.

Evidence in one step: ``begin`` returns the proof (a code from a sheet). In two: ``begin`` returns a Step
(a mail was sent) which the session keeps, and ``finish`` turns it and the second evidence into the proof.
Evidence that only a page of the issuer can take (a log-in elsewhere, a passkey) comes by a PageStep:
``pages`` shows and takes it, and the second evidence is a code that the page shows at the end.

Each attester is a module of ``attesters``, with the dataclass of its table in the node's TOML file, whose
``make`` makes the attester. It has one name, in the file, in manifests and in levels.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from headcount_issuer.typed_code import TypedCode
from headcount_spec.errors import CodeRefusedError
from headcount_spec.jcs import JSON
from headcount_spec.members import Members
from headcount_spec.scope import Manifest, ScopeId

if TYPE_CHECKING:  # accounts imports this module
    from headcount_issuer.accounts import Accounts


RETURN_PATH = "/prove/return"  # where a browser comes back to a page from elsewhere
WALLET_PATH = "/prove/wallet"  # where a wallet posts its answer


@dataclass(frozen=True, slots=True)
class Share:
    """Of those who share a group, such as a mail domain, at most limit get a token in a scope."""

    group: bytes = field(repr=False)
    limit: int


@dataclass(frozen=True, slots=True)
class Proof:
    """That somebody is a person, and which one."""

    proves: str  # part of a level: the attester's name, or that of the check which it stands for
    inputs: tuple[bytes, ...] = field(repr=False)  # each is used up; one already used refuses
    share: Share | None = None
    lasting: bool = True  # the same person has the same inputs in every scope; not so with slips
    remembered: bool = False  # of somebody who came back: the inputs are pseudonyms already (module person)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and for what."""

    manifest: Manifest
    site: str  # origin of the page that asks, or the first of the manifest's
    now: int  # seconds since 1970


class Step:
    """What an attester remembers between the two steps; each has its own subclass."""

    @property
    def answer(self) -> Mapping[str, JSON]:
        """What the client is told besides, such as a challenge to sign."""
        return {}


@dataclass(slots=True)
class PageStep(Step):
    """The proof is made on a page of the issuer; the code that it shows then is the second evidence.

    The code goes by way of the person: who sends a stranger the address of a page, to have the stranger
    prove themselves for the sender's session, still lacks it.
    """

    proof: Proof | None = field(default=None, repr=False)
    code: TypedCode | None = field(default=None, repr=False)

    def complete(self, proof: Proof, now: int) -> str:
        """Keep the proof; the code to be shown."""
        self.proof, self.code = proof, TypedCode(now)
        return self.code.text

    def finish(self, evidence: Members, now: int) -> Proof:
        """Take evidence.code.

        Raises:
            CodeRefusedError: the page is not finished, or the code is wrong or late; a try is used up.
        """
        typed = evidence.take("code")
        evidence.finish()
        if self.code is None or self.proof is None:
            raise CodeRefusedError("the page of the issuer is not finished yet")
        self.code.check(typed, now)
        return self.proof


@dataclass(frozen=True, slots=True)
class View:
    """A page to be shown: a template of this package, and what it says."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    has_script: bool = False  # the template's inline script, marked with {{ nonce }}


@dataclass(frozen=True, slots=True)
class Redirect:
    """Elsewhere, and the browser comes back to RETURN_PATH with the page's next token as ``state``."""

    url: str


class Attester(Protocol):
    """One way to prove to be a person."""

    @property
    def name(self) -> str:
        """As manifests list it and levels are made of."""
        ...

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """What the first evidence must answer, such as a proof of work; empty for most.

        Raises:
            UnavailableError: not now.
        """
        ...

    def begin(self, asking: Asking, evidence: Members) -> Proof | Step:
        """Take the first evidence; all of its members.

        The answer and its timing must not depend on whether the person is known.

        Raises:
            MalformedError: the evidence has another form.
            CodeRefusedError, NotEligibleError: it proves nothing here.
            RateLimitedError, UnavailableError: not now.
        """
        ...

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """Take the second evidence. The session calls this from one thread at a time, never with a PageStep.

        Raises:
            MalformedError: the evidence has another form.
            CodeRefusedError: it is wrong or late; a try is used up.
        """
        ...

    def close(self) -> None:
        """Stop what runs in the background."""
        ...


class PageAttester(Attester, Protocol):
    """An attester whose steps are PageSteps."""

    def show(self, step: PageStep, asking: Asking, query: Mapping[str, str]) -> View:
        """The page. It is got as often as one likes, and changes nothing.

        query is what came back from elsewhere with the address, such as an authorization response.

        Raises:
            ProtocolError: shown as a page.
        """
        ...

    def act(
        self, step: PageStep, asking: Asking, form: Mapping[str, str], next_token: str
    ) -> View | Redirect | Proof:
        """Take what the page's form sent. The page's token is used up by it, next_token is the new one.

        Raises:
            ProtocolError: shown as a page; the person begins again.
        """
        ...


class ReceivingAttester(PageAttester, Protocol):
    """An attester to whose page an answer is posted by something other than the page's own form."""

    def receive(self, step: PageStep, asking: Asking, form: Mapping[str, str], token: str) -> str:
        """Take the answer: the address at which the page goes on. token is the page's, and stays.

        Raises:
            MalformedError, CodeRefusedError, NotEligibleError: it is not believed.
            UnavailableError: not now.
        """
        ...


class RememberingAttester(PageAttester, Protocol):
    """An attester that recognises people who have opened an account with a proof of another."""

    def remember(self, proof: Proof) -> PageStep:
        """Open a page on which an account is opened for a keyed proof."""
        ...

    def forget(self, proof: Proof) -> None:
        """End the account for a keyed proof, if there is one.

        Raises:
            UnavailableError: not now.
        """
        ...

    def request(self, challenge: bytes) -> JSON:
        """What a browser is asked, so that its holder shows that an account is theirs."""
        ...

    def recognise(self, challenge: bytes, form: Mapping[str, str]) -> tuple[bytes, Proof]:
        """The handle of the account of whoever answers, and the proof that it stands for.

        Raises:
            MalformedError, CodeRefusedError, NotEligibleError: nobody who can be recognised.
        """
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What an attester may use of the issuer that it works for."""

    name: str  # the issuer's, as in manifests
    url: str  # the issuer's, without a slash at the end
    clock: Callable[[], int]
    is_on_sheet: Callable[[ScopeId, bytes], bool]  # whether this input is that of a slip of the scope
    accounts: Accounts  # of those who come back
    draw: Callable[[int], bytes] = secrets.token_bytes


class AttesterConfig(Protocol):
    """The table of an attester: a frozen dataclass."""

    name: ClassVar[str]

    def make(self, means: Means) -> Attester:
        """The attester.

        Raises:
            ConfigurationError: a file that it names cannot be used.
        """
        ...


def merge(proofs: Sequence[Proof], level: str) -> Proof:
    """One proof of several: every input of each is used up, and one already used refuses all."""
    shares = [proof.share for proof in proofs if proof.share is not None]
    if len(shares) > 1:
        raise ValueError("the store keeps one quota a token")
    inputs = tuple(value for proof in proofs for value in proof.inputs)
    return Proof(level, inputs, shares[0] if shares else None)
