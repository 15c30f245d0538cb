"""Sealing boxes of HPKE (RFC 9180) with keys that the library draws; opening is in headcount_spec.hpke."""

from __future__ import annotations

import functools

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from headcount_spec.hpke import SUITE
from headcount_spec.signature import check_agreement_key


def seal_box(public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
    """A box that only the holder of the private half opens. RFC 9180, Section 6.1: SealBase.

    Each call gives another box.

    Raises:
        MalformedError: not an X25519 key with which a secret can be agreed.
    """
    return SUITE.encrypt(plaintext, _public_key(public_key), info)


@functools.lru_cache(maxsize=64)
def _public_key(public_key: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(check_agreement_key(public_key))
