"""Issuance: from evidence to one blind signature a person and scope.

RFC 9578, Section 6.2. The order is the point: all checks of the request, then the signature, which stays
here until the person's tags are used up for this blinded message in one durable transaction, then the
answer. After a crash between the two, the same message is asked for again and answered alike; another never.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from headcount_engine.engine import BlindSigner
from headcount_issuer.attester import (
    Asking,
    Attester,
    PageAttester,
    PageStep,
    Proof,
    ReceivingAttester,
    Redirect,
    RememberingAttester,
    Share,
    Step,
    View,
)
from headcount_issuer.attesters.combination import Combination
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import own_terms
from headcount_issuer.keys import Keys, make_tag
from headcount_issuer.person import key_proof
from headcount_issuer.session import Session, Sessions
from headcount_issuer.signing import Order, Signers, sign
from headcount_issuer.store import Quota, Store, Wish
from headcount_spec.errors import (
    CodeRefusedError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    ProtocolError,
)
from headcount_spec.jcs import JSON
from headcount_spec.level import Level
from headcount_spec.members import Members
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.terms import IssuerTerms
from headcount_spec.text import day_of
from headcount_spec.token import TokenRequest, TokenResponse

RETURNING = "passkey"  # the attester that recognises people
PAGE_PATH = "/prove/"  # then the page's token
PENDING = "pending"  # the second evidence is awaited
PARTIAL = "partial"  # another proof is wanted
PROVED = "proved"


@dataclass(frozen=True, slots=True)
class OpenScope:
    """A scope for which this issuer signs."""

    number: int
    manifest: Manifest
    terms: IssuerTerms  # this issuer's
    key: BlindSigner


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a session is."""

    state: str
    answer: Mapping[str, JSON] = field(default_factory=dict)  # what the client is told besides


@dataclass(frozen=True, slots=True)
class Done:
    """A page is finished: the code that the person takes along, and where to."""

    code: str
    return_path: str


class Issuance:
    """What an issuer does when it is asked; threads share it."""

    def __init__(
        self,
        config: IssuerConfig,
        store: Store,
        keys: Keys,
        account_key: bytes,
        attesters: Mapping[str, Attester],
        sessions: Sessions,
        clock: Callable[[], int],
    ) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._account_key = account_key
        self._attesters = attesters
        self._sessions = sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[ScopeId, OpenScope] = {}  # an opening is never taken back
        self._origins: tuple[int, frozenset[str]] = (-1, frozenset())  # when read, of all open scopes

    def challenge(self, scope_id: ScopeId, attester: str, origin: str | None) -> Mapping[str, JSON]:
        """What the first evidence for this attester must answer; often nothing.

        Raises:
            ProtocolError: as begin.
        """
        scope = self._scope(scope_id)
        _check_origin(scope.manifest, origin)
        return self._attester(scope, attester).challenge(self._asking(scope, origin))

    def begin(
        self, scope_id: ScopeId, attester: str, evidence: Members, origin: str | None, return_path: str = "/"
    ) -> tuple[str, Progress]:
        """Take the first evidence and open a session: its bearer. origin is that of the asking page, if any.

        Raises:
            NotFoundError, ScopeClosedError: the scope is not open here or now.
            NotEligibleError: the page is not the scope's, or the attester is not.
            ProtocolError: as Attester.begin.
            UnavailableError: too many sessions.
        """
        scope = self._scope(scope_id)
        _check_origin(scope.manifest, origin)
        chosen = self._attester(scope, attester)
        self._sessions.check_room()
        combination = Combination(Level.from_text(scope.manifest.level), scope.terms.attesters)
        session = Session(scope_id, origin or scope.manifest.origins[0], return_path, combination)
        session.attester = attester
        found = chosen.begin(self._asking(scope, session.site), evidence)
        bearer = self._sessions.open(session)
        with session.lock:
            return bearer, self._take(scope, session, found)

    def go_on(self, bearer: str, attester: str, evidence: Members, origin: str | None) -> Progress:
        """Take the first evidence for another proof of the same session, where the level wants several.

        What was begun before and not finished is dropped.

        Raises:
            ProtocolError: as begin.
        """
        session = self._sessions.get(bearer)
        with session.lock:
            scope = self._scope(session.scope)
            _check_origin(scope.manifest, origin)
            if attester not in session.combination.wanted + scope.terms.returning:
                raise NotEligibleError("this scope asks for another proof of personhood here")
            chosen = self._attester(scope, attester)
            found = chosen.begin(self._asking(scope, session.site), evidence)
            session.attester = attester
            return self._take(scope, session, found)

    def prove(self, bearer: str, evidence: Members, origin: str | None) -> Progress:
        """Take the second evidence.

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
            asking = self._asking(scope, session.site)
            if isinstance(session.step, PageStep):
                proof = session.step.finish(evidence, asking.now)
            else:
                proof = self._attesters[session.attester].finish(session.step, asking, evidence)
            return self._take(scope, session, proof)

    def show_page(self, token: str, query: Mapping[str, str]) -> tuple[Asking, View]:
        """The page of a session, as often as one likes; nothing changes.

        Raises:
            NotEligibleError: no such page.
            ProtocolError: as PageAttester.show.
        """
        session = self._sessions.of_page(token)
        with session.lock:
            scope, step, attester = self._page(session)
            asking = self._asking(scope, session.site)
            return asking, attester.show(step, asking, query)

    def act_on_page(self, token: str, form: Mapping[str, str]) -> tuple[Asking, str, View | Redirect | Done]:
        """Take a form of the page, once: the next token of the page, and what comes now.

        Raises:
            NotEligibleError: no such page, or its form was sent already.
            ProtocolError: as PageAttester.act.
        """
        session = self._sessions.of_page(token)
        with session.lock:
            if self._sessions.of_page(token) is not session:  # sent twice at the same time
                raise NotEligibleError("this page was used already: begin again")
            scope, step, attester = self._page(session)
            asking = self._asking(scope, session.site)
            next_token = self._sessions.turn_page(session)
            found = attester.act(step, asking, form, next_token)
            if isinstance(found, Proof):
                self._sessions.close_page(session)
                return asking, next_token, Done(step.complete(found, asking.now), session.return_path)
            return asking, next_token, found

    def receive(self, token: str, form: Mapping[str, str]) -> str:
        """Take what a wallet posts for a page: where its browser goes on. The page's token stays.

        Raises:
            NotEligibleError: no such page, or none that wallets answer to.
            ProtocolError: as ReceivingAttester.receive.
        """
        session = self._sessions.of_page(token)
        with session.lock:
            scope, step, attester = self._page(session)
            if not hasattr(attester, "receive"):
                raise NotEligibleError("no wallet is asked for this page")
            asking = self._asking(scope, session.site)
            return cast(ReceivingAttester, attester).receive(step, asking, form, token)

    def remember(self, bearer: str, check: str, origin: str | None) -> Progress:
        """Open a page on which who has just passed a check makes a passkey, to come back with.

        Raises:
            NotEligibleError: no such session or page, the scope lets nobody come back, or the check was not
                passed in this session, or not by a proof that an account can be opened with.
        """
        session = self._sessions.get(bearer)
        with session.lock:
            scope, passkeys, proof = self._remembering(session, check, origin)
            session.attester = passkeys.name
            answer = self._take(scope, session, passkeys.remember(proof)).answer
            return Progress(PROVED, answer)

    def forget(self, bearer: str, check: str, origin: str | None) -> None:
        """End the account of who has just passed a check, if there is one.

        Raises:
            NotEligibleError, UnavailableError: as remember; or the database cannot be written now.
        """
        session = self._sessions.get(bearer)
        with session.lock:
            _, passkeys, proof = self._remembering(session, check, origin)
            passkeys.forget(proof)

    def _remembering(
        self, session: Session, check: str, origin: str | None
    ) -> tuple[OpenScope, RememberingAttester, Proof]:
        scope = self._scope(session.scope)
        _check_origin(scope.manifest, origin)
        passkeys, proof = self._attesters.get(RETURNING), session.combination.found(check)
        if passkeys is None or RETURNING not in scope.terms.returning:
            raise NotEligibleError("nobody can come back to this scope by a passkey")
        if session.tags is None or proof is None or not proof.lasting or proof.remembered:
            raise NotEligibleError("an account is opened by who has just proved themselves")
        return scope, cast(RememberingAttester, passkeys), proof

    def sign(self, bearer: str, request: bytes, origin: str | None) -> TokenResponse:
        """Answer a token request of a proved session; the same request gets the same answer.

        RFC 9578, Section 6.2.

        Raises:
            MalformedError: no token request, another key's, or a blinded message that is none.
            NotEligibleError: no proved session.
            QuotaUsedError: those who share a mail domain with this person have all its tokens.
            AlreadyIssuedError: this person has a token here for another message.
            ScopeClosedError: the scope is closed today.
            UnavailableError: the key does not answer, or the tag could not be used up durably; no
                signature was given, and none is lost.
        """
        return TokenResponse(sign(self._store, self.order(bearer, request, origin)))

    def signers(self, deliver: Callable[[Sequence[Order]], None]) -> Signers:
        """What has orders signed without anybody waiting in a thread of their own; see Signers."""
        for row in self._store.scopes():
            with contextlib.suppress(ProtocolError):  # closed, or its key is lost: told to who asks
                self._scope(row.manifest.scope_id)
        self._keys.start()
        self._store.fill_sieve()
        return Signers(self._store, self._keys.at_once, deliver)

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
            terms = own_terms(row.manifest, self._config.name)
            key = self._keys.signing_key(terms.token_key_id)
            scope = OpenScope(row.number, row.manifest, terms, key)
            with self._lock:
                self._open[scope_id] = scope
        scope.manifest.check_open(day_of(self._clock()))
        return scope

    def _attester(self, scope: OpenScope, name: str) -> Attester:
        chosen = self._attesters.get(name)
        if chosen is None or name not in scope.terms.attesters + scope.terms.returning:
            raise NotEligibleError("this scope asks for another proof of personhood here")
        return chosen

    def _page(self, session: Session) -> tuple[OpenScope, PageStep, PageAttester]:
        scope = self._scope(session.scope)
        if not isinstance(session.step, PageStep):
            raise NotEligibleError("this page was used already: begin again")
        return scope, session.step, cast(PageAttester, self._attesters[session.attester])

    def _asking(self, scope: OpenScope, site: str | None) -> Asking:
        return Asking(scope.manifest, site or scope.manifest.origins[0], self._clock())

    def _take(self, scope: OpenScope, session: Session, found: Proof | Step) -> Progress:
        """Put what an attester has found into the session."""
        self._sessions.close_page(session)
        session.step = None
        if isinstance(found, PageStep):
            session.step = found
            page = f"{self._config.url}{PAGE_PATH}{self._sessions.turn_page(session)}"
            return Progress(PENDING, {**found.answer, "page": page})
        if isinstance(found, Step):
            session.step = found
            return Progress(PENDING, found.answer)
        # From here on the input is forgotten. All ways of proving it lead through its pseudonym.
        session.combination.add(key_proof(self._account_key, found))
        if session.combination.wanted:
            self._sessions.prolong(session)
            return Progress(PARTIAL, {"wanted": list(session.combination.wanted)})
        self._grant(scope, session, session.combination.proof())
        self._sessions.prolong(session)
        return Progress(PROVED)

    def _grant(self, scope: OpenScope, session: Session, proof: Proof) -> None:
        """Turn a keyed proof into tags."""
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
