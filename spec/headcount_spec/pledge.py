"""Pledges: what the issuers sign blindly, and the ledger entry that carries it.

The nonce of the token is a hash of the pledge, so the blind signatures cover the pledge itself.
Whether the authenticators are good is not asked here (headcount_engine.acceptance).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NewType

from headcount_spec.errors import MalformedError
from headcount_spec.scope import PLAIN, SEALED, WITHDRAWN, ScopeId
from headcount_spec.terms import MAX_ISSUERS
from headcount_spec.wire import Reader, u8, u16

__all__ = [
    "AUTHENTICATOR_BYTES",
    "PLAIN",
    "SEALED",
    "WITHDRAWN",
    "Nullifier",
    "Pledge",
    "nonce",
    "read_nullifier",
]

Nullifier = NewType("Nullifier", bytes)  # 32 bytes

HEADER = b"\x01\x01"  # entry type, version
AUTHENTICATOR_BYTES = 256  # RFC 9578, Section 8.2.2: Nk of token type 0x0002

_N_AT = 100  # offset of n

DOMAIN = b"headcount/pledge/v1\x00"


def nonce(scope_id: bytes, choice: int, revision_key: bytes, sealed_hash: bytes) -> Nullifier:
    """The nonce of the token that carries this pledge, which is also its nullifier.

    Protocol, Section 3. All byte strings are 32 bytes; 0 <= choice < 2^16.
    """
    return Nullifier(hashlib.sha256(DOMAIN + scope_id + u16(choice) + revision_key + sealed_hash).digest())


def read_nullifier(data: bytes) -> Nullifier:
    """The nullifier of an entry; what is malformed is refused as by ``Pledge.from_bytes``.

    For whoever reads very many of them: no object is made.
    """
    n = data[_N_AT] if len(data) > _N_AT else 0
    if data[:2] != HEADER or not 1 <= n <= MAX_ISSUERS or len(data) != _N_AT + 1 + n * AUTHENTICATOR_BYTES:
        Pledge.from_bytes(data)
    # What the nonce is over stands in the entry in the same order.
    return Nullifier(hashlib.sha256(DOMAIN + data[2:_N_AT]).digest())


# struct {
#     uint8 entry_type = 1;  uint8 version = 1;
#     opaque scope_id[32];
#     uint16 choice;
#     opaque revision_key[32];
#     opaque sealed_hash[32];
#     uint8 n;
#     opaque authenticators[256 * n];
# } Pledge;
@dataclass(frozen=True, slots=True)
class Pledge:
    """One pledge with one authenticator of each issuer, in the manifest's order."""

    scope_id: ScopeId
    choice: int  # an option's number, PLAIN or SEALED
    revision_key: bytes  # 32 bytes, Ed25519
    sealed_hash: bytes  # 32 bytes, zeros for none
    authenticators: tuple[bytes, ...]  # 1 to 8 of 256 bytes

    @property
    def nullifier(self) -> Nullifier:
        """What the ledger accepts once."""
        return nonce(self.scope_id, self.choice, self.revision_key, self.sealed_hash)

    def to_bytes(self) -> bytes:
        """The entry."""
        return b"".join(
            (
                HEADER,
                self.scope_id,
                u16(self.choice),
                self.revision_key,
                self.sealed_hash,
                u8(len(self.authenticators)),
                *self.authenticators,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Pledge:
        """Read an entry.

        Raises:
            MalformedError: another type or version, truncated, trailing bytes, or a number of
                authenticators that no manifest has.
        """
        # Every pledge is read here three times before it is published: when all fits, by slices.
        n = data[_N_AT] if len(data) > _N_AT else 0
        at = _N_AT + 1
        if data[:2] == HEADER and 1 <= n <= MAX_ISSUERS and len(data) == at + n * AUTHENTICATOR_BYTES:
            authenticators = tuple(
                data[i : i + AUTHENTICATOR_BYTES] for i in range(at, len(data), AUTHENTICATOR_BYTES)
            )
            choice = int.from_bytes(data[34:36], "big")
            return cls(ScopeId(data[2:34]), choice, data[36:68], data[68:100], authenticators)
        # Otherwise field by field, which says what is wrong.
        reader = Reader(data)
        reader.expect(HEADER, "entry type or version")
        reader.take(32 + 2 + 32 + 32)
        n = reader.u8()
        if not 1 <= n <= MAX_ISSUERS:
            raise MalformedError(f"{n} authenticators where 1 to {MAX_ISSUERS} may be")
        reader.take(n * AUTHENTICATOR_BYTES)
        raise MalformedError("trailing bytes")
