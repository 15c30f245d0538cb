from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import shamir


def textbook(a: int, b: int) -> int:
    """Multiplication in GF(2^8), bit by bit."""
    product = 0
    for i in range(8):
        if b >> i & 1:
            product ^= a << i
    for i in range(14, 7, -1):
        if product >> i & 1:
            product ^= 0x11B << (i - 8)
    return product


def test_multiplication_is_that_of_the_field_for_all_bytes() -> None:
    every = bytes(range(256))
    for factor in range(256):
        assert list(shamir.multiply(every, factor)) == [textbook(a, factor) for a in range(256)]


def test_fips_197_multiplies_57_by_83_to_c1() -> None:
    assert shamir.multiply(b"\x57", 0x83) == b"\xc1"


@given(st.data())
def test_any_t_shares_give_the_secret_back(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 32))
    t = data.draw(st.integers(1, n))
    secret = data.draw(st.binary(min_size=1, max_size=40))
    piece = st.binary(min_size=len(secret), max_size=len(secret))
    shares = shamir.split(secret, [data.draw(piece) for _ in range(t - 1)], n)
    chosen = data.draw(st.permutations(range(1, n + 1)))[:t]
    assert shamir.combine({i: shares[i - 1] for i in chosen}) == secret


def test_t_minus_one_shares_fit_every_secret() -> None:
    # Of a one-byte secret shared 2 of 3: for a given share 1, each secret has exactly one polynomial.
    seen = {}
    for secret, coefficient in itertools.product(range(256), repeat=2):
        share = shamir.split(bytes([secret]), [bytes([coefficient])], 3)[0]
        seen.setdefault(share, set()).add(secret)
    assert all(secrets == set(range(256)) for secrets in seen.values())


def test_a_false_share_gives_another_secret() -> None:
    shares = shamir.split(b"secret", [b"abcdef", b"ghijkl"], 5)
    assert shamir.combine({1: shares[0], 2: shares[1], 3: shares[3]}) != b"secret"
    assert shamir.combine({1: shares[0], 2: shares[1]}) != b"secret"


@pytest.mark.parametrize(("coefficients", "n"), [([b"x"], 1), ([b"x"], 256), ([b"xy"], 3), ([b"x", b""], 3)])
def test_what_cannot_be_split_is_a_bug_of_the_caller(coefficients: list[bytes], n: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        shamir.split(b"s", coefficients, n)


@pytest.mark.parametrize("shares", [{}, {0: b"x"}, {256: b"x"}, {1: b"x", 2: b"xy"}])
def test_what_cannot_be_combined_is_a_bug_of_the_caller(shares: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match=r"."):
        shamir.combine(shares)


def test_two_shares_at_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="same x"):
        shamir.lagrange((3, 3))
