"""Whether a pledge or a revision is valid under its scope's manifest: one rule for everybody.

Verifier, ledger and audit all ask here, so that no two of them can drift apart. Whether the scope
is open today, whether its openings are published and whether a nullifier is spent are questions
about the ledger and the day, and are not asked here.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount_engine import ed25519, rsa
from headcount_spec.errors import MalformedError, NotEligibleError, RevisionConflictError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import NO_SEALED_HASH, WITHDRAWN, Manifest
from headcount_spec.token import NONCE_BYTES, TOKEN_TYPE
from headcount_spec.wire import u16


@dataclass(frozen=True, slots=True)
class VerifiedPledge:
    """A pledge that ``ScopeVerifier.verify_entry`` has found valid, and its entry."""

    pledge: Pledge
    nullifier: Nullifier
    leaf_hash: LeafHash
    entry: bytes
    manifest: Manifest


class ScopeVerifier:
    """One scope's keys, loaded once. Threads may share it."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._keys = [rsa.load_public_key(issuer.token_key) for issuer in manifest.issuers]
        # The part of each token input behind the nonce is the same for every pledge.
        self._tails = [msg[2 + NONCE_BYTES :] for msg in manifest.token_inputs(bytes(NONCE_BYTES))]

    def verify_entry(self, pledge: Pledge, entry: bytes) -> VerifiedPledge:
        """The valid pledge that was read from these bytes; raises as ``verify_pledge``."""
        nullifier = self.verify_pledge(pledge)
        return VerifiedPledge(pledge, nullifier, leaf_hash(entry), entry, self.manifest)

    def verify_pledge(self, pledge: Pledge) -> Nullifier:
        """The nullifier of a valid pledge.

        Protocol, Sections 3 and 4. Every listed issuer has signed, in the manifest's order.

        Raises:
            NotEligibleError: the pledge is of another scope.
            MalformedError: too many or too few authenticators, or a choice or sealed hash that this
                scope does not take.
            SignatureError: an authenticator does not verify.
        """
        self._check_scope(pledge.scope_id)
        if len(pledge.authenticators) != len(self._keys):
            raise MalformedError(
                f"{len(pledge.authenticators)} authenticators where {len(self._keys)} issuers sign"
            )
        self._check_choice(pledge.choice, pledge.sealed_hash)
        nullifier = pledge.nullifier
        head = u16(TOKEN_TYPE) + nullifier
        for key, tail, authenticator in zip(self._keys, self._tails, pledge.authenticators, strict=True):
            rsa.verify(key, head + tail, authenticator)
        return nullifier

    @property
    def keys(self) -> tuple[tuple[rsa.VerifyingKey, bytes], ...]:
        """Each issuer's key with what stands behind the nonce in its token input, for verifying very many."""
        return tuple(zip(self._keys, self._tails, strict=True))

    def verify_revision(self, revision: Revision, revision_key: bytes, serial_now: int) -> None:
        """Check a revision of the pledge with this revision key, whose last serial is serial_now.

        Protocol, Section 3. serial_now is 0 for a pledge that was never revised.

        Raises:
            NotEligibleError: the revision is of another scope.
            MalformedError: a choice or sealed hash that this scope does not take.
            SignatureError: the revision key has not signed it.
            RevisionConflictError: the serial is not the next one.
        """
        self._check_scope(revision.scope_id)
        if revision.choice != WITHDRAWN:
            self._check_choice(revision.choice, revision.sealed_hash)
        elif revision.sealed_hash != NO_SEALED_HASH:
            raise MalformedError("a withdrawal carries a sealed hash")
        ed25519.verify(revision_key, revision.signed_message, revision.signature)
        if revision.serial != serial_now + 1:
            raise RevisionConflictError(f"the next serial is {serial_now + 1}", serial_now)

    def _check_scope(self, scope_id: bytes) -> None:
        if scope_id != self.manifest.scope_id:
            raise NotEligibleError("the entry is of another scope")

    def _check_choice(self, choice: int, sealed_hash: bytes) -> None:
        if not self.manifest.valid_choice(choice):
            raise MalformedError("the choice is none of this scope's")
        if not self.manifest.valid_sealed_hash(sealed_hash):
            raise MalformedError("the sealed hash is none that this scope takes")
