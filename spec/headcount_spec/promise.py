"""Promises: the ledger's signature that an accepted entry will be published by a day.

Deterministic: the same entry gets the same promise. No time and no index, which would tell the
order of arrival.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from headcount_spec import signature
from headcount_spec.errors import MalformedError
from headcount_spec.merkle import LeafHash
from headcount_spec.note import VerificationKey
from headcount_spec.pledge import Nullifier
from headcount_spec.revision import MAX_SERIAL
from headcount_spec.wire import Reader

PROMISE_BYTES = 137
MEDIA_TYPE = "application/vnd.headcount.promise"
KIND_PLEDGE = 1  # the entry type
KIND_REVISION = 3

_DOMAIN = b"headcount/promise/v1\x00"
_FIELDS = struct.Struct(">32sB32sII")


class Signer(Protocol):
    """Whatever signs with the ledger's key: a note's SigningKey, or the engine's."""

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        ...


# struct {
#     opaque leaf_hash[32];
#     uint8 kind;             1 pledge, 3 revision
#     opaque nullifier[32];
#     uint32 serial;          0 for a pledge
#     uint32 deadline;        days since 1970
#     opaque signature[64];
# } Promise;
@dataclass(frozen=True, slots=True)
class Promise:
    """What a client keeps until its receipt can be had."""

    leaf_hash: LeafHash
    kind: int
    nullifier: Nullifier
    serial: int
    deadline: int  # UTC day; published by its end
    signature: bytes

    @property
    def signed_message(self) -> bytes:
        """What the signature is over."""
        return _message(self.leaf_hash, self.kind, self.nullifier, self.serial, self.deadline)

    def to_bytes(self) -> bytes:
        """The promise, 137 bytes."""
        return self.signed_message[len(_DOMAIN) :] + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Promise:
        """Read a promise.

        Raises:
            MalformedError: another length or kind, or a serial that does not fit the kind.
        """
        reader = Reader(data)
        promise = cls(
            LeafHash(reader.take(32)),
            reader.u8(),
            Nullifier(reader.take(32)),
            reader.u32(),
            reader.u32(),
            reader.take(signature.SIGNATURE_BYTES),
        )
        reader.finish()
        if promise.kind == KIND_PLEDGE:
            fits = promise.serial == 0
        elif promise.kind == KIND_REVISION:
            fits = 1 <= promise.serial <= MAX_SERIAL
        else:
            raise MalformedError("a promise for another kind of entry")
        if not fits:
            raise MalformedError("the serial does not fit the kind of entry")
        return promise


def sign_promise(
    key: Signer, leaf_hash: LeafHash, kind: int, nullifier: Nullifier, serial: int, deadline: int
) -> Promise:
    """The ledger's promise for an entry that is durably staged."""
    message = _message(leaf_hash, kind, nullifier, serial, deadline)
    return Promise(leaf_hash, kind, nullifier, serial, deadline, key.sign(message))


def verify_promise(promise: Promise, key: VerificationKey) -> Promise:
    """Check that the ledger with this key made the promise.

    Raises:
        SignatureError: it did not.
    """
    signature.verify(key.public_key, promise.signed_message, promise.signature)
    return promise


def _message(leaf_hash: bytes, kind: int, nullifier: bytes, serial: int, deadline: int) -> bytes:
    return _DOMAIN + _FIELDS.pack(leaf_hash, kind, nullifier, serial, deadline)
