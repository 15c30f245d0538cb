"""What a person hands to a contact store: a sealed blob, and later the wish to have it erased."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.pledge import PLAIN, Nullifier, nonce
from headcount_spec.promise import PROMISE_BYTES, Promise
from headcount_spec.scope import ScopeId
from headcount_spec.sealed import blob_bytes
from headcount_spec.terms import MAX_TRUSTEES
from headcount_spec.wire import Reader, u8

VERSION = 1
DEPOSIT_TYPE = "application/vnd.headcount.deposit"
ERASURE_TYPE = "application/vnd.headcount.erasure"
_HEAD_BYTES = 1 + 32 + 32 + PROMISE_BYTES
MAX_DEPOSIT_BYTES = _HEAD_BYTES + blob_bytes(MAX_TRUSTEES)
ERASURE_BYTES = 1 + 3 * 32 + 64

_ERASURE = b"headcount/erasure/v1\x00"


# struct {
#     uint8 version = 1;
#     opaque scope_id[32];
#     opaque revision_key[32];
#     Promise promise;            137 bytes, for the pledge of the contact scope
#     opaque blob[355 + 81 * n];
# } Deposit;
@dataclass(frozen=True, slots=True)
class Deposit:
    """A sealed contact with the ledger's promise for the entry that commits to it."""

    scope_id: ScopeId
    revision_key: bytes  # 32 bytes
    promise: Promise
    blob: bytes

    @property
    def nullifier(self) -> Nullifier:
        """That of the pledge in the contact scope, which has the hash of this blob."""
        sealed_hash = hashlib.sha256(self.blob).digest()
        return nonce(self.scope_id, PLAIN, self.revision_key, sealed_hash)

    def to_bytes(self) -> bytes:
        """The body of the request."""
        head = u8(VERSION) + self.scope_id + self.revision_key
        return head + self.promise.to_bytes() + self.blob

    @classmethod
    def from_bytes(cls, data: bytes) -> Deposit:
        """Read the body of a request; whether the blob fits the scope is asked elsewhere.

        Raises:
            MalformedError: another version, truncated, or a blob of a size that no scope has.
        """
        reader = Reader(data)
        reader.expect(u8(VERSION), "version")
        scope_id, revision_key = ScopeId(reader.take(32)), reader.take(32)
        promise = Promise.from_bytes(reader.take(PROMISE_BYTES))
        if reader.left not in _SIZES:
            raise MalformedError("the blob has a size that no scope has")
        return cls(scope_id, revision_key, promise, reader.take(reader.left))


_SIZES = frozenset(blob_bytes(n) for n in range(1, MAX_TRUSTEES + 1))


# struct {
#     uint8 version = 1;
#     opaque scope_id[32];
#     opaque revision_key[32];
#     opaque sealed_hash[32];
#     opaque signature[64];       Ed25519 by the revision key, Section 1.2's strict rules
# } Erasure;
@dataclass(frozen=True, slots=True)
class Erasure:
    """The holder's wish that a blob be forgotten."""

    scope_id: ScopeId
    revision_key: bytes  # 32 bytes
    sealed_hash: bytes  # 32 bytes, of the pledge in the contact scope
    signature: bytes  # 64 bytes

    @property
    def nullifier(self) -> Nullifier:
        """That of the pledge in the contact scope."""
        return nonce(self.scope_id, PLAIN, self.revision_key, self.sealed_hash)

    @property
    def signed_message(self) -> bytes:
        """What the signature is over."""
        return erasure_message(self.scope_id, self.nullifier)

    def to_bytes(self) -> bytes:
        """The body of the request, 161 bytes."""
        return u8(VERSION) + self.scope_id + self.revision_key + self.sealed_hash + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Erasure:
        """Read the body of a request.

        Raises:
            MalformedError: another version or length.
        """
        reader = Reader(data)
        reader.expect(u8(VERSION), "version")
        erasure = cls(ScopeId(reader.take(32)), reader.take(32), reader.take(32), reader.take(64))
        reader.finish()
        return erasure


def erasure_message(scope_id: bytes, nullifier: bytes) -> bytes:
    """What the revision key signs to have a blob erased."""
    return _ERASURE + scope_id + nullifier
