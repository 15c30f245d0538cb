"""HPKE (RFC 9180) written out once more, with the ephemeral key as an argument; base mode, one message.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. For vectors and as an oracle; the library draws its own.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_HPKE = b"HPKE" + (0x0020).to_bytes(2, "big") + (0x0001).to_bytes(2, "big") + (0x0001).to_bytes(2, "big")


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    okm, block = b"", b""
    for i in range(1, -(-size // 32) + 1):
        block = hmac.digest(prk, block + labelled + bytes([i]), "sha256")
        okm += block
    return okm[:size]


def _key_and_nonce(dh: bytes, enc: bytes, public_key: bytes, info: bytes) -> tuple[bytes, bytes]:
    secret = _expand(_KEM, _extract(_KEM, b"", b"eae_prk", dh), b"shared_secret", enc + public_key, 32)
    context = b"\x00" + _extract(_HPKE, b"", b"psk_id_hash", b"") + _extract(_HPKE, b"", b"info_hash", info)
    prk = _extract(_HPKE, secret, b"secret", b"")
    return _expand(_HPKE, prk, b"key", context, 16), _expand(_HPKE, prk, b"base_nonce", context, 12)


def seal(ephemeral: bytes, public_key: bytes, info: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = private.public_key().public_bytes_raw()
    dh = private.exchange(X25519PublicKey.from_public_bytes(public_key))
    key, nonce = _key_and_nonce(dh, enc, public_key, info)
    return enc + AESGCM(key).encrypt(nonce, plaintext, aad)


def open_(private_key: bytes, info: bytes, box: bytes, aad: bytes = b"") -> bytes:
    private = X25519PrivateKey.from_private_bytes(private_key)
    dh = private.exchange(X25519PublicKey.from_public_bytes(box[:32]))
    key, nonce = _key_and_nonce(dh, box[:32], private.public_key().public_bytes_raw(), info)
    return AESGCM(key).decrypt(nonce, box[32:], aad)


def sealer(seed: bytes) -> Callable[[bytes, bytes, bytes], bytes]:
    """A seal_box whose ephemeral keys follow from a seed, so that the same call gives the same box."""

    def seal_box(public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
        ephemeral = hashlib.sha256(b"ephemeral" + seed + public_key + info).digest()
        return seal(ephemeral, public_key, info, plaintext)

    return seal_box
