"""Seeds: everything a client draws at random, derived from 32 bytes that it saved first.

HKDF-SHA256 (RFC 5869). After a crash the same seed leads to the same pledge and the same blinded
message, which the issuer answers again.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headcount_spec.blind_rsa import SALT_BYTES

SEED_BYTES = 32
# 128 bits more than a modulus has, so that the remainder is uniform to within 2^-128.
_WIDE_BYTES = 256 + 16


def revision_seed(seed: bytes, scope_id: bytes) -> bytes:
    """The private seed of the revision key in a scope (RFC 8032, Section 5.1.5)."""
    return _derive(seed, b"revision", scope_id, 32)


def blinding(seed: bytes, nonce: bytes, token_key_id: bytes, modulus: int) -> tuple[bytes, int]:
    """Salt and blind of the token request for a pledge to one issuer, 1 <= r < modulus.

    RFC 9474, Section 4.2 draws them at random. The nonce is part of the derivation, so another
    choice under the same seed draws anew: one blind never covers two messages.
    """
    info = nonce + token_key_id
    salt = _derive(seed, b"salt", info, SALT_BYTES)
    wide = _derive(seed, b"blind", info, _WIDE_BYTES)
    return salt, 1 + int.from_bytes(wide, "big") % (modulus - 1)


def sealing(seed: bytes, info: bytes, t: int) -> tuple[bytes, list[bytes]]:
    """The key of a sealed blob, and t - 1 coefficients of the polynomial that shares it; 32 bytes each.

    info is the context and the hash of what the key is to cover (sealed.seal).
    """
    shares = _derive(seed, b"shares", info, 32 * (t - 1)) if t > 1 else b""
    return _derive(seed, b"sealing", info, 32), [shares[i : i + 32] for i in range(0, len(shares), 32)]


def _derive(seed: bytes, label: bytes, info: bytes, size_bytes: int) -> bytes:
    # RFC 5869, Section 2; no salt, since the seed is uniform.
    hkdf = HKDF(hashes.SHA256(), size_bytes, salt=None, info=b"headcount/seed/v1/" + label + b"\x00" + info)
    return hkdf.derive(seed)
