"""Vectors of Shamir's secret sharing over GF(2^8)."""

from __future__ import annotations

import hashlib
from typing import Any

import keys
from headcount_spec import shamir
from headcount_spec.errors import OpeningError

from . import Case, fails, ok, same

FILE = "shamir.json"


def make() -> dict[str, Any]:
    """Splitting and combining; the hash of the secret stands for the commitment of a sealed blob."""
    return {
        "about": "Shamir's sharing over GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1, byte by byte: "
        "the secret is the constant term, coefficients are that of x first, share i is at x = i.",
        "source": "Made by makers/shamir.py; checked against npm shamir-secret-sharing in tests/conformance.",
        "cases": [
            _split("two-of-three", 2, 3, (1, 3)),
            _split("three-of-five", 3, 5, (5, 2, 4)),
            _split("one-of-one", 1, 1, (1,)),
            _split("five-of-five", 5, 5, (1, 2, 3, 4, 5)),
            _split("sixteen-of-thirty-two", 16, 32, tuple(range(17, 33))),
            _wrong("too-few-shares", 3, 5, (1, 2)),
            # Not 1, 2, 3: there each share counts alike.
            _wrong("share-at-another-place", 3, 5, (1, 2, 4), swap=True),
            _wrong("share-with-a-flipped-bit", 3, 5, (1, 2, 3), flip=True),
        ],
    }


def _inputs(t: int, n: int) -> tuple[bytes, list[bytes], list[bytes]]:
    secret = keys.seed(f"secret {t} {n}")
    coefficients = [keys.seed(f"coefficient {t} {n} {i}") for i in range(1, t)]
    return secret, coefficients, shamir.split(secret, coefficients, n)


def _split(name: str, t: int, n: int, subset: tuple[int, ...]) -> Case:
    secret, coefficients, shares = _inputs(t, n)
    return ok(
        name,
        n=n,
        coefficients=[value.hex() for value in coefficients],
        shares=[share.hex() for share in shares],
        subset={str(i): shares[i - 1].hex() for i in subset},
        secret=secret.hex(),
        secret_hash=hashlib.sha256(secret).hexdigest(),
    )


def _wrong(
    name: str, t: int, n: int, subset: tuple[int, ...], *, swap: bool = False, flip: bool = False
) -> Case:
    secret, _, shares = _inputs(t, n)
    chosen = {str(i): shares[i - 1].hex() for i in subset}
    if swap:
        chosen["1"], chosen["2"] = chosen["2"], chosen["1"]
    if flip:
        chosen["2"] = bytes((shares[1][0] ^ 1, *shares[1][1:])).hex()
    return fails(name, OpeningError, subset=chosen, secret_hash=hashlib.sha256(secret).hexdigest())


def check(case: Case) -> None:
    """Combine the subset, and split again."""
    secret = shamir.combine({int(x): bytes.fromhex(share) for x, share in case["subset"].items()})
    if hashlib.sha256(secret).hexdigest() != case["secret_hash"]:
        raise OpeningError("another secret")
    coefficients = [bytes.fromhex(value) for value in case["coefficients"]]
    shares = shamir.split(secret, coefficients, case["n"])
    same(case, secret=secret.hex(), shares=[share.hex() for share in shares])
