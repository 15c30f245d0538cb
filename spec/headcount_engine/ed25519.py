"""Ed25519 by libsodium: for revisions with checks that make every implementation agree, and for promises.

RFC 8032 lets implementations differ on points of small or mixed order. A key and an R must be
canonical, on the prime-order subgroup and not the identity, and S below the group order: then
cofactored and cofactorless verification give one verdict.
"""

from __future__ import annotations

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError

from headcount_spec.errors import MalformedError, SignatureError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
ORDER = 2**252 + 27742317777372353535851937790883648493  # L of RFC 8032, Section 5.1


def check_public_key(public_key: bytes) -> None:
    """Refuse a key under which implementations disagree.

    Raises:
        MalformedError: not 32 bytes, not canonical, not a point, of small or mixed order, the identity.
    """
    if not _is_valid_point(public_key):
        raise MalformedError("not a canonical, torsion-free Ed25519 key")


def verify(public_key: bytes, msg: bytes, signature: bytes) -> None:
    """Check a signature. RFC 8032, Section 5.1.7, with the checks above.

    Raises:
        SignatureError: the key, R or S is refused, or the signature does not verify.
    """
    if (
        len(signature) != SIGNATURE_BYTES
        or int.from_bytes(signature[32:], "little") >= ORDER
        or not _is_valid_point(signature[:32])
        or not _is_valid_point(public_key)
    ):
        raise SignatureError("the signature does not verify")
    try:
        crypto_sign_open(signature + msg, public_key)
    except BadSignatureError as exc:
        raise SignatureError("the signature does not verify") from exc


class Signer:
    """A private key made ready once: the same signatures as a note's SigningKey, in a third of the time."""

    def __init__(self, seed: bytes) -> None:
        """The key of a 32-byte seed, RFC 8032, Section 5.1.5."""
        _, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def _is_valid_point(point: bytes) -> bool:
    return len(point) == KEY_BYTES and bool(crypto_core_ed25519_is_valid_point(point))
