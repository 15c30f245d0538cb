"""Coming back: the passkey of an account stands for a check that its holder has passed here before.

A scope allows it (``returning`` in the manifest's entry of the issuer). The proof is the one of that time:
the same pseudonyms, hence the same tags, hence the same one token. Whoever has lost the passkey proves
themselves again, and gets no second token by it.

Accounts are opened on a page too, by who has just proved themselves, and ended by whoever shows the passkey
(module account_pages) or proves themselves once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from headcount_issuer.attester import Asking, Means, PageStep, Proof, Redirect, Step, View
from headcount_issuer.attesters.device import TEMPLATE, read_user_verification
from headcount_issuer.ceremony import Assertion, RelyingParty, form_members
from headcount_issuer.passkey import CHALLENGE_BYTES, Passkey
from headcount_spec.errors import CodeRefusedError, NotEligibleError
from headcount_spec.jcs import JSON
from headcount_spec.members import Members


@dataclass(frozen=True, slots=True)
class PasskeyConfig:
    """The table ``[issuer.attesters.passkey]``."""

    name: ClassVar[str] = "passkey"
    verify_user: bool = True  # a PIN or a finger, not merely a touch

    @classmethod
    def read(cls, members: Members, folder: Path) -> PasskeyConfig:
        """Take it from the node's file."""
        config = cls(read_user_verification(members))
        members.finish()
        return config

    def make(self, means: Means) -> PasskeyAttester:
        """The attester."""
        return PasskeyAttester(RelyingParty.of(means, self.verify_user), means)


@dataclass(slots=True)
class _Returning(PageStep):
    """Somebody says that they have an account; the challenge goes with the first answer."""

    challenge: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Opening(PageStep):
    """Somebody who has proved themselves opens an account."""

    earned: Proof | None = field(default=None, repr=False)  # keyed
    challenge: bytes | None = field(default=None, repr=False)


class PasskeyAttester:
    """Recognises the holders of accounts."""

    name = "passkey"

    def __init__(self, party: RelyingParty, means: Means) -> None:
        self._party = party
        self._means = means

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """Nothing."""
        return {}

    def begin(self, asking: Asking, evidence: Members) -> PageStep:
        """Open a page on which the passkey is shown."""
        evidence.finish()
        return _Returning(challenge=self._means.draw(CHALLENGE_BYTES))

    def remember(self, proof: Proof) -> PageStep:
        """Open a page on which a passkey is made, for who has just given this keyed proof."""
        return _Opening(earned=proof, challenge=self._means.draw(CHALLENGE_BYTES))

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """The second evidence is the page's code."""
        raise CodeRefusedError("nothing is asked for any more")

    def show(self, step: PageStep, asking: Asking, query: Mapping[str, str]) -> View:
        """The page that shows a passkey, or makes one."""
        assert isinstance(step, _Returning | _Opening)  # noqa: S101
        if step.challenge is None:
            raise CodeRefusedError("this page was used already: begin again")
        if isinstance(step, _Returning):
            options = self._party.request_options(step.challenge)
            return View(
                TEMPLATE, {"ceremony": "get", "options": options, "purpose": "return"}, has_script=True
            )
        assert step.earned is not None  # noqa: S101
        handle = self._means.accounts.handle(step.earned)
        options = self._party.creation_options(
            step.challenge, handle, f"{step.earned.proves} at {self._means.name}"
        )
        values = {"ceremony": "create", "options": options, "purpose": "account", "issuer": self._means.name}
        return View(TEMPLATE, values, has_script=True)

    def act(
        self, step: PageStep, asking: Asking, form: Mapping[str, str], next_token: str
    ) -> View | Redirect | Proof:
        """Verify what the browser answered, and find or keep the account."""
        assert isinstance(step, _Returning | _Opening)  # noqa: S101
        challenge, step.challenge = step.challenge, None
        if challenge is None:
            raise CodeRefusedError("this page was used already: begin again")
        if isinstance(step, _Returning):
            return self.recognise(challenge, form)[1]
        assert step.earned is not None  # noqa: S101
        self._means.accounts.keep(step.earned, self._party.register(challenge, form_members(form)))
        return View("account_kept.html", {"issuer": self._means.name})

    def request(self, challenge: bytes) -> JSON:
        """What a browser is asked, to show a passkey."""
        return self._party.request_options(challenge)

    def recognise(self, challenge: bytes, form: Mapping[str, str]) -> tuple[bytes, Proof]:
        """The account of whoever shows its passkey: its user handle, and the proof that it stands for.

        Raises:
            MalformedError: another form.
            CodeRefusedError: not a passkey of this issuer, or not shown to this page.
            NotEligibleError: the passkey may have been copied.
        """
        assertion = Assertion.read(form_members(form))
        account = self._means.accounts.find(assertion.user_handle, assertion.credential_id)
        if account is None:
            raise CodeRefusedError("the passkey's answer is not valid here")
        found: Passkey = self._party.recognise(challenge, assertion, account.passkey)
        self._means.accounts.use(assertion.user_handle, found)
        return assertion.user_handle, account.proof

    def forget(self, proof: Proof) -> None:
        """End the account for a keyed proof, if there is one.

        Raises:
            NotEligibleError: never for a proof that lasts.
        """
        if not proof.lasting:
            raise NotEligibleError("there is no account for this proof")
        self._means.accounts.remove(self._means.accounts.handle(proof))

    def close(self) -> None:
        """Nothing runs."""
