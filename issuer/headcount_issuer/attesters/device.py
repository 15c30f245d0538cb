"""The device attester: a passkey that was made for this, on a page of the issuer. It proves little.

What is proven is that a browser made a key pair, and with an allow-list that an authenticator of a listed
make did. Unique by credential id: one authenticator makes as many as one likes, and a program without any
makes forty a second. It is meant for combinations, and for coming back (attester ``passkey``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from headcount_issuer.attestation import AllowList, parse_aaguid, split_roots
from headcount_issuer.attester import Asking, Means, PageStep, Proof, Redirect, Step, View
from headcount_issuer.ceremony import RelyingParty, form_members
from headcount_issuer.passkey import CHALLENGE_BYTES
from headcount_spec.errors import CodeRefusedError, ConfigurationError, MalformedError
from headcount_spec.jcs import JSON
from headcount_spec.members import Members

MAX_MODELS = 1000
HANDLE_BYTES = 32
TEMPLATE = "passkey.html"


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """The table ``[issuer.attesters.device]``."""

    name: ClassVar[str] = "device"
    verify_user: bool = True  # a PIN or a finger, not merely a touch
    allowed: AllowList | None = None  # makes of authenticators; none: any

    @classmethod
    def read(cls, members: Members, folder: Path) -> DeviceConfig:
        """Take it from the node's file: ``user_verification``, ``aaguids``, ``roots`` (a PEM file)."""
        verify_user = read_user_verification(members)
        allowed = None
        if members.has("aaguids") or members.has("roots"):
            allowed = _allow_list(members, folder)
        members.finish()
        return cls(verify_user, allowed)

    def make(self, means: Means) -> DeviceAttester:
        """The attester."""
        return DeviceAttester(RelyingParty.of(means, self.verify_user, self.allowed), means)


@dataclass(slots=True)
class _Making(PageStep):
    """A passkey is being made; the challenge goes with the first answer, whatever that is."""

    challenge: bytes | None = field(default=None, repr=False)


class DeviceAttester:
    """Proves that a passkey was made; unique by credential id."""

    name = "device"

    def __init__(self, party: RelyingParty, means: Means) -> None:
        self._party = party
        self._means = means

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """Nothing."""
        return {}

    def begin(self, asking: Asking, evidence: Members) -> PageStep:
        """Open a page."""
        evidence.finish()
        return _Making(challenge=self._means.draw(CHALLENGE_BYTES))

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """The second evidence is the page's code."""
        raise CodeRefusedError("nothing is asked for any more")

    def show(self, step: PageStep, asking: Asking, query: Mapping[str, str]) -> View:
        """The page that makes the passkey."""
        assert isinstance(step, _Making)  # noqa: S101
        if step.challenge is None:
            raise CodeRefusedError("this page was used already: begin again")
        # Another account each time: a device keeps one passkey an account, and an old one is not overwritten.
        options = self._party.creation_options(
            step.challenge, self._means.draw(HANDLE_BYTES), f"proof for {self._means.name}"
        )
        return View(
            TEMPLATE, {"ceremony": "create", "options": options, "purpose": "device"}, has_script=True
        )

    def act(
        self, step: PageStep, asking: Asking, form: Mapping[str, str], next_token: str
    ) -> View | Redirect | Proof:
        """Verify what the browser answered."""
        assert isinstance(step, _Making)  # noqa: S101
        challenge, step.challenge = step.challenge, None
        if challenge is None:
            raise CodeRefusedError("this page was used already: begin again")
        passkey = self._party.register(challenge, form_members(form))
        return Proof(self.name, (b"device\0" + passkey.credential_id,))

    def close(self) -> None:
        """Nothing runs."""


def read_user_verification(members: Members) -> bool:
    """Whether the user is verified: ``user_verification`` is "required", unless it says "discouraged".

    Raises:
        MalformedError: it says something else.
    """
    text = members.text("user_verification", 20) if members.has("user_verification") else "required"
    if text not in ("required", "discouraged"):
        raise MalformedError(f"{members.path}.user_verification: neither required nor discouraged")
    return text == "required"


def _allow_list(members: Members, folder: Path) -> AllowList:
    value = members.take("aaguids")
    if not isinstance(value, list) or len(value) > MAX_MODELS:
        raise MalformedError(f"{members.path}.aaguids: not a list of at most {MAX_MODELS}")
    models = frozenset(parse_aaguid(item if isinstance(item, str) else "") for item in value)
    path = folder / members.text("roots", 1000)
    try:
        pem = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    return AllowList(models, split_roots(pem))
