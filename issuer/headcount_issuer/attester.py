"""Attesters: who is a person, and what makes two proofs the same person's.

An attester turns evidence into a Proof: the assurance level, and *uniqueness inputs*, byte strings
that are equal whenever the person is the same. Inputs are keyed (HMAC under the scope's key) before
they are stored; in clear they live in memory, in a session, for minutes.

Evidence in one step: ``begin`` returns the proof (a code from a sheet). In two: ``begin`` returns a Step
(a mail was sent) which the session keeps, and ``finish`` turns it and the second evidence into the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from headcount_spec.jcs import JSON
from headcount_spec.members import Members
from headcount_spec.scope import Manifest


@dataclass(frozen=True, slots=True)
class Share:
    """Of those who share a group, such as a mail domain, at most limit get a token in a scope."""

    group: bytes = field(repr=False)
    limit: int


@dataclass(frozen=True, slots=True)
class Proof:
    """That somebody is a person, and which one."""

    level: str
    inputs: tuple[bytes, ...] = field(repr=False)  # each is used up; one already used refuses
    share: Share | None = None


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
        """What the client is told besides, such as a challenge to sign or a page to visit."""
        return {}


class Attester(Protocol):
    """One way to prove to be a person."""

    @property
    def name(self) -> str:
        """As manifests list it."""
        ...

    @property
    def level(self) -> str:
        """The assurance level that its proofs reach."""
        ...

    def begin(self, asking: Asking, evidence: Members) -> Proof | Step:
        """Take the first evidence; all of its members.

        The answer and its timing must not depend on whether the person is known.

        Raises:
            MalformedError: the evidence has another form.
            CodeRefusedError, NotEligibleError: it proves nothing here.
            UnavailableError: not now.
        """
        ...

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """Take the second evidence. The session calls this from one thread at a time.

        Raises:
            MalformedError: the evidence has another form.
            CodeRefusedError: it is wrong or late; a try is used up.
        """
        ...
