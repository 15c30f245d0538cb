from __future__ import annotations

import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
import reference
from headcount_engine import ed25519
from headcount_spec.errors import MalformedError, SignatureError
from reference import BASE, IDENTITY, L, P, Point

SEED = keys.seed("ed25519")
A = reference.secret(SEED)
PUBLIC = BASE * A
KEY = PUBLIC.to_bytes()
MSG = b"a revision"
SIGNATURE = reference.sign_with(A, 7, PUBLIC, BASE * 7, MSG)
TORSION = reference.small_order()
# y = 0 and y = 1 in a second encoding, and x = 0 with the sign bit: what decode refuses and some take.
NONCANONICAL = [
    value.to_bytes(32, "little")
    for value in (P, P + 1, P | 1 << 255, P + 1 | 1 << 255, 1 | 1 << 255, P - 1 | 1 << 255, 2**255 - 1)
]


def refused(public_key: bytes, msg: bytes, signature: bytes) -> bool:
    try:
        ed25519.verify(public_key, msg, signature)
    except SignatureError:
        return True
    return False


def sodium_accepts(public_key: bytes, msg: bytes, signature: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + msg, public_key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def test_key_agrees_with_libsodium() -> None:
    assert nacl.bindings.crypto_sign_seed_keypair(SEED)[0] == KEY


def test_good_signature_passes() -> None:
    ed25519.check_public_key(KEY)
    ed25519.verify(KEY, MSG, SIGNATURE)
    assert reference.verify_ed25519(KEY, MSG, SIGNATURE)


@pytest.mark.parametrize("i", range(8))
def test_small_order_keys_and_commitments_are_refused(i: int) -> None:
    point = TORSION[i].to_bytes()
    with pytest.raises(MalformedError):
        ed25519.check_public_key(point)
    assert refused(point, MSG, SIGNATURE)
    assert refused(KEY, MSG, point + SIGNATURE[32:])


@pytest.mark.parametrize("point", NONCANONICAL, ids=lambda p: p.hex()[:4] + p.hex()[-4:])
def test_noncanonical_points_are_refused(point: bytes) -> None:
    with pytest.raises(MalformedError):
        ed25519.check_public_key(point)
    assert refused(point, MSG, SIGNATURE)
    assert refused(KEY, MSG, point + SIGNATURE[32:])


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(MalformedError):
        ed25519.check_public_key((KEY * 2)[:size])
    assert refused((KEY * 2)[:size], MSG, SIGNATURE)


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_signatures_of_another_length_are_refused(size: int) -> None:
    assert refused(KEY, MSG, (SIGNATURE * 2)[:size])


def test_identity_signs_nothing() -> None:
    identity = IDENTITY.to_bytes()
    assert refused(identity, MSG, identity + bytes(32))


def test_s_above_the_order_is_refused() -> None:
    s = int.from_bytes(SIGNATURE[32:], "little")
    assert refused(KEY, MSG, SIGNATURE[:32] + (s + L).to_bytes(32, "little"))


def mixed_order_key() -> tuple[bytes, bytes, bytes]:
    # A = aB + T: S B = R + k A holds without a cofactor where 8 divides k.
    public = PUBLIC + TORSION[1]
    for i in range(1000):
        msg = b"message %d" % i
        if reference.challenge((BASE * 7).to_bytes(), public.to_bytes(), msg) % 8 == 0:
            return public.to_bytes(), msg, reference.sign_with(A, 7, public, BASE * 7, msg)
    raise AssertionError


def test_mixed_order_key_is_refused_though_libsodium_verifies_under_it() -> None:
    key, msg, signature = mixed_order_key()
    assert sodium_accepts(key, msg, signature)
    assert refused(key, msg, signature)
    assert not reference.verify_ed25519(key, msg, signature)
    with pytest.raises(MalformedError):
        ed25519.check_public_key(key)


def test_mixed_order_commitment_is_refused() -> None:
    # Passes where verification multiplies by the cofactor (ZIP 215).
    commitment = BASE * 7 + TORSION[1]
    signature = reference.sign_with(A, 7, PUBLIC, commitment, MSG)
    s, k = int.from_bytes(signature[32:], "little"), reference.challenge(signature[:32], KEY, MSG)
    assert (BASE * s) * 8 == (commitment + PUBLIC * k) * 8
    assert refused(KEY, MSG, signature)


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=60)
def test_key_check_agrees_with_the_oracle(data: bytes) -> None:
    try:
        ed25519.check_public_key(data)
    except MalformedError:
        assert not reference.is_acceptable(data)
    else:
        assert reference.is_acceptable(data)


@given(st.integers(0, L - 1), st.integers(0, 7))
@settings(max_examples=20)
def test_key_check_agrees_with_the_oracle_on_points(k: int, i: int) -> None:
    point: Point = BASE * k + TORSION[i]
    data = point.to_bytes()
    try:
        ed25519.check_public_key(data)
    except MalformedError:
        assert not reference.is_acceptable(data)
    else:
        assert reference.is_acceptable(data)


@given(st.integers(0, 96 * 8 - 1))
@settings(max_examples=40)
def test_one_flipped_bit_is_refused_by_both(bit: int) -> None:
    data = bytearray(KEY + SIGNATURE)
    data[bit // 8] ^= 1 << bit % 8
    key, signature = bytes(data[:32]), bytes(data[32:])
    assert refused(key, MSG, signature)
    assert not reference.verify_ed25519(key, MSG, signature)
