"""A campaign's link for one channel: a poster, a newsletter. Signed, so that nobody else has it counted.

It has no name of the channel: that is the organiser's own. Whoever opens it is sent on to the campaign's page
without it, so nothing that follows can carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headcount_spec import signature
from headcount_spec.errors import MalformedError, SignatureError
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_base64url, encode_base64url
from headcount_spec.wire import Reader, u8, u32

VERSION = 1
LINK_BYTES = 90
PREFIX_BYTES, ID_BYTES = 8, 8
TOKEN_CHARS = 120
_DOMAIN = b"headcount/link/v1\x00"


# struct {
#     uint8 version = 1;
#     opaque scope_prefix[8];     the first bytes of the scope id
#     opaque id[8];               drawn anew for each link
#     uint32 cap;                 openings; 0: as many as there are
#     uint32 last_day;            days since 1970, inclusive, UTC
#     uint8 key;                  which of the manifest's organiser keys has signed, from 0
#     opaque signature[64];       Ed25519 over headcount/link/v1\0 || scope_id || id || cap || last_day
# } Link;
@dataclass(frozen=True, slots=True)
class Link:
    """One link."""

    scope_prefix: bytes  # 8 bytes
    id: bytes  # 8 bytes
    cap: int  # openings; 0 for no cap
    last_day: int  # days since 1970
    key: int  # index of the organiser's key
    signature: bytes  # 64 bytes

    @classmethod
    def from_token(cls, token: str) -> Link:
        """Read the last part of its address, 120 characters.

        Raises:
            MalformedError: another length, version or spelling.
        """
        reader = Reader(decode_base64url(token, LINK_BYTES))
        reader.expect(u8(VERSION), "version")
        prefix, id = reader.take(PREFIX_BYTES), reader.take(ID_BYTES)
        found = cls(
            prefix, id, reader.u32(), reader.u32(), reader.u8(), reader.take(signature.SIGNATURE_BYTES)
        )
        reader.finish()
        return found

    def to_token(self) -> str:
        """The last part of its address; 90 bytes need no padding."""
        head = u8(VERSION) + self.scope_prefix + self.id + u32(self.cap) + u32(self.last_day)
        return encode_base64url(head + u8(self.key) + self.signature)

    def check(self, scope_id: ScopeId, organisers: Sequence[bytes]) -> None:
        """Check that an organiser of the scope has made it; organisers are the manifest's keys.

        Raises:
            MalformedError: it is of another scope.
            SignatureError: no organiser's signature.
        """
        if scope_id[:PREFIX_BYTES] != self.scope_prefix:
            raise MalformedError("a link of another scope")
        if self.key >= len(organisers):
            raise SignatureError("no such organiser has made the link")
        message = _message(scope_id, self.id, self.cap, self.last_day)
        signature.verify(organisers[self.key], message, self.signature)


def sign_link(scope_id: ScopeId, key: int, seed: bytes, id: bytes, cap: int, last_day: int) -> Link:
    """The link by the 32-byte seed of the manifest's organiser key number ``key``, from 0."""
    signed = signature.sign(seed, _message(scope_id, id, cap, last_day))
    return Link(scope_id[:PREFIX_BYTES], id, cap, last_day, key, signed)


def _message(scope_id: ScopeId, id: bytes, cap: int, last_day: int) -> bytes:
    return _DOMAIN + scope_id + id + u32(cap) + u32(last_day)
