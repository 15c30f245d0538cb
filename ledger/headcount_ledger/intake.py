"""Acceptance: whatever arrives is verified here, whoever sends it, then staged in one transaction.

Nothing is reserved before it is verified, and the same entry again gets the same answer.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from headcount_engine.acceptance import ScopeVerifier
from headcount_ledger import sealed, staged
from headcount_ledger.staged import StoredPledge
from headcount_ledger.store import Store
from headcount_ledger.writer import Writer
from headcount_spec import lint
from headcount_spec.entry import parse_entry
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    NotFoundError,
    NoticeConflictError,
    RevisionConflictError,
    ScopeClosedError,
    UnknownKeyError,
)
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.note import SigningKey, VerificationKey
from headcount_spec.notice import Notice, author, manifest_of, verify_notice
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Policy
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest, ScopeId


class Intake:
    """Accepts entries for one ledger. Threads may share it."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        key: SigningKey,
        witness_keys: Collection[VerificationKey] | None = None,
    ) -> None:
        """Terms may ask for the cosignatures of these keys; None: for anybody's."""
        self._store = store
        self._writer = writer
        self._key = key
        self._log_key = key.verification_key
        self._witness_keys = witness_keys
        # Sealed terms never change, and a scope once opened stays so; only those are remembered.
        self._verifiers: dict[ScopeId, ScopeVerifier] = {}
        self._opened: set[ScopeId] = set()

    def accept(self, data: bytes, day: int) -> Promise | LeafHash:
        """Take one entry on this UTC day; durable on return.

        A pledge or revision is answered with the ledger's promise, a notice with its leaf hash.

        Raises:
            MalformedError: not an entry, or one that its scope cannot have.
            SignatureError, UnknownKeyError: it is not signed by those who must sign it.
            NotFoundError: its scope, or the pledge that it revises, is not in this ledger.
            ScopeClosedError: the scope does not take it on this day.
            NotEligibleError: the terms are not fit to be opened here.
            RevisionConflictError, NoticeConflictError: another one stands in its place.
            UnavailableError: try again.
        """
        entry = parse_entry(data)
        if isinstance(entry, Pledge):
            return self._accept_pledge(entry, leaf_hash(data), day)
        if isinstance(entry, Revision):
            return self._accept_revision(entry, leaf_hash(data), day)
        if isinstance(entry, Notice):
            return self._accept_notice(entry, data, leaf_hash(data), day)
        raise MalformedError("seals are made by the ledger alone")

    def _accept_pledge(self, pledge: Pledge, hash: LeafHash, day: int) -> Promise:
        verifier = self._verifier(pledge.scope_id)
        manifest = verifier.manifest
        nullifier = verifier.verify_pledge(pledge)
        refusal = self._refusal(manifest, day)
        if refusal is None and self._writer.run(lambda tx: staged.stage_pledge(tx, pledge, nullifier, hash)):
            stands = hash
        else:
            # The leaf hash that stands may differ: one pledge can have several valid authenticators.
            with self._store.read() as tx:
                stored = staged.find_pledge(tx, nullifier)
            if stored is None:
                raise refusal or ScopeClosedError("the scope is closed")
            stands = stored.leaf_hash
        return sign_promise(self._key, stands, KIND_PLEDGE, nullifier, 0, manifest.deadline_day)

    def _refusal(self, manifest: Manifest, day: int) -> ScopeClosedError | None:
        """Why the scope takes no new pledge on this day."""
        try:
            manifest.check_open(day)
        except ScopeClosedError as exc:
            return exc
        if manifest.scope_id not in self._opened:
            with self._store.read() as tx:
                if sealed.openings(tx, manifest.scope_id) < len(manifest.issuers):
                    return ScopeClosedError("not every issuer's opening of the scope is sealed")
            self._opened.add(manifest.scope_id)
        return None

    def _accept_revision(self, revision: Revision, hash: LeafHash, day: int) -> Promise:
        verifier = self._verifier(revision.scope_id)
        manifest = verifier.manifest
        stored = self._revised_pledge(revision)
        if stored.revision_hash != hash:
            verifier.verify_revision(revision, stored.revision_key, stored.serial)
            manifest.check_change(day)
            if not self._writer.run(lambda tx: staged.stage_revision(tx, revision, hash)):
                stored = self._revised_pledge(revision)
                if stored.revision_hash != hash:
                    if stored.serial >= revision.serial:
                        raise RevisionConflictError("another revision was first", stored.serial)
                    if stored.revision_waits:
                        raise RevisionConflictError("the revision before waits for a batch", stored.serial)
                    raise ScopeClosedError("the scope is closed")
        return sign_promise(
            self._key, hash, KIND_REVISION, revision.nullifier, revision.serial, manifest.deadline_day
        )

    def _revised_pledge(self, revision: Revision) -> StoredPledge:
        with self._store.read() as tx:
            stored = staged.find_pledge(tx, revision.nullifier)
        if stored is None or stored.scope != revision.scope_id:
            raise NotFoundError("no such pledge in this scope")
        return stored

    def _accept_notice(self, notice: Notice, data: bytes, hash: LeafHash, day: int) -> LeafHash:
        # Notices are few: all of it in the transaction, so that two cannot pass each other's checks.
        self._writer.run(lambda tx: self._stage_notice(tx, notice, data, hash, day))
        return hash

    def _stage_notice(self, tx: Connection, notice: Notice, data: bytes, hash: LeafHash, day: int) -> None:
        statement = notice.statement
        is_manifest = statement.type == "manifest"
        manifest = manifest_of(statement) if is_manifest else self._terms(tx, statement.scope)
        name = author(notice, manifest)
        if staged.find_notice(tx, statement.scope, name, statement.seq) == hash:
            return
        last = staged.last_notice(tx, statement.scope, name)
        verify_notice(notice, manifest, None if last is None else (last.seq, last.leaf_hash))
        if statement.role == "ledger":
            raise NoticeConflictError("the ledger writes its own notices", statement.seq)
        if is_manifest:
            self._check_terms(tx, manifest, day)
        staged.stage_notice(tx, statement.scope, name, statement.seq, statement.type, hash, data)

    def _check_terms(self, tx: Connection, manifest: Manifest, day: int) -> None:
        """Refuse terms that an audit would fault."""
        if manifest.ledger.key != self._log_key:
            raise NotEligibleError("the pledges of these terms count in another ledger")
        others = {**sealed.manifests(tx), **staged.manifests(tx)}
        if manifest.parent is not None and manifest.parent not in others:
            raise NotFoundError("the parent scope is not in this ledger")
        token_keys = {issuer.token_key for other in others.values() for issuer in other.issuers}
        if any(issuer.token_key in token_keys for issuer in manifest.issuers):
            raise NotEligibleError("a token key of these terms serves another scope")
        if self._witness_keys is not None:
            asked = Policy.from_bytes(manifest.witnesses.encode())
            try:
                asked.check_quorum(w.name for w in asked.witnesses if w.key in self._witness_keys)
            except UnknownKeyError as exc:
                raise NotEligibleError("these terms ask for witnesses that the ledger does not ask") from exc
        for finding in lint.lint(manifest.json, others.values(), day):
            if finding.severity == "error":
                raise NotEligibleError(f"{finding.path}: {finding.message}")

    def _terms(self, tx: Connection, scope: ScopeId) -> Manifest:
        """The manifest of a scope, sealed or staged."""
        manifest = sealed.manifest(tx, scope) or staged.manifest(tx, scope)
        if manifest is None:
            raise NotFoundError("no such scope in this ledger")
        return manifest

    def _verifier(self, scope: ScopeId) -> ScopeVerifier:
        """The verifier of a scope whose manifest is sealed."""
        verifier = self._verifiers.get(scope)
        if verifier is None:
            with self._store.read() as tx:
                manifest = sealed.manifest(tx, scope)
                if manifest is None:
                    self._terms(tx, scope)
                    raise ScopeClosedError("the terms of the scope are not sealed yet")
            verifier = self._verifiers[scope] = ScopeVerifier(manifest)
        return verifier
