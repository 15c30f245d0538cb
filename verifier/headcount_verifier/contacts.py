"""The contact store: sealed blobs under their nullifiers, until the holder or the end erases them.

It takes a blob only with the ledger's promise for the entry that has its hash, so with a token, and never
after the campaign was reached. What it keeps opens for nobody here, and has no time and no order (blob_file).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from headcount_engine import ed25519
from headcount_ledger.reader.fetch import http_fetch
from headcount_ledger.reader.reached import find_reached, seals
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec import blobs
from headcount_spec.deposit import Deposit, Erasure
from headcount_spec.errors import NotEligibleError, ScopeClosedError, SignatureError
from headcount_spec.policy import Log, Policy
from headcount_spec.promise import KIND_PLEDGE, verify_promise
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.sealed import Blob, blob_bytes
from headcount_spec.terms import TrusteeTerms
from headcount_spec.text import day_of
from headcount_verifier.blob_file import BlobFile
from headcount_verifier.config import VerifierConfig
from headcount_verifier.manifests import load_manifests

LOOK_S = 30  # how long the answer "not reached" is believed

HasReached = Callable[[Manifest], bool]


class Contacts:
    """The blobs of the contact scopes among these manifests. Threads may share it."""

    def __init__(
        self,
        scopes: Mapping[ScopeId, Manifest],
        folder: Path,
        has_reached: HasReached,
        today: Callable[[], int],
    ) -> None:
        """folder has one file a scope; has_reached asks the ledger about a parent."""
        self._scopes = scopes
        self._folder = folder
        self._has_reached = has_reached
        self._today = today
        self._files: dict[ScopeId, BlobFile] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, config: VerifierConfig) -> Contacts | None:
        """The store of a configuration, by this machine's clock; None where none is configured.

        Raises:
            ConfigurationError: a manifest is missing, malformed or not the pinned one.
        """
        if config.contacts is None:
            return None
        fetch = http_fetch(config.ledger, HttpTransport(timeout_s=config.timeout_s))
        watch = ReachedWatch(lambda manifest: open_ledger(fetch, _trust(manifest)))
        return cls(load_manifests(config), config.contacts, watch, lambda: day_of(int(time.time())))

    def deposit(self, data: bytes) -> None:
        """Keep a blob durably; the same again changes nothing.

        Protocol, Section 9.6.

        Raises:
            MalformedError: not a deposit, or a blob that is not of this scope.
            NotEligibleError: no contact scope that is accepted here.
            SignatureError: the promise is not the ledger's, or is for another entry.
            ScopeClosedError: the campaign was reached, or the scope is over.
            UnavailableError: the store or the ledger cannot be asked now.
        """
        deposit = Deposit.from_bytes(data)
        manifest, trustees = self._scope(deposit.scope_id)
        Blob.from_bytes(deposit.blob, trustees.t, len(trustees.members))
        nullifier = deposit.nullifier
        promise = verify_promise(deposit.promise, manifest.ledger.key)
        if (promise.kind, promise.nullifier) != (KIND_PLEDGE, nullifier):
            raise SignatureError("the promise is for another entry than this blob's")
        if self._today() > manifest.deadline_day:
            raise ScopeClosedError("contacts are no longer taken")
        parent = self._scopes.get(manifest.parent) if manifest.parent is not None else None
        if parent is None:
            raise NotEligibleError("the campaign of these contacts is not accepted here")
        if self._has_reached(parent):
            raise ScopeClosedError("the campaign was reached: contacts are no longer taken")
        self._file(manifest, trustees).put(nullifier, deposit.blob)

    def erase(self, data: bytes) -> None:
        """Forget a blob; whether there was one is not said.

        Raises:
            MalformedError: not an erasure.
            NotEligibleError: no contact scope that is accepted here.
            SignatureError: it is not signed by the holder.
            UnavailableError: the store cannot be written now.
        """
        erasure = Erasure.from_bytes(data)
        manifest, trustees = self._scope(erasure.scope_id)
        ed25519.verify(erasure.revision_key, erasure.signed_message, erasure.signature)
        self._file(manifest, trustees).erase(erasure.nullifier)

    def export(self, scope_id: ScopeId) -> Iterator[bytes]:
        """The file of blobs for the organiser, piece by piece.

        Raises:
            NotEligibleError: no contact scope that is accepted here.
            UnavailableError: the store cannot be read now.
        """
        manifest, trustees = self._scope(scope_id)
        yield blobs.encode_header(scope_id, len(trustees.members))
        for nullifier, blob in self._file(manifest, trustees).records():
            yield nullifier + blob

    def check_origin(self, data: bytes, origin: str) -> None:
        """Refuse a page of an origin that the manifest does not allow.

        Raises:
            NotEligibleError: another origin, or no contact scope that is accepted here.
        """
        manifest, _ = self._scope(ScopeId(data[1:33]))
        if origin not in manifest.origins:
            raise NotEligibleError("the manifest does not allow this origin")

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _scope(self, scope_id: ScopeId) -> tuple[Manifest, TrusteeTerms]:
        manifest = self._scopes.get(scope_id)
        if manifest is None or manifest.kind != "contact" or manifest.trustees is None:
            raise NotEligibleError("no contacts of this scope are taken here")
        return manifest, manifest.trustees

    def _file(self, manifest: Manifest, trustees: TrusteeTerms) -> BlobFile:
        with self._lock:
            file = self._files.get(manifest.scope_id)
            if file is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = self._folder / f"{manifest.scope_id.hex()}.sqlite"
                file = self._files[manifest.scope_id] = BlobFile(path, blob_bytes(len(trustees.members)))
            return file


class ReachedWatch:
    """Whether campaigns are reached, as their ledger shows it; a yes is kept for ever, a no for a while."""

    def __init__(
        self, look: Callable[[Manifest], LedgerView], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._reached: set[ScopeId] = set()
        self._until: dict[ScopeId, float] = {}
        self._after: dict[ScopeId, int] = {}  # the last batch that was looked at

    def __call__(self, manifest: Manifest) -> bool:
        """Whether it is reached.

        Raises:
            ProtocolError: the ledger cannot be read now, or contradicts itself.
        """
        scope_id = manifest.scope_id
        with self._lock:
            if scope_id in self._reached:
                return True
            if self._clock() < self._until.get(scope_id, float("-inf")):
                return False
            view = self._look(manifest)
            newest = next(seals(view), None)
            if find_reached(view, manifest, self._after.get(scope_id, -1)) is not None:
                self._reached.add(scope_id)
                return True
            if newest is not None:
                self._after[scope_id] = newest.seal.batch
            self._until[scope_id] = self._clock() + LOOK_S
            return False


def _trust(manifest: Manifest) -> Policy:
    # The ledger behind this verifier, by the manifest's key; witnesses are for those who rely on the number.
    return Policy(logs=(Log(manifest.ledger.key),))
