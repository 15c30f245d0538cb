"""Redemption: from the bytes of an entry to the ledger's promise, without I/O of its own.

Every check that does not need the ledger is made here before anything is handed on; whether a
nullifier was spent, the ledger decides. Nothing is stored, so the same entry gets the same answer
because the ledger's promise is deterministic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Protocol

from headcount_engine.acceptance import ScopeVerifier, VerifiedPledge
from headcount_spec.authorization import Challenge
from headcount_spec.errors import (
    MalformedError,
    MisbehaviourError,
    NotEligibleError,
    NotFoundError,
    SignatureError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, verify_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import NO_SEALED_HASH, WITHDRAWN, Manifest, ScopeId
from headcount_spec.text import day_of
from headcount_verifier.config import VerifierConfig
from headcount_verifier.ledger_client import LedgerClient
from headcount_verifier.manifests import load_manifests


class Submitter(Protocol):
    """Hands an entry to the ledger of the scopes."""

    def submit(self, data: bytes) -> bytes:
        """The bytes of the ledger's promise for an entry; the redeemer checks them.

        Raises:
            ProtocolError: the ledger refuses the entry or cannot be reached.
        """
        ...


class Redeemer:
    """Accepts pledges and revisions of the scopes it was given. Threads may share it."""

    def __init__(
        self,
        scopes: Mapping[ScopeId, Manifest],
        ledger: Submitter,
        today: Callable[[], int],
    ) -> None:
        """Today gives the UTC day, in days since 1970."""
        self._scopes = scopes
        self._ledger = ledger
        self._today = today
        self._verifiers: dict[ScopeId, ScopeVerifier] = {}

    @classmethod
    def from_config(cls, path: str | PathLike[str]) -> Redeemer:
        """A redeemer after the ``[verifier]`` table of a TOML file, by this machine's clock.

        Raises:
            ConfigurationError: the file or a manifest is missing, malformed or not the pinned one.
        """
        return cls.from_settings(VerifierConfig.from_file(Path(path)))

    @classmethod
    def from_settings(cls, config: VerifierConfig) -> Redeemer:
        """A redeemer after a configuration that was read already, by this machine's clock.

        Raises:
            ConfigurationError: a manifest is missing, malformed or not the pinned one.
        """
        ledger = LedgerClient(config.ledger, config.timeout_s)
        return cls(load_manifests(config), ledger, lambda: day_of(int(time.time())))

    @property
    def scopes(self) -> Mapping[ScopeId, Manifest]:
        """The scopes that are accepted here."""
        return self._scopes

    def scope_ids(self) -> list[ScopeId]:
        """The scopes, in ascending order."""
        return sorted(self._scopes)

    def manifest(self, scope_id: ScopeId) -> Manifest:
        """The manifest of a scope.

        Raises:
            NotFoundError: the scope is not accepted here.
        """
        try:
            return self._scopes[scope_id]
        except KeyError:
            raise NotFoundError("this scope is not accepted here") from None

    def challenges(self, scope_id: ScopeId) -> list[Challenge]:
        """What a token must answer here, one challenge an issuer. RFC 9577, Section 2.1.

        Empty for a scope that is not accepted here.
        """
        manifest = self._scopes.get(scope_id)
        if manifest is None:
            return []
        return [
            Challenge(manifest.challenge(i).to_bytes(), issuer.token_key)
            for i, issuer in enumerate(manifest.issuers)
        ]

    def check_origin(self, scope_id: ScopeId, origin: str) -> None:
        """Refuse a page of an origin that the manifest does not allow.

        Raises:
            NotEligibleError: another origin, or the scope is not accepted here.
        """
        if origin not in self._scope(scope_id).origins:
            raise NotEligibleError("the manifest does not allow this origin")

    def verify(self, data: bytes) -> VerifiedPledge:
        """The pledge of an entry, if it is one that the ledger can be asked to accept.

        Protocol, Section 3.

        Raises:
            MalformedError: the entry or a field of it is malformed.
            NotEligibleError: the scope is not accepted here.
            ScopeClosedError: the scope is not open yet, or long closed.
            SignatureError: an authenticator does not verify.
        """
        pledge = Pledge.from_bytes(data)
        manifest = self._scope(pledge.scope_id)
        verified = self._verifier(manifest).verify_entry(pledge, data)
        # After the last day the ledger still repeats its promise for a pledge that it has, and
        # refuses a new one: the answer may have been lost just before midnight.
        day = self._today()
        if not manifest.closes < day <= manifest.deadline_day:
            manifest.check_open(day)
        return verified

    def redeem(self, data: bytes) -> bytes:
        """The ledger's promise for a pledge, checked; 137 bytes.

        Raises:
            MisbehaviourError: the ledger's promise is not for this pledge.
            ProtocolError: as ``verify``, or whatever the ledger answers.
        """
        verified = self.verify(data)
        manifest, nullifier = verified.manifest, verified.nullifier
        promise = self._submit(data, manifest)
        # The leaf may be that of the same pledge with other authenticators, sent before; the
        # nullifier fixes all the rest of it. A client compares the leaf hash with its own entry.
        expected = (KIND_PLEDGE, nullifier, 0, manifest.deadline_day)
        return _checked(promise, expected)

    def revise(self, data: bytes) -> bytes:
        """The ledger's promise for a revision, checked; 137 bytes.

        Protocol, Section 3. The revision key stands in the pledge, so the signature and the serial
        are the ledger's to check.

        Raises:
            MalformedError: the entry or a field of it is malformed.
            NotEligibleError: the scope is not accepted here.
            ScopeClosedError: the scope is not open yet, or long frozen.
            MisbehaviourError: the ledger's promise is not for this revision.
            ProtocolError: whatever the ledger answers.
        """
        revision = Revision.from_bytes(data)
        manifest = self._scope(revision.scope_id)
        if revision.choice == WITHDRAWN:
            if revision.sealed_hash != NO_SEALED_HASH:
                raise MalformedError("a withdrawal carries a sealed hash")
        elif not manifest.valid_choice(revision.choice):
            raise MalformedError("the choice is none of this scope's")
        elif not manifest.valid_sealed_hash(revision.sealed_hash):
            raise MalformedError("the sealed hash is none that this scope takes")
        day = self._today()
        if not manifest.freezes < day <= manifest.deadline_day:
            manifest.check_change(day)
        promise = self._submit(data, manifest)
        expected = (KIND_REVISION, revision.nullifier, revision.serial, manifest.deadline_day)
        if promise.leaf_hash != leaf_hash(data):
            raise _wrong_promise(promise.to_bytes())
        return _checked(promise, expected)

    def _scope(self, scope_id: ScopeId) -> Manifest:
        manifest = self._scopes.get(scope_id)
        if manifest is None:
            raise NotEligibleError("this scope is not accepted here")
        return manifest

    def _verifier(self, manifest: Manifest) -> ScopeVerifier:
        verifier = self._verifiers.get(manifest.scope_id)
        if verifier is None:
            verifier = self._verifiers[manifest.scope_id] = ScopeVerifier(manifest)
        return verifier

    def _submit(self, data: bytes, manifest: Manifest) -> Promise:
        answer = self._ledger.submit(data)
        try:
            return verify_promise(Promise.from_bytes(answer), manifest.ledger.key)
        except (MalformedError, SignatureError) as exc:
            raise _wrong_promise(answer) from exc


def _checked(promise: Promise, expected: tuple[int, bytes, int, int]) -> bytes:
    if (promise.kind, promise.nullifier, promise.serial, promise.deadline) != expected:
        raise _wrong_promise(promise.to_bytes())
    return promise.to_bytes()


def _wrong_promise(answer: bytes) -> MisbehaviourError:
    return MisbehaviourError("the ledger's promise is not the one that this entry must get", (answer,))
