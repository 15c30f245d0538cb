"""Opening boxes of HPKE, RFC 9180, in base mode and one message each.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM; no additional data. A box is the encapsulated key
(32 bytes), then the ciphertext. Sealing draws a key pair and is in headcount_engine.hpke.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from headcount_spec.errors import OpeningError

KEY_BYTES = 32
OVERHEAD_BYTES = 32 + 16  # encapsulated key and tag

HpkeSeal = Callable[[bytes, bytes, bytes], bytes]  # (public key, info, plaintext) → box

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)  # 0x0020, 0x0001, 0x0001


def open_box(private_key: bytes, info: bytes, box: bytes) -> bytes:
    """The plaintext of a box. RFC 9180, Section 6.1: OpenBase, without additional data.

    private_key is 32 bytes of X25519 (RFC 7748).

    Raises:
        OpeningError: sealed to another key, under another info, or changed.
    """
    if len(box) < OVERHEAD_BYTES:
        raise OpeningError("the box is too short")
    try:
        return SUITE.decrypt(box, _private_key(private_key), info)
    except InvalidTag as exc:
        raise OpeningError("the box is of another key or context, or was changed") from exc


def public_key(private_key: bytes) -> bytes:
    """The 32-byte public half of an X25519 private key."""
    return _private_key(private_key).public_key().public_bytes_raw()


@functools.lru_cache(maxsize=64)
def _private_key(private_key: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(private_key)
