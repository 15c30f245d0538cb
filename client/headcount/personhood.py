"""Proving to be a person to one issuer: evidence by evidence, until the scope's level is reached.

What a person has to say is asked through a callback. Evidence that only a browser can give is given on a page
of the issuer; the code that this page shows at the end comes back by way of the person.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount.pledge_file import MAX_SESSION_CHARS, SESSION
from headcount.question import Ask, Kind, Question
from headcount_ledger.reader.transport import Transport, check, join, origin_of
from headcount_spec.altcha import WorkChallenge
from headcount_spec.errors import CodeRefusedError, MalformedError, NotEligibleError
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.level import Level
from headcount_spec.members import Members
from headcount_spec.scope import Manifest
from headcount_spec.terms import IssuerTerms

MAX_ATTEMPTS = 5  # at a typed code, as many as an issuer allows
_MAX_PAGE_CHARS = 1000
RETURNING = "passkey"  # evidence of who was checked at the issuer before
_PAGES = ("oidc", "device", "eid")  # evidence for which issuers have pages
_KNOWN = ("email", "in-person", *_PAGES)
_NEW_EACH_TIME = ("in-person",)  # evidence that nobody comes back with


@dataclass(frozen=True, slots=True)
class Personhood:
    """One issuer of a scope, who wants to know whether somebody is a person, and the means to answer."""

    manifest: Manifest
    index: int  # among the manifest's issuers
    transport: Transport
    ask: Ask

    @property
    def issuer(self) -> IssuerTerms:
        """The issuer as the manifest names it."""
        return self.manifest.issuers[self.index]

    def open_session(self) -> tuple[str, tuple[str, ...]]:
        """Prove to be a person; the session that may ask for one signature, and which evidence was given.

        Raises:
            NotEligibleError: this program cannot give the evidence, or the issuer refuses it.
            CodeRefusedError: a typed code was refused too often.
            MalformedError: the issuer answers otherwise than it should.
        """
        wanted = self._possible(self.issuer.attesters)
        needed = Level.from_text(self.manifest.level).needed_of(self.issuer.attesters)
        if len(wanted) < needed:
            raise NotEligibleError(f"{self.issuer.name} asks for evidence that this program cannot give")
        session: str | None = None
        given: tuple[str, ...] = ()
        for _ in range(needed):
            chosen = self._choose(wanted, needed, given)
            session, state, wanted = self._prove(chosen, session)
            given = (*given, chosen)
            if state == "proved":
                return session, given
        raise MalformedError("the issuer asks for more than the scope's level")

    def _possible(self, attesters: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in attesters if name in _KNOWN)

    def offer_account(self, session: str, given: tuple[str, ...]) -> None:
        """Let the person make a passkey to come back with, if the terms allow it and they want to.

        Raises:
            ProtocolError: what the issuer answers; the proof stands all the same.
        """
        checks = [name for name in given if name not in (RETURNING, *_NEW_EACH_TIME)]
        if RETURNING not in self.issuer.returning or not checks:
            return
        if self._answer("remember", 1, choices=("yes", "no")) != "yes":
            return
        answer = self._post("sessions/account", {"check": checks[0]}, session=session)
        self._answer("account-page", 1, page=self._page(answer.get("page")))

    def _choose(self, wanted: tuple[str, ...], needed: int, given: tuple[str, ...]) -> str:
        """Which evidence comes now: the first, unless the terms leave a choice."""
        if not wanted:
            raise NotEligibleError(f"{self.issuer.name} asks for evidence that this program cannot give")
        if RETURNING in self.issuer.returning and RETURNING not in given:
            choices = (*wanted, RETURNING)
            answer = self._answer("evidence", 1, choices=choices)
            return answer if answer in choices else wanted[0]
        if needed == len(self.issuer.attesters) or len(wanted) == 1:
            return wanted[0]
        answer = self._answer("evidence", 1, choices=wanted)
        return answer if answer in wanted else wanted[0]

    def _prove(self, attester: str, session: str | None) -> tuple[str, str, tuple[str, ...]]:
        """Give one evidence: the session, its state, and what may come next."""
        # A slip is refused at once, so it may be typed again; an address is never refused for what it is.
        attempts = MAX_ATTEMPTS if attester == "in-person" else 1
        for attempt in range(1, attempts + 1):
            wanted: dict[str, JSON] = {"attester": attester, "evidence": self._evidence(attester, attempt)}
            try:
                if session is None:
                    opening: JSON = {"scope": self.manifest.scope_id.hex(), **wanted}
                    answer = self._post("sessions", opening, status=201)
                    session = _session(answer)
                else:
                    answer = self._post("sessions/next", wanted, session=session)
            except CodeRefusedError:
                if attempt == attempts:
                    raise
                continue
            if answer.get("state") == "pending":
                answer = self._confirm(session, answer)
            return session, *self._outcome(answer)
        raise AssertionError("unreachable")

    def _evidence(self, attester: str, attempt: int) -> dict[str, JSON]:
        if attester == "in-person":
            return {"code": self._answer("slip-code", attempt)}
        if attester == "email":
            return {"address": self._answer("address", attempt), **self._work(attester)}
        return {}

    def _work(self, attester: str) -> dict[str, JSON]:
        """The proof of work that the issuer asks for before it sends a mail."""
        question: JSON = {"scope": self.manifest.scope_id.hex(), "attester": attester}
        members = Members(self._post("sessions/challenge", question), "challenge")
        if not members.has("work"):
            return {}
        return {"work": WorkChallenge.read(members.object("work")).solve().to_text()}

    def _confirm(self, session: str, begun: dict[str, JSON]) -> dict[str, JSON]:
        """Bring the code of a mail or a page."""
        kind: Kind = "mailed-code"
        page = None
        if "page" in begun:
            kind, page = "page-code", self._page(begun["page"])
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                code = self._answer(kind, attempt, page=page)
                return self._post("sessions/evidence", {"code": code}, session=session)
            except CodeRefusedError:
                if attempt == MAX_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _page(self, page: JSON) -> str:
        if not isinstance(page, str) or len(page) > _MAX_PAGE_CHARS or not page.isprintable():
            raise MalformedError("the issuer's page is not an address")
        if origin_of(page) != origin_of(self.issuer.url):
            raise MalformedError("the issuer's page is on another origin")
        return page

    def _outcome(self, answer: dict[str, JSON]) -> tuple[str, tuple[str, ...]]:
        state, wanted = answer.get("state"), answer.get("wanted", [])
        if state == "proved":
            return "proved", ()
        if state != "partial" or not isinstance(wanted, list):
            raise MalformedError("the issuer's session is in an unknown state")
        return "partial", self._possible(tuple(name for name in self.issuer.attesters if name in wanted))

    def _answer(
        self, kind: Kind, attempt: int, page: str | None = None, choices: tuple[str, ...] = ()
    ) -> str:
        return self.ask(Question(kind, self.issuer, self.manifest, attempt, page, choices)).strip()

    def _post(
        self, path: str, value: JSON, *, session: str | None = None, status: int = 200
    ) -> dict[str, JSON]:
        headers = {"Content-Type": "application/json"}
        if session is not None:
            headers["Authorization"] = f"Bearer {session}"
        url = join(self.issuer.url, path)
        answer = self.transport("POST", url, body=canonicalise(value), headers=headers)
        found = parse_json(check(answer, self.issuer.name, media_type="application/json", status=status))
        if not isinstance(found, dict):
            raise MalformedError("the issuer's answer is not an object")
        return found


def _session(answer: dict[str, JSON]) -> str:
    session = answer.get("session")
    if not isinstance(session, str) or len(session) > MAX_SESSION_CHARS or not SESSION.match(session):
        raise MalformedError("the issuer's session is not a bearer token")
    return session
