"""RSA keys as PKCS #1 has them (RFC 8017, Section 3 and Appendix A.1)."""

from __future__ import annotations

from headcount_spec.blind_rsa import PrivateKey, PublicKey


def encode_public(key: PublicKey) -> bytes:
    """RSAPublicKey ::= SEQUENCE { n, e }."""
    return _sequence(key.n, key.e)


def crt_parameters(key: PrivateKey) -> tuple[int, int, int]:
    """DP = d mod (p - 1), dQ = d mod (q - 1), qInv = 1 / q mod p. RFC 8017, Section 3.2."""
    return key.d % (key.p - 1), key.d % (key.q - 1), pow(key.q, -1, key.p)


def _sequence(*integers: int) -> bytes:
    # X.690, Section 8.3: one more bit than the number, so that it reads as positive.
    body = b"".join(_tlv(0x02, i.to_bytes(i.bit_length() // 8 + 1, "big")) for i in integers)
    return _tlv(0x30, body)


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value
