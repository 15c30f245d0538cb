"""Revisions: the holder of a pledge's revision key changes or withdraws it.

Whether the signature is good and the serial is next is not asked here (headcount_engine.acceptance).
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.pledge import Nullifier
from headcount_spec.scope import ScopeId
from headcount_spec.wire import Reader, u16, u32

HEADER = b"\x03\x01"  # entry type, version
MAX_SERIAL = 16  # a pledge has serial 0, each revision one more

_DOMAIN = b"headcount/revision/v1\x00"


def revision_message(
    scope_id: bytes, nullifier: bytes, serial: int, choice: int, sealed_hash: bytes
) -> bytes:
    """What the revision key signs. Protocol, Section 3; byte strings are 32 bytes."""
    return _DOMAIN + scope_id + nullifier + u32(serial) + u16(choice) + sealed_hash


# struct {
#     uint8 entry_type = 3;  uint8 version = 1;
#     opaque scope_id[32];
#     opaque nullifier[32];
#     uint32 serial;
#     uint16 choice;
#     opaque sealed_hash[32];
#     opaque signature[64];
# } Revision;
@dataclass(frozen=True, slots=True)
class Revision:
    """One change of one pledge."""

    scope_id: ScopeId
    nullifier: Nullifier
    serial: int  # 1 to MAX_SERIAL
    choice: int  # as a pledge's, or WITHDRAWN
    sealed_hash: bytes  # 32 bytes, zeros for none
    signature: bytes  # 64 bytes, Ed25519

    @property
    def signed_message(self) -> bytes:
        """What the signature is over."""
        return revision_message(self.scope_id, self.nullifier, self.serial, self.choice, self.sealed_hash)

    def to_bytes(self) -> bytes:
        """The entry, 168 bytes."""
        return b"".join(
            (
                HEADER,
                self.scope_id,
                self.nullifier,
                u32(self.serial),
                u16(self.choice),
                self.sealed_hash,
                self.signature,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Revision:
        """Read an entry.

        Raises:
            MalformedError: another type, version or length, or a serial outside 1 to 16.
        """
        reader = Reader(data)
        reader.expect(HEADER, "entry type or version")
        revision = cls(
            ScopeId(reader.take(32)),
            Nullifier(reader.take(32)),
            reader.u32(),
            reader.u16(),
            reader.take(32),
            reader.take(64),
        )
        reader.finish()
        if not 1 <= revision.serial <= MAX_SERIAL:
            raise MalformedError(f"serial outside 1 to {MAX_SERIAL}")
        return revision
