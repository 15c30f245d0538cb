from __future__ import annotations

import hashlib
import math

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa as pyca
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
from headcount_spec import spki
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import MalformedError

N = keys.token_key(0).n
SPKI = keys.token_spki(0)
HEAD, TAIL = SPKI[:-261], SPKI[-5:]


def with_modulus(n: int) -> bytes:
    return HEAD + n.to_bytes(256, "big") + TAIL


def test_round_trip() -> None:
    for i in range(keys.NUMBER):
        public = keys.token_key(i).public
        assert spki.decode_token_key(spki.encode_token_key(public)) == public


def test_pyca_reads_the_same_key() -> None:
    key = load_der_public_key(SPKI)
    assert isinstance(key, pyca.RSAPublicKey)
    assert key.public_numbers() == pyca.RSAPublicNumbers(65537, N)


def test_token_key_id_is_the_hash() -> None:
    assert spki.token_key_id(SPKI) == hashlib.sha256(SPKI).digest()


def test_rsa_encryption_form_is_refused() -> None:
    key = pyca.RSAPublicNumbers(65537, N).public_key()
    with pytest.raises(MalformedError):
        spki.decode_token_key(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(MalformedError):
        spki.decode_token_key(key.public_bytes(Encoding.DER, PublicFormat.PKCS1))


def small_factor() -> int:
    n = N
    while math.gcd(n, 3 * 5 * 7) == 1:
        n += 2
    return n


PRIME_2048 = 2**2048 - 1942289
SQUARE = keys.token_key(0).p ** 2
BAD_MODULI = {
    "even": N - 1,
    "prime": PRIME_2048,
    "square": SQUARE,
    "factor-below-2000": small_factor(),
    "2047-bits": N >> 1 | 1,
    "zero": 0,
    "one": 1,
}


@pytest.mark.parametrize("name", BAD_MODULI)
def test_bad_modulus_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        spki.decode_token_key(with_modulus(BAD_MODULI[name]))


def test_the_bad_moduli_are_what_they_say() -> None:
    assert pow(2, PRIME_2048 - 1, PRIME_2048) == pow(3, PRIME_2048 - 1, PRIME_2048) == 1
    assert PRIME_2048.bit_length() == SQUARE.bit_length() == 2048


@pytest.mark.parametrize("exponent", ["010000", "010003", "000001", "000002", "000003"])
def test_other_exponents_are_refused(exponent: str) -> None:
    with pytest.raises(MalformedError):
        spki.decode_token_key(SPKI[:-3] + bytes.fromhex(exponent))


@pytest.mark.parametrize(("bits", "e"), [(1024, 65537), (2047, 65537), (2049, 65537), (2048, 3), (2048, 1)])
def test_other_shapes_are_not_encoded(bits: int, e: int) -> None:
    with pytest.raises(ValueError, match="2048 bits"):
        spki.encode_token_key(PublicKey(2**bits - 1, e))


@given(st.integers(0, len(SPKI) * 8 - 1))
@settings(max_examples=60)
def test_one_flipped_bit_is_refused_or_another_key(bit: int) -> None:
    data = bytearray(SPKI)
    data[bit // 8] ^= 1 << bit % 8
    try:
        public = spki.decode_token_key(bytes(data))
    except MalformedError:
        return
    assert public.n != N
    assert spki.encode_token_key(public) == bytes(data)


@pytest.mark.parametrize("data", [b"", SPKI[:-1], SPKI + b"\0", b"\0" + SPKI, SPKI[1:], SPKI * 2])
def test_other_lengths_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        spki.decode_token_key(data)


@given(st.binary(max_size=400))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        spki.decode_token_key(data)
