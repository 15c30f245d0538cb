"""Issuance: from evidence to one blind signature a person and scope.

RFC 9578, Section 6.2. The order is the point: all checks of the request, then the signature, which stays
here until the person's tags are used up for this blinded message in one durable transaction, then the
answer. After a crash between the two, the same message is asked for again and answered alike; another never.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headcount_engine.engine import SigningKey
from headcount_issuer.attester import Asking, Attester, Proof, Share, Step
from headcount_issuer.enrolment import own_terms
from headcount_issuer.keys import Keys, make_tag
from headcount_issuer.session import Session, Sessions
from headcount_issuer.signing import Order, Signers, sign
from headcount_issuer.store import Quota, Store, Wish
from headcount_spec.errors import CodeRefusedError, MalformedError, NotEligibleError, NotFoundError
from headcount_spec.jcs import JSON
from headcount_spec.members import Members
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.terms import IssuerTerms
from headcount_spec.text import day_of
from headcount_spec.token import TokenRequest, TokenResponse

PENDING = "pending"  # the second evidence is awaited
PROVED = "proved"


@dataclass(frozen=True, slots=True)
class OpenScope:
    """A scope for which this issuer signs."""

    number: int
    manifest: Manifest
    terms: IssuerTerms  # this issuer's
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that was opened."""

    bearer: str
    state: str
    expires_in_s: int
    answer: Mapping[str, JSON]  # what the attester tells the client besides


class Issuance:
    """What an issuer does when it is asked; threads share it."""

    def __init__(
        self,
        name: str,
        store: Store,
        keys: Keys,
        attesters: Mapping[str, Attester],
        sessions: Sessions,
        session_s: int,
        clock: Callable[[], int],
    ) -> None:
        self._name = name
        self._store = store
        self._keys = keys
        self._attesters = attesters
        self._sessions = sessions
        self._session_s = session_s
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[ScopeId, OpenScope] = {}  # an opening is never taken back
        self._origins: tuple[int, frozenset[str]] = (-1, frozenset())  # when read, of all open scopes

    def begin(self, scope_id: ScopeId, attester: str, evidence: Members, origin: str | None) -> Begun:
        """Take the first evidence and open a session. origin is that of the asking page, if any.

        Raises:
            NotFoundError, ScopeClosedError: the scope is not open here or now.
            NotEligibleError: the page is not the scope's, or the attester is not.
            ProtocolError: as Attester.begin.
            UnavailableError: too many sessions.
        """
        scope = self._scope(scope_id)
        _check_origin(scope.manifest, origin)
        chosen = self._attesters.get(attester)
        if chosen is None or attester not in scope.terms.attesters or chosen.level != scope.manifest.level:
            raise NotEligibleError("this scope asks for another proof of personhood here")
        self._sessions.check_room()
        session = Session(scope_id, origin or scope.manifest.origins[0], attester, 0)
        found = chosen.begin(self._asking(scope, session), evidence)
        if isinstance(found, Step):
            session.step = found
            answer, state = found.answer, PENDING
        else:
            self._grant(scope, session, found)
            answer, state = {}, PROVED
        return Begun(self._sessions.open(session), state, self._session_s, answer)

    def prove(self, bearer: str, evidence: Members, origin: str | None) -> str:
        """Take the second evidence; the state of the session.

        Raises:
            NotEligibleError: no such session, a page that is not the scope's, or as begin.
            CodeRefusedError: the evidence is wrong or late, or nothing is asked for any more.
            ScopeClosedError: closed meanwhile.
        """
        session = self._sessions.get(bearer)
        with session.lock:  # tries are counted one by one
            scope = self._scope(session.scope)
            _check_origin(scope.manifest, origin)
            if session.step is None:
                raise CodeRefusedError("nothing is asked for any more")
            attester = self._attesters[session.attester]
            proof = attester.finish(session.step, self._asking(scope, session), evidence)
            session.step = None
            self._grant(scope, session, proof)
            self._sessions.prolong(session)
        return PROVED

    def sign(self, bearer: str, request: bytes, origin: str | None) -> TokenResponse:
        """Answer a token request of a proved session; the same request gets the same answer.

        RFC 9578, Section 6.2.

        Raises:
            MalformedError: no token request, another key's, or a blinded message that is none.
            NotEligibleError: no proved session, or the quota of the mail domain is used up.
            AlreadyIssuedError: this person has a token here for another message.
            ScopeClosedError: the scope is closed today.
            UnavailableError: the key does not answer, or the tag could not be used up durably; no
                signature was given, and none is lost.
        """
        return TokenResponse(sign(self._store, self.order(bearer, request, origin)))

    def signers(self, threads: int, deliver: Callable[[Sequence[Order]], None]) -> Signers:
        """Threads that sign orders without anybody waiting in a thread of their own; see Signers."""
        return Signers(self._store, threads, deliver)

    def order(self, bearer: str, request: bytes, origin: str | None) -> Order:
        """Everything about a token request but its signature.

        Raises:
            ProtocolError: as sign, for what can be told without the database.
        """
        token_request = TokenRequest.from_bytes(request)
        session = self._sessions.get(bearer)
        scope = self._scope(session.scope)
        _check_origin(scope.manifest, origin)
        tags, quota = session.tags, session.quota
        if tags is None:
            raise NotEligibleError("this session has not proved anything yet")
        if token_request.truncated_token_key_id != scope.terms.token_key_id[-1]:
            raise MalformedError("the token request is for another key than the scope's")
        wish = Wish.of(scope.number, tags, token_request.blinded_msg, quota)
        return Order(scope.key, token_request.blinded_msg, wish)

    def may_ask(self, origin: str) -> bool:
        """Whether a page of this origin may talk to this issuer at all."""
        now = self._clock()
        with self._lock:
            read_at, origins = self._origins
        if read_at != now:  # another process opens scopes
            rows = self._store.scopes()
            origins = frozenset(o for row in rows if row.opened for o in row.manifest.origins)
            with self._lock:
                self._origins = now, origins
        return origin in origins

    def forget_closed(self, today: int) -> None:
        """Drop the keys of scopes that have closed: ``issuer close`` destroys them in another process."""
        with self._lock:
            closed = [scope for scope in self._open.values() if today > scope.manifest.closes]
            for scope in closed:
                del self._open[scope.manifest.scope_id]
        for scope in closed:
            self._keys.forget(scope.terms.token_key_id)

    def _scope(self, scope_id: ScopeId) -> OpenScope:
        """The scope, if this issuer has opened it and today is one of its days.

        Raises:
            NotFoundError, ScopeClosedError: it has not, or is not.
        """
        with self._lock:
            scope = self._open.get(scope_id)
        if scope is None:
            row = self._store.scope(scope_id)
            if row is None or not row.opened:
                raise NotFoundError("this issuer has not opened the scope")
            terms = own_terms(row.manifest, self._name)
            key = self._keys.signing_key(terms.token_key_id)
            scope = OpenScope(row.number, row.manifest, terms, key)
            with self._lock:
                self._open[scope_id] = scope
        scope.manifest.check_open(day_of(self._clock()))
        return scope

    def _asking(self, scope: OpenScope, session: Session) -> Asking:
        return Asking(scope.manifest, session.site, self._clock())

    def _grant(self, scope: OpenScope, session: Session, proof: Proof) -> None:
        """Turn a proof into tags; the inputs are forgotten."""
        if proof.level != scope.manifest.level:
            raise NotEligibleError("this proof does not reach the scope's level")
        if scope.manifest.eligible == "parent-token-holders":
            self._check_parent(scope.manifest, proof)
        self._check_continued(scope.manifest, proof)
        key = self._keys.tag_key(scope.manifest.scope_id)
        if proof.share is not None:
            session.quota = Quota(functools.partial(_place, key, proof.share), proof.share.limit)
        # Last: from here on another thread may sign, and it must find the quota.
        session.tags = tuple(make_tag(key, value) for value in proof.inputs)

    def _check_parent(self, manifest: Manifest, proof: Proof) -> None:
        parent = None if manifest.parent is None else self._store.scope(manifest.parent)
        if parent is not None:
            key = self._keys.tag_key(parent.manifest.scope_id)
            if all(self._store.is_burnt(parent.number, make_tag(key, value)) for value in proof.inputs):
                return
        raise NotEligibleError("only who has a token of the parent scope may take part here")

    def _check_continued(self, manifest: Manifest, proof: Proof) -> None:
        """Refuse who has a token of a scope that this one continues, directly or along a chain."""
        continued = manifest.continues
        while continued is not None:
            row = self._store.scope(continued.scope)
            if row is None:
                return  # a scope that this issuer had no part in; others had
            key = self._keys.tag_key(row.manifest.scope_id)
            if any(self._store.is_burnt(row.number, make_tag(key, value)) for value in proof.inputs):
                raise NotEligibleError("this person has a token of the scope that this one continues")
            continued = row.manifest.continues


def _place(key: bytes, share: Share, place: int) -> bytes:
    return make_tag(key, b"place\0" + place.to_bytes(4, "big") + share.group)


def _check_origin(manifest: Manifest, origin: str | None) -> None:
    # A page elsewhere must not relay codes. Programs send no Origin; they cannot be told apart.
    if origin is not None and origin not in manifest.origins:
        raise NotEligibleError("this page is not one of the scope's")
