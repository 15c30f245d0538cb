"""Personhood sessions: from the first evidence to the signature, in memory only.

Whoever holds the bearer, 256 random bits, continues the session; only its hash is kept. A page of the issuer
that belongs to a session has a token of its own, in its address, which proves nothing elsewhere and changes
with every form that is sent. A restart forgets them all: people begin again, and nobody loses a token.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from headcount_issuer.attester import Step
from headcount_issuer.attesters.combination import Combination
from headcount_issuer.store import Quota
from headcount_spec.errors import NotEligibleError, UnavailableError
from headcount_spec.scope import ScopeId

BEARER_BYTES = 32
_PURGE_S = 60


@dataclass(slots=True, eq=False)
class Session:
    """One person's way through one scope."""

    scope: ScopeId
    site: str  # origin of the page that asked
    return_path: str  # on that site, where a page of ours leads back to
    combination: Combination  # what is proved, and what is still asked for
    attester: str = ""  # whose turn it is
    expires_at: int = 0
    page: bytes | None = field(default=None, repr=False)  # SHA-256 of the page's token
    step: Step | None = field(default=None, repr=False)  # between the two steps of an attester
    tags: tuple[bytes, ...] | None = field(default=None, repr=False)  # once proved
    quota: Quota | None = field(default=None, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Sessions:
    """All sessions of an issuer, a bounded number."""

    def __init__(self, clock: Callable[[], int], lifetime_s: int, maximum: int) -> None:
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._maximum = maximum
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}  # SHA-256 of the bearer → session
        self._pages: dict[bytes, Session] = {}  # SHA-256 of a page's token → session
        self._purge_at = 0

    def check_room(self) -> None:
        """Refuse before anything is done for a session that there is no room for.

        Raises:
            UnavailableError: too many sessions are open.
        """
        with self._lock:
            self._check_room()

    def open(self, session: Session) -> str:
        """Keep a session for its lifetime; the bearer.

        Raises:
            UnavailableError: too many sessions are open.
        """
        bearer = secrets.token_urlsafe(BEARER_BYTES)
        with self._lock:
            self._check_room()
            session.expires_at = self._clock() + self._lifetime_s
            self._sessions[_key(bearer)] = session
        return bearer

    def get(self, bearer: str) -> Session:
        """The session of a bearer.

        Raises:
            NotEligibleError: there is none, or it has expired.
        """
        with self._lock:
            session = self._sessions.get(_key(bearer))
            if session is None or self._clock() >= session.expires_at:
                raise NotEligibleError("no such session, or it has expired: begin again")
            return session

    def turn_page(self, session: Session) -> str:
        """The next token of the session's page; the last one leads nowhere any more."""
        token = secrets.token_urlsafe(BEARER_BYTES)
        with self._lock:
            self._close_page(session)
            session.page = _key(token)
            self._pages[session.page] = session
        return token

    def close_page(self, session: Session) -> None:
        """The session has no page any more."""
        with self._lock:
            self._close_page(session)

    def of_page(self, token: str) -> Session:
        """The session of a page's token.

        Raises:
            NotEligibleError: there is none, it has expired, or its form was sent already.
        """
        with self._lock:
            session = self._pages.get(_key(token))
            if session is None or self._clock() >= session.expires_at:
                raise NotEligibleError("this page has expired, or was used already: begin again")
            return session

    def prolong(self, session: Session) -> None:
        """Give a session its whole lifetime again, when it is proved."""
        session.expires_at = self._clock() + self._lifetime_s

    def purge(self) -> None:
        """Forget expired sessions, and the addresses in them."""
        with self._lock:
            self._purge()

    def _purge(self) -> None:
        now = self._clock()
        self._purge_at = now + _PURGE_S
        self._sessions = {key: value for key, value in self._sessions.items() if now < value.expires_at}
        self._pages = {key: value for key, value in self._pages.items() if now < value.expires_at}

    def _close_page(self, session: Session) -> None:
        if session.page is not None:
            self._pages.pop(session.page, None)
            session.page = None

    def _check_room(self) -> None:
        if len(self._sessions) >= self._maximum or self._clock() >= self._purge_at:
            self._purge()
        if len(self._sessions) >= self._maximum:
            raise UnavailableError("too many people are proving themselves at this moment", 30)


def _key(bearer: str) -> bytes:
    return hashlib.sha256(bearer.encode("utf-8", "surrogatepass")).digest()
