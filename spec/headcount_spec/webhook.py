"""Signed webhooks after Standard Webhooks 1.0 (standardwebhooks.com): what is signed, and by which keys.

webhook-id         names an event, however often it is sent
webhook-timestamp  seconds since 1970 at which this attempt was made
webhook-signature  one or more of  v1,<base64>  v1a,<base64>  with a space between them

signed = id "." timestamp "." body
v1     HMAC-SHA-256 under a secret of 24 to 64 bytes, written whsec_<base64>
v1a    Ed25519; the 32 bytes of the private seed are written whsk_<base64>, of the public key whpk_<base64>
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headcount_spec import signature
from headcount_spec.errors import MalformedError, SignatureError
from headcount_spec.text import decode_base64, encode_base64, parse_decimal

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300
SECRET_BYTES = 32  # of a new secret
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
MAX_SIGNATURES = 16
_MAX_HEADER_CHARS = 4096
_SECRET, _SEED, _KEY = "whsec_", "whsk_", "whpk_"
# No dot: it stands between the id and the timestamp.
_ID = re.compile(r"\A[A-Za-z0-9_-]{1,128}\Z", re.ASCII)
_VERSION = re.compile(r"\Av[0-9]{1,3}[a-z]?\Z", re.ASCII)
_V1, _V1A = "v1", "v1a"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that sender and receiver share."""

    key: bytes  # 24 to 64 bytes

    def to_text(self) -> str:
        """The spelling in a file."""
        return _SECRET + encode_base64(self.key)

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """Version and signature."""
        return _V1, hmac.digest(self.key, message, hashlib.sha256)

    def has_signed(self, version: str, signed: bytes, message: bytes) -> bool:
        """Whether a signature is of this secret; takes the same time wherever it differs."""
        return version == _V1 and hmac.compare_digest(self.sign(message)[1], signed)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a receiver needs of a sender that signs by Ed25519."""

    key: bytes  # 32 bytes

    def to_text(self) -> str:
        """The spelling in a file."""
        return _KEY + encode_base64(self.key)

    def has_signed(self, version: str, signed: bytes, message: bytes) -> bool:
        """Whether a signature is of this key."""
        if version != _V1A or len(signed) != signature.SIGNATURE_BYTES:
            return False
        try:
            signature.verify(self.key, message, signed)
        except SignatureError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Seed:
    """The private half: who holds the public one can check, and sign nothing."""

    seed: bytes  # 32 bytes

    def to_text(self) -> str:
        """The spelling in a file."""
        return _SEED + encode_base64(self.seed)

    @property
    def public(self) -> PublicKey:
        """What receivers are given."""
        return PublicKey(signature.public_key(self.seed))

    def sign(self, message: bytes) -> tuple[str, bytes]:
        """Version and signature."""
        return _V1A, signature.sign(self.seed, message)


Signer = Secret | Seed
Checker = Secret | PublicKey


@dataclass(frozen=True, slots=True)
class Head:
    """The three headers of one attempt."""

    id: str
    timestamp: int  # seconds since 1970
    signatures: tuple[tuple[str, bytes], ...]  # (version, signature) of the versions that are known here

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Head:
        """Read them; names count in any case, and signatures of unknown versions are passed over.

        Raises:
            MalformedError: one is missing, stands twice, or is not of its form.
        """
        found: dict[str, str] = {}
        for name, value in headers.items():
            lower = name.lower()
            if lower in (ID, TIMESTAMP, SIGNATURE):
                if lower in found:
                    raise MalformedError("a header of the webhook stands twice")
                found[lower] = value
        if len(found) != 3:
            raise MalformedError("a header of the webhook is missing")
        if not _ID.match(found[ID]):
            raise MalformedError("not an id of a webhook")
        return cls(found[ID], parse_decimal(found[TIMESTAMP]), parse_signatures(found[SIGNATURE]))

    def to_headers(self) -> dict[str, str]:
        """As they are sent."""
        signatures = " ".join(f"{version},{encode_base64(signed)}" for version, signed in self.signatures)
        return {ID: self.id, TIMESTAMP: str(self.timestamp), SIGNATURE: signatures}


def parse_signatures(text: str) -> tuple[tuple[str, bytes], ...]:
    """The signatures of a header whose versions are known here; there may be none.

    Raises:
        MalformedError: too long or too many, an item without version or comma, base64 that is not canonical.
    """
    items = text.split(" ")
    if len(text) > _MAX_HEADER_CHARS or len(items) > MAX_SIGNATURES:
        raise MalformedError("too many signatures of a webhook")
    found = []
    for item in items:
        version, comma, value = item.partition(",")
        if not comma or not _VERSION.match(version):
            raise MalformedError("not a signature of a webhook")
        if version in (_V1, _V1A):
            found.append((version, decode_base64(value)))
    return tuple(found)


def parse_signer(text: str) -> Signer:
    """A key to sign with.

    Raises:
        MalformedError: neither whsec_ nor whsk_, or not of the length.
    """
    if text.startswith(_SEED):
        return Seed(decode_base64(text.removeprefix(_SEED), signature.KEY_BYTES))
    return _secret(text)


def parse_checker(text: str) -> Checker:
    """A key to check with.

    Raises:
        MalformedError: neither whsec_ nor whpk_, not of the length, or a point that anybody can sign under.
    """
    if text.startswith(_KEY):
        key = decode_base64(text.removeprefix(_KEY), signature.KEY_BYTES)
        return PublicKey(signature.check_public_key(key))
    return _secret(text)


def sign(signers: Sequence[Signer], id: str, timestamp: int, body: bytes) -> Head:
    """The headers of one attempt, with a signature by each key.

    Raises:
        MalformedError: not an id.
    """
    if not _ID.match(id):
        raise MalformedError("not an id of a webhook")
    message = _message(id, timestamp, body)
    return Head(id, timestamp, tuple(signer.sign(message) for signer in signers))


def check(
    checkers: Sequence[Checker], head: Head, body: bytes, now: int, tolerance_s: int = TOLERANCE_S
) -> None:
    """Check that one of the keys has signed this body now; now in seconds since 1970.

    Raises:
        SignatureError: none of them has, or it was signed too long ago, or not yet.
    """
    message = _message(head.id, head.timestamp, body)
    if not any(
        checker.has_signed(version, signed, message)
        for checker in checkers
        for version, signed in head.signatures
    ):
        raise SignatureError("no key that is trusted here has signed the webhook")
    if abs(now - head.timestamp) > tolerance_s:
        raise SignatureError("the webhook was not signed just now")


def _message(id: str, timestamp: int, body: bytes) -> bytes:
    return f"{id}.{timestamp}.".encode("ascii") + body


def _secret(text: str) -> Secret:
    if not text.startswith(_SECRET):
        raise MalformedError("not a key of a webhook")
    key = decode_base64(text.removeprefix(_SECRET))
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise MalformedError(f"{len(key)} bytes where a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")
    return Secret(key)
