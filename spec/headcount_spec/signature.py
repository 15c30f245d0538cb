"""Ed25519 signatures (RFC 8032) under the keys of manifests, and the check of X25519 keys (RFC 7748).

For notices and promises. Every key has passed ``check_public_key`` before anything is verified
under it. The revision keys of pledges, which strangers choose, need the full torsion check as
well; that is in headcount_engine.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from headcount_spec.errors import MalformedError, SignatureError
from headcount_spec.note import check_ed25519_key

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_P = 2**255 - 19
_SMALL_ORDER_U = frozenset(  # RFC 7748, Section 6.1; the points whose order divides 8, and their twists
    (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _P - 1,
    )
)


def check_public_key(key: bytes) -> bytes:
    """The key, if it is an Ed25519 point that only the holder of a secret can sign under.

    Raises:
        MalformedError: as note.check_ed25519_key.
    """
    check_ed25519_key(key)
    return key


def check_agreement_key(key: bytes) -> bytes:
    """The key, if it is an X25519 key with which a secret can be agreed.

    RFC 7748, Section 6.1: small-order keys give everybody the same secret.

    Raises:
        MalformedError: not 32 bytes, not below p, or of small order.
    """
    if len(key) != KEY_BYTES:
        raise MalformedError(f"{len(key)} bytes where an X25519 key has {KEY_BYTES}")
    u = int.from_bytes(key, "little")
    if u >= _P:
        raise MalformedError("non-canonical X25519 key")
    if u in _SMALL_ORDER_U:
        raise MalformedError("X25519 key of small order")
    return key


def public_key(seed: bytes) -> bytes:
    """The public key of a 32-byte private seed. RFC 8032, Section 5.1.5."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte signature by a 32-byte private seed. RFC 8032, Section 5.1.6."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature under a key that ``check_public_key`` has passed.

    RFC 8032, Section 5.1.7.

    Raises:
        SignatureError: it is not this key's signature of this message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature as exc:
        raise SignatureError("Ed25519 signature does not verify") from exc
