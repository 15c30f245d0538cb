"""The certificate that a campaign was reached: what trustees say together, and the file that carries it.

    message = "headcount/reached/v1\\0" || scope_id || seal[32] || uint64 batch || uint64 live || uint32 day

scope_id is the campaign's, seal the leaf hash of the first seal at which it was reached. The signatures are
BLS12-381 (draft-irtf-cfrg-bls-signature-05, minimal public keys, proof of possession), aggregated; they
are checked in headcount_engine.certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount_spec import jcs
from headcount_spec.errors import MalformedError
from headcount_spec.members import Members
from headcount_spec.merkle import LeafHash
from headcount_spec.scope import ScopeId
from headcount_spec.terms import BLS_SIGNATURE_BYTES, MAX_TRUSTEES
from headcount_spec.text import decode_hex, encode_base64
from headcount_spec.wire import u32, u64

VERSION = 1
MAX_BYTES = 2_000
MEDIA_TYPE = "application/vnd.headcount.certificate+json"

_DOMAIN = b"headcount/reached/v1\x00"


@dataclass(frozen=True, slots=True)
class Reached:
    """That a campaign reached its threshold, and where: its first such seal."""

    scope_id: ScopeId
    seal: LeafHash
    batch: int
    live: int  # the count there
    day: int  # of the seal

    @property
    def message(self) -> bytes:
        """What trustees sign, 105 bytes."""
        return _DOMAIN + self.scope_id + self.seal + u64(self.batch) + u64(self.live) + u32(self.day)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What some of a contact scope's trustees have signed together."""

    reached: Reached
    contacts: ScopeId  # the contact scope, whose manifest names the trustees
    signers: tuple[int, ...]  # trustees from 1, ascending
    signature: bytes  # aggregate, 96 bytes

    def to_bytes(self) -> bytes:
        """The file, in the form of RFC 8785.

        signers is a bitmap in hex, 8 digits: bit i - 1 is trustee i's.
        """
        bitmap = sum(1 << (i - 1) for i in self.signers)
        return jcs.canonicalise(
            {
                "batch": self.reached.batch,
                "contacts": self.contacts.hex(),
                "day": self.reached.day,
                "headcount_reached": VERSION,
                "live": self.reached.live,
                "scope": self.reached.scope_id.hex(),
                "seal": self.reached.seal.hex(),
                "signature": encode_base64(self.signature),
                "signers": u32(bitmap).hex(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Certificate:
        """Read a file.

        Raises:
            MalformedError: not canonical, a member missing, unknown or out of range, or no signer.
        """
        members = Members(jcs.parse_canonical(data, MAX_BYTES), "certificate")
        members.integer("headcount_reached", VERSION, VERSION)
        reached = Reached(
            scope_id=ScopeId(members.hex32("scope")),
            seal=LeafHash(members.hex32("seal")),
            batch=members.integer("batch", 0),
            live=members.integer("live", 1),
            day=members.integer("day", 0, 2**32 - 1),
        )
        signers = members.decoded("signers", _signers)
        certificate = cls(
            reached,
            ScopeId(members.hex32("contacts")),
            signers,
            members.sized("signature", BLS_SIGNATURE_BYTES),
        )
        members.finish()
        return certificate


def _signers(text: str) -> tuple[int, ...]:
    bitmap = int.from_bytes(decode_hex(text, 4), "big")
    signers = tuple(i for i in range(1, MAX_TRUSTEES + 1) if bitmap >> (i - 1) & 1)
    if not signers:
        raise MalformedError("nobody has signed")
    return signers
