"""Token keys as SubjectPublicKeyInfo in the RSASSA-PSS form of RFC 9578, Section 6.5.

With n of exactly 2048 bits and e = 65537 that form has one layout, so it is compared as bytes and
no DER is parsed: one key has one encoding and one token key id.
"""

from __future__ import annotations

import functools
import hashlib
import math
from typing import NewType

from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import MalformedError

TokenKeyId = NewType("TokenKeyId", bytes)  # 32 bytes

MODULUS_BITS = 2048  # RFC 9578, Section 6: Nk = 256
MODULUS_BYTES = MODULUS_BITS // 8
EXPONENT = 65537

# SEQUENCE { SEQUENCE { id-RSASSA-PSS, SEQUENCE { [0] sha384, [1] mgf1 { sha384 }, [2] 48 } },
#            BIT STRING { SEQUENCE { INTEGER n, INTEGER e } } }   RFC 4055, Section 3.1
_HEAD = bytes.fromhex(
    "30820152"
    "303d06092a864886f70d01010a3030"
    "a00d300b0609608648016503040202"
    "a11a301806092a864886f70d010108300b0609608648016503040202"
    "a203020130"
    "0382010f003082010a0282010100"
)
_TAIL = bytes.fromhex("0203010001")
SPKI_BYTES = len(_HEAD) + MODULUS_BYTES + len(_TAIL)  # 342
_SMALL = 2000  # a modulus with a factor below this is nobody's honest key


def encode_token_key(public: PublicKey) -> bytes:
    """The 342 bytes that manifests carry and token key ids hash."""
    if public.n.bit_length() != MODULUS_BITS or public.e != EXPONENT:
        raise ValueError("token keys have 2048 bits and e = 65537")
    return _HEAD + public.n.to_bytes(MODULUS_BYTES, "big") + _TAIL


def decode_token_key(data: bytes) -> PublicKey:
    """The key of a byte-exact RSASSA-PSS SubjectPublicKeyInfo (SHA-384, MGF1-SHA384, salt 48).

    Raises:
        MalformedError: any other byte, form, size or exponent; n even, prime, or with a factor below 2000.
    """
    if len(data) != SPKI_BYTES or not data.startswith(_HEAD) or not data.endswith(_TAIL):
        raise MalformedError("not an RSASSA-PSS SHA-384 token key of 2048 bits with e = 65537")
    n = int.from_bytes(data[len(_HEAD) : -len(_TAIL)], "big")
    if n.bit_length() != MODULUS_BITS:
        raise MalformedError("the modulus of the token key has not 2048 bits")
    _check_modulus(n)
    return PublicKey(n, EXPONENT)


def token_key_id(spki: bytes) -> TokenKeyId:
    """SHA-256 of the encoded token key. RFC 9578, Section 6.5."""
    return TokenKeyId(hashlib.sha256(spki).digest())


@functools.cache
def _primorial() -> int:
    sieve = bytearray([1]) * _SMALL
    product = 1
    for i in range(2, _SMALL):
        if sieve[i]:
            product *= i
            sieve[i * i :: i] = bytes(len(sieve[i * i :: i]))
    return product


@functools.lru_cache(maxsize=1024)
def _check_modulus(n: int) -> None:
    # A key whose factors anybody finds lets anybody sign. This catches the plain cases
    # (a prime n passes Fermat's test); it cannot show that the two factors are good.
    if math.gcd(n, _primorial()) != 1 or pow(2, n - 1, n) == 1 or math.isqrt(n) ** 2 == n:
        raise MalformedError("the modulus of the token key is not a product of two large primes")
