from __future__ import annotations

import hashlib
from dataclasses import dataclass

# Textbook RSA and Ed25519 (RFC 8032, Section 5.1) as the definitions read; used by tests only.


def rsa(base: int, exponent: int, n: int) -> int:
    """Square and multiply, one bit of the exponent at a time."""
    result = 1
    for bit in bin(exponent)[2:]:
        result = result * result % n
        if bit == "1":
            result = result * base % n
    return result


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
I = pow(2, (P - 1) // 4, P)  # noqa: E741


@dataclass(frozen=True)
class Point:
    x: int
    y: int

    def __add__(self, other: Point) -> Point:
        product = D * self.x * other.x * self.y * other.y % P
        x = (self.x * other.y + other.x * self.y) * pow(1 + product, -1, P) % P
        y = (self.y * other.y + self.x * other.x) * pow(1 - product, -1, P) % P
        return Point(x, y)

    def __mul__(self, k: int) -> Point:
        result, power = IDENTITY, self
        while k:
            if k & 1:
                result = result + power
            power = power + power
            k >>= 1
        return result

    def to_bytes(self) -> bytes:
        return (self.y | (self.x & 1) << 255).to_bytes(32, "little")


IDENTITY = Point(0, 1)


def root(y: int) -> int | None:
    """An x with -x^2 + y^2 = 1 + D x^2 y^2."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for candidate in (x, x * I % P):
        if candidate * candidate % P == square:
            return candidate
    return None


def decode(data: bytes) -> Point | None:
    """Strictly: the one encoding of a point on the curve, of any order."""
    value = int.from_bytes(data, "little")
    y, sign = value & (2**255 - 1), value >> 255
    if len(data) != 32 or y >= P:
        return None
    x = root(y)
    if x is None or (x == 0 and sign):
        return None
    return Point(P - x if x & 1 != sign else x, y)


_x = root(4 * pow(5, -1, P) % P)
assert _x is not None
BASE = Point(_x if _x % 2 == 0 else P - _x, 4 * pow(5, -1, P) % P)


def small_order() -> list[Point]:
    """The eight points of the torsion subgroup, the identity first."""
    y = 2
    while True:
        x = root(y)
        if x is not None:
            torsion = Point(x, y) * L
            if torsion * 4 != IDENTITY:
                return [torsion * i for i in range(8)]
        y += 1


def is_acceptable(data: bytes) -> bool:
    """Canonical, of the prime-order subgroup, not the identity."""
    point = decode(data)
    return point is not None and point != IDENTITY and point * L == IDENTITY


def challenge(r: bytes, public_key: bytes, msg: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public_key + msg).digest(), "little") % L


def verify_ed25519(public_key: bytes, msg: bytes, signature: bytes) -> bool:
    """The strict rules of the protocol, without a cofactor."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L or not is_acceptable(r) or not is_acceptable(public_key):
        return False
    key, commitment = decode(public_key), decode(r)
    assert key is not None
    assert commitment is not None
    return BASE * s == commitment + key * challenge(r, public_key, msg)


def secret(seed: bytes) -> int:
    value = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return value & ((1 << 254) - 8) | 1 << 254


def sign_with(a: int, r: int, public: Point, commitment: Point, msg: bytes) -> bytes:
    """A signature whose key and R may carry a torsion part."""
    encoded = commitment.to_bytes()
    k = challenge(encoded, public.to_bytes(), msg)
    return encoded + ((r + k * a) % L).to_bytes(32, "little")
