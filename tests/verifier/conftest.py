from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

import manifests
from headcount_spec.entry import parse_entry
from headcount_spec.errors import NotEligibleError, RevisionConflictError, ScopeClosedError
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.pledge import Pledge
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest
from headcount_verifier import Redeemer, verifier_blueprint


class LedgerDouble:
    """The ledger in memory: one nullifier once, the same promise for the same entry."""

    def __init__(self, *scopes: Manifest, key: SigningKey = manifests.LEDGER_KEY) -> None:
        self.scopes = {scope.scope_id: scope for scope in scopes}
        self.key = key
        self.today = manifests.OPENS
        self.submitted: list[bytes] = []
        self.pledges: dict[bytes, bytes] = {}
        self.revisions: dict[bytes, list[bytes]] = {}
        self.tamper: Callable[[Promise], Promise] | None = None
        self.fault: Exception | None = None

    def submit(self, data: bytes) -> bytes:
        self.submitted.append(data)
        if self.fault is not None:
            raise self.fault
        entry = parse_entry(data)
        assert isinstance(entry, (Pledge, Revision))
        promise = self._pledge(entry, data) if isinstance(entry, Pledge) else self._revise(entry, data)
        return (self.tamper(promise) if self.tamper else promise).to_bytes()

    def promise(self, data: bytes, kind: int, nullifier: bytes, serial: int, scope: Manifest) -> Promise:
        return sign_promise(self.key, leaf_hash(data), kind, nullifier, serial, scope.deadline_day)

    def _pledge(self, pledge: Pledge, data: bytes) -> Promise:
        scope = self.scopes[pledge.scope_id]
        if pledge.nullifier not in self.pledges and self.today > scope.closes:
            raise ScopeClosedError("closed")
        stored = self.pledges.setdefault(pledge.nullifier, data)
        return self.promise(stored, KIND_PLEDGE, pledge.nullifier, 0, scope)

    def _revise(self, revision: Revision, data: bytes) -> Promise:
        if revision.nullifier not in self.pledges:
            raise NotEligibleError("no such pledge")
        known = self.revisions.setdefault(revision.nullifier, [])
        if data not in known:
            if revision.serial != len(known) + 1:
                raise RevisionConflictError("another serial is next", len(known))
            known.append(data)
        scope = self.scopes[revision.scope_id]
        return self.promise(data, KIND_REVISION, revision.nullifier, revision.serial, scope)


class Clock:
    def __init__(self, day: int) -> None:
        self.day = day

    def __call__(self) -> int:
        return self.day


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return manifests.manifest()


@pytest.fixture(scope="session")
def three_issuers() -> Manifest:
    return manifests.manifest(3, options=manifests.options("Go", "Stay"))


@pytest.fixture
def ledger(manifest: Manifest, three_issuers: Manifest) -> LedgerDouble:
    return LedgerDouble(manifest, three_issuers)


@pytest.fixture
def clock() -> Clock:
    return Clock(manifests.OPENS)


@pytest.fixture
def redeemer(ledger: LedgerDouble, clock: Clock) -> Redeemer:
    return Redeemer(ledger.scopes, ledger, clock)


@pytest.fixture
def site(redeemer: Redeemer) -> FlaskClient:
    app = Flask("partner")
    app.register_blueprint(verifier_blueprint(redeemer), url_prefix="/pledge")
    return app.test_client()
