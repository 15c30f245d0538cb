"""Shamir's secret sharing over GF(2^8), byte by byte. A. Shamir, How to share a secret, 1979.

The field is that of AES (FIPS 197, Section 4.2: x^8 + x^4 + x^3 + x + 1); the secret is the constant
term, share i is the polynomial at x = i. All bytes of a string are multiplied at once by one public
x-coordinate: no secret byte chooses a branch or a place in a table.

Shares are not checked here, and t - 1 of them with a false one give a false secret: sealed has a commitment.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

MAX_SHARES = 255  # x is a byte, and 0 is the secret's own place

_REDUCTION = 0x1B  # x^8 mod the field's polynomial


def split(secret: bytes, coefficients: Sequence[bytes], n: int) -> list[bytes]:
    """Shares 1 to n, each as long as the secret; any len(coefficients) + 1 of them give it back.

    coefficients are uniformly random and as long as the secret, that of x first.
    """
    if not len(coefficients) < n <= MAX_SHARES:
        raise ValueError("more shares are needed than there are, or there are more than 255")
    if any(len(coefficient) != len(secret) for coefficient in coefficients):
        raise ValueError("a coefficient is not as long as the secret")
    shares = []
    for x in range(1, n + 1):
        value = bytes(len(secret))
        for coefficient in (*reversed(coefficients), secret):  # Horner
            value = _add(multiply(value, x), coefficient)
        shares.append(value)
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The constant term of the polynomial through these shares, by x from 1 to 255.

    Lagrange's interpolation at 0. Give exactly as many shares as the polynomial needs.
    """
    if not shares or not all(1 <= x <= MAX_SHARES for x in shares):
        raise ValueError("no shares, or a share at another x than 1 to 255")
    if len({len(share) for share in shares.values()}) != 1:
        raise ValueError("the shares are of different lengths")
    weights = lagrange(tuple(shares))
    secret = bytes(len(next(iter(shares.values()))))
    for weight, share in zip(weights, shares.values(), strict=True):
        secret = _add(secret, multiply(share, weight))
    return secret


@functools.lru_cache(maxsize=1024)
def lagrange(xs: tuple[int, ...]) -> tuple[int, ...]:
    """By what the share at each of these distinct x is multiplied to get the polynomial at 0."""
    weights = []
    for i, x in enumerate(xs):
        numerator = denominator = 1
        for j, other in enumerate(xs):
            if i != j:
                numerator = _multiply_byte(numerator, other)
                denominator = _multiply_byte(denominator, other ^ x)
        weights.append(_multiply_byte(numerator, _inverse(denominator)))
    return tuple(weights)


def multiply(data: bytes, factor: int) -> bytes:
    """Every byte of data times one public byte. FIPS 197, Section 4.2.1, on all bytes at once."""
    size = len(data)
    high = int.from_bytes(b"\x80" * size, "big")
    low = int.from_bytes(b"\x7f" * size, "big")
    value, product = int.from_bytes(data, "big"), 0
    while factor:
        if factor & 1:
            product ^= value
        # Times x: shift every byte, and reduce those whose first bit falls out.
        value = ((value & low) << 1) ^ (((value & high) >> 7) * _REDUCTION)
        factor >>= 1
    return product.to_bytes(size, "big")


def _add(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def _multiply_byte(a: int, b: int) -> int:
    return multiply(bytes((a,)), b)[0]


def _inverse(a: int) -> int:
    """a^254: the multiplicative group has 255 elements."""
    if a == 0:
        raise ValueError("two shares at the same x")
    result, square = 1, a
    for _ in range(7):
        square = _multiply_byte(square, square)
        result = _multiply_byte(result, square)
    return result
