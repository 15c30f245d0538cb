"""Acceptance: whatever arrives is verified here, whoever sends it, then staged in one transaction.

Nothing is reserved before it is verified, and the same entry again gets the same answer.

The rules are without I/O: ``accepting`` yields what has to be read or written and is sent the result.
``run`` carries that out in a thread that may block; ``gate`` does so in an event loop. There is no second
copy of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from headcount_engine.acceptance import ScopeVerifier, VerifiedPledge
from headcount_engine.ed25519 import Signer
from headcount_ledger import sealed, staged
from headcount_ledger.notices import find_terms
from headcount_ledger.staged import StoredPledge
from headcount_ledger.store import Store
from headcount_ledger.work import StageNotice, StagePledge, StageRevision, Work
from headcount_spec.entry import parse_entry
from headcount_spec.errors import (
    MalformedError,
    NotFoundError,
    ProtocolError,
    RevisionConflictError,
    ScopeClosedError,
)
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice
from headcount_spec.pledge import Pledge
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest, ScopeId


@dataclass(frozen=True, slots=True)
class Look:
    """Something to be read from the database, in a transaction of its own."""

    read: Callable[[Connection], Any]


Accepted = Promise | LeafHash
# Yields what is to be done, is sent what came of it, and returns the answer.
Acceptance = Generator[Look | Work, Any, Accepted]


class Runner(Protocol):
    """Runs works in durable transactions."""

    def submit(self, work: Work) -> Future[Any]:
        """The work's result, once it is durable; raises what it raises."""
        ...


class Intake:
    """The rules of acceptance for one ledger. Threads may share it."""

    def __init__(self, key: SigningKey) -> None:
        self._key = Signer(key.seed)
        # Sealed terms never change, and a scope once opened stays so; only those are remembered.
        self._verifiers: dict[ScopeId, ScopeVerifier] = {}
        self._opened: set[ScopeId] = set()

    def accepting(self, entry: bytes | VerifiedPledge, day: int) -> Acceptance:
        """Take one entry on this UTC day; durable on return.

        A pledge or revision is answered with the ledger's promise, a notice with its leaf hash. A pledge
        that the verifier in this process has verified is not verified again: the scope id fixes the terms.

        Raises:
            MalformedError: not an entry, or one that its scope cannot have.
            SignatureError, UnknownKeyError: it is not signed by those who must sign it.
            NotFoundError: its scope, or the pledge that it revises, is not in this ledger.
            ScopeClosedError: the scope does not take it on this day.
            NotEligibleError: the terms are not fit to be opened here.
            RevisionConflictError, NoticeConflictError: another one stands in its place.
            UnavailableError: try again.
        """
        if isinstance(entry, VerifiedPledge):
            if entry.manifest.scope_id not in self._verifiers:
                yield from self._verifier(entry.manifest.scope_id)
            return (yield from self._accept_pledge(entry, day))
        parsed = parse_entry(entry)
        if isinstance(parsed, Pledge):
            verifier = yield from self._verifier(parsed.scope_id)
            return (yield from self._accept_pledge(verifier.verify_entry(parsed, entry), day))
        if isinstance(parsed, Revision):
            return (yield from self._accept_revision(parsed, entry, day))
        if isinstance(parsed, Notice):
            hash, scope = leaf_hash(entry), parsed.statement.scope
            # A notice costs the writer what four hundred pledges cost: not for one that stands.
            if not (yield Look(lambda tx: staged.has_notice(tx, scope, hash))):
                yield StageNotice(entry, day)
            return hash
        raise MalformedError("seals are made by the ledger alone")

    def _accept_pledge(self, verified: VerifiedPledge, day: int) -> Generator[Look | Work, Any, Promise]:
        manifest, nullifier, hash = verified.manifest, verified.nullifier, verified.leaf_hash
        refusal = yield from self._refusal(manifest, day)
        if refusal is None and (yield StagePledge(nullifier, hash, verified.entry)):
            stands = hash
        else:
            # The leaf hash that stands may differ: one pledge can have several valid authenticators.
            stored = yield Look(lambda tx: staged.find_pledge(tx, nullifier))
            if stored is None:
                raise refusal or ScopeClosedError("the scope is closed")
            stands = stored.leaf_hash
        return sign_promise(self._key, stands, KIND_PLEDGE, nullifier, 0, manifest.deadline_day)

    def _refusal(self, manifest: Manifest, day: int) -> Generator[Look, Any, ScopeClosedError | None]:
        """Why the scope takes no new pledge on this day."""
        try:
            manifest.check_open(day)
        except ScopeClosedError as exc:
            return exc
        if manifest.scope_id not in self._opened:
            opened = yield Look(lambda tx: sealed.openings(tx, manifest.scope_id))
            if opened < len(manifest.issuers):
                return ScopeClosedError("not every issuer's opening of the scope is sealed")
            self._opened.add(manifest.scope_id)
        return None

    def _accept_revision(
        self, revision: Revision, entry: bytes, day: int
    ) -> Generator[Look | Work, Any, Promise]:
        hash = leaf_hash(entry)
        verifier = yield from self._verifier(revision.scope_id)
        manifest = verifier.manifest
        stored = yield from _revised_pledge(revision)
        if stored.revision_hash != hash:
            verifier.verify_revision(revision, stored.revision_key, stored.serial)
            manifest.check_change(day)
            if not (yield StageRevision(entry)):
                stored = yield from _revised_pledge(revision)
                if stored.revision_hash != hash:
                    if stored.serial >= revision.serial:
                        raise RevisionConflictError("another revision was first", stored.serial)
                    if stored.revision_waits:
                        raise RevisionConflictError("the revision before waits for a batch", stored.serial)
                    raise ScopeClosedError("the scope is closed")
        return sign_promise(
            self._key, hash, KIND_REVISION, revision.nullifier, revision.serial, manifest.deadline_day
        )

    def _verifier(self, scope: ScopeId) -> Generator[Look, Any, ScopeVerifier]:
        """The verifier of a scope whose manifest is sealed."""
        verifier = self._verifiers.get(scope)
        if verifier is None:
            manifest = yield Look(lambda tx: _sealed_terms(tx, scope))
            verifier = self._verifiers[scope] = ScopeVerifier(manifest)
        return verifier


def run(acceptance: Acceptance, store: Store, writer: Runner) -> Accepted:
    """Carry an acceptance out in this thread."""
    outcome = run_all([acceptance], store, writer)[0]
    if isinstance(outcome, ProtocolError):
        raise outcome
    return outcome


def run_all(
    acceptances: Iterable[Acceptance], store: Store, writer: Runner
) -> list[Accepted | ProtocolError]:
    """Carry acceptances out in this thread, so that their works share commits; what came of each."""
    runs = [_Run(acceptance, store, writer) for acceptance in acceptances]
    for run in runs:
        run.advance(None)
    return [run.finish() for run in runs]


class _Run:
    """An acceptance that is under way in a thread."""

    def __init__(self, acceptance: Acceptance, store: Store, writer: Runner) -> None:
        self._acceptance = acceptance
        self._store = store
        self._writer = writer
        self._future: Future[Any] | None = None  # of the work that it waits for
        self._outcome: Accepted | ProtocolError | None = None

    def finish(self) -> Accepted | ProtocolError:
        while self._future is not None:
            future, self._future = self._future, None
            try:
                result = future.result()
            except ProtocolError as exc:
                result = exc
            self.advance(result)
        if self._outcome is None:
            raise AssertionError("an acceptance waits for nothing")
        return self._outcome

    def advance(self, result: Any) -> None:
        """Go on with the result or the error of the last step, up to the next work or the end."""
        while self._future is None:
            try:
                if isinstance(result, ProtocolError):
                    step = self._acceptance.throw(result)
                else:
                    step = self._acceptance.send(result)
            except StopIteration as done:
                self._outcome = done.value
                return
            except ProtocolError as exc:
                self._outcome = exc
                return
            try:
                if isinstance(step, Look):
                    with self._store.read() as tx:
                        result = step.read(tx)
                else:
                    self._future = self._writer.submit(step)
            except ProtocolError as exc:
                result = exc


def _sealed_terms(tx: Connection, scope: ScopeId) -> Manifest:
    manifest = sealed.manifest(tx, scope)
    if manifest is None:
        find_terms(tx, scope)
        raise ScopeClosedError("the terms of the scope are not sealed yet")
    return manifest


def _revised_pledge(revision: Revision) -> Generator[Look, Any, StoredPledge]:
    stored = yield Look(lambda tx: staged.find_pledge(tx, revision.nullifier))
    if stored is None or stored.scope != revision.scope_id:
        raise NotFoundError("no such pledge in this scope")
    pledge: StoredPledge = stored
    return pledge
