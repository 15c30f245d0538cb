from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa as pyca
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
import reference
from headcount_spec import blind_rsa
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import CorruptionError, MalformedError, SignatureError

KEY = keys.token_key(0)
PUBLIC = KEY.public
OTHER = keys.token_key(1)
N = KEY.n
MSG = b"message"
SALT = bytes(range(48))


def pyca_key(public: PublicKey) -> pyca.RSAPublicKey:
    return pyca.RSAPublicNumbers(public.e, public.n).public_key()


@given(st.binary(max_size=200), st.binary(min_size=48, max_size=48), st.integers(1, N - 1))
@settings(max_examples=15)
def test_round_trip_verifies_at_pyca(msg: bytes, salt: bytes, r: int) -> None:
    blinded_msg, inv = blind_rsa.blind(PUBLIC, msg, salt, r)
    assert len(blinded_msg) == 256
    m = blind_rsa.check_blinded_msg(PUBLIC, blinded_msg)
    blind_sig = keys.crt(KEY, m).to_bytes(256, "big")
    sig = blind_rsa.finalize(PUBLIC, msg, blind_sig, inv)
    pss = padding.PSS(padding.MGF1(SHA384()), 48)
    pyca_key(PUBLIC).verify(sig, msg, pss, SHA384())
    # Unblinding gives what a plain signature with this salt is.
    assert sig == keys.sign_pss(KEY, msg, salt)


def test_blind_sign_agrees_with_textbook_rsa() -> None:
    blind_sig = blind_rsa.blind_sign(KEY, (5).to_bytes(256, "big"))
    assert int.from_bytes(blind_sig, "big") == reference.rsa(5, KEY.d, N)


@given(st.integers(1, N - 1), st.integers(1, N - 1))
@settings(max_examples=10)
def test_any_blinded_message_is_explained_by_any_message(r: int, r_other: int) -> None:
    # Perfect blinding: for a blinded message and another message there is a blind that leads there.
    blinded_msg, _ = blind_rsa.blind(PUBLIC, MSG, SALT, r)
    m = int.from_bytes(blind_rsa.encode(PUBLIC, b"another", SALT), "big")
    x = int.from_bytes(blinded_msg, "big") * pow(m, -1, N) % N
    again, _ = blind_rsa.blind(PUBLIC, b"another", SALT, keys.crt(KEY, x))
    assert again == blinded_msg


@pytest.mark.parametrize(
    "r", [0, N, N + 1, -1, KEY.p, KEY.q * 3], ids=["0", "n", "n+1", "-1", "p", "multiple-of-q"]
)
def test_blind_refuses_an_unusable_blind(r: int) -> None:
    with pytest.raises(MalformedError):
        blind_rsa.blind(PUBLIC, MSG, SALT, r)


def test_blind_refuses_a_message_with_a_factor_of_the_modulus() -> None:
    m = int.from_bytes(blind_rsa.encode(PUBLIC, MSG, SALT), "big")
    factor = next(i for i in range(2, 1000) if m % i == 0)
    shared = PublicKey(N // factor * factor, 65537)  # as many bits, and the factor in common
    m = int.from_bytes(blind_rsa.encode(shared, MSG, SALT), "big")
    assert m % factor == 0
    with pytest.raises(MalformedError):
        blind_rsa.blind(shared, MSG, SALT, 7)


def test_finalize_refuses_what_the_issuer_did_not_sign() -> None:
    blinded_msg, inv = blind_rsa.blind(PUBLIC, MSG, SALT, 12345)
    good = blind_rsa.blind_sign(KEY, blinded_msg)
    for blind_sig in (
        bytes(256),
        good[:-1] + bytes([good[-1] ^ 1]),
        keys.crt(OTHER, int.from_bytes(blinded_msg, "big") % OTHER.n).to_bytes(256, "big"),
    ):
        with pytest.raises(SignatureError):
            blind_rsa.finalize(PUBLIC, MSG, blind_sig, inv)
    with pytest.raises(SignatureError):
        blind_rsa.finalize(PUBLIC, b"another", good, inv)
    with pytest.raises(SignatureError):
        blind_rsa.finalize(PUBLIC, MSG, good, inv + 1)
    assert blind_rsa.finalize(PUBLIC, MSG, good, inv) == keys.sign_pss(KEY, MSG, SALT)


@pytest.mark.parametrize("size", [0, 255, 257, 512])
def test_finalize_refuses_another_length(size: int) -> None:
    with pytest.raises(MalformedError):
        blind_rsa.finalize(PUBLIC, MSG, bytes(size), 1)


@pytest.mark.parametrize("size", [31, 33, 0])
def test_randomizing_prefix_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        blind_rsa.prepare_randomize(MSG, bytes(size))


def test_modulus_too_small_for_the_salt() -> None:
    small = PublicKey((1 << 783) + 1, 65537)  # emBits = 783 = 8 * (48 + 48 + 2) - 1
    assert len(blind_rsa.encode(small, MSG, SALT)) == 98
    with pytest.raises(ValueError, match="too small"):
        blind_rsa.encode(PublicKey((1 << 775) + 1, 65537), MSG, SALT)
    with pytest.raises(SignatureError):
        blind_rsa.verify(PublicKey((1 << 775) + 1, 65537), MSG, bytes(97))


def test_modulus_whose_encoding_is_a_byte_shorter() -> None:
    # 1025 bits: the encoded message has 128 bytes and the signature 129.
    public = PublicKey((1 << 1024) + 643, 65537)
    assert public.modulus_bytes == 129
    assert len(blind_rsa.encode(public, MSG, SALT)) == 128
    with pytest.raises(SignatureError):
        blind_rsa.verify(public, MSG, (1 << 1024).to_bytes(129, "big"))


def test_diagnose_names_the_fault() -> None:
    assert blind_rsa.diagnose(PUBLIC, MSG, keys.sign_pss(KEY, MSG, SALT)) == "valid"
    assert blind_rsa.diagnose(PUBLIC, MSG, keys.sign_pss(KEY, b"another", SALT)) == "other-message"
    assert blind_rsa.diagnose(PUBLIC, MSG, keys.sign_pss(OTHER, MSG, SALT)) == "foreign"
    assert blind_rsa.diagnose(PUBLIC, MSG, keys.sign_pss(KEY, MSG, bytes(32))) == "foreign"
    assert blind_rsa.diagnose(PUBLIC, MSG, bytes(256)) == "foreign"
    assert blind_rsa.diagnose(PUBLIC, MSG, b"") == "foreign"
    assert blind_rsa.diagnose(PUBLIC, MSG, N.to_bytes(256, "big")) == "foreign"


def forge(em: bytes) -> bytes:
    return keys.crt(KEY, int.from_bytes(em, "big")).to_bytes(256, "big")


def with_room_above() -> bytes:
    """An encoded message that stays below n with its top bit set."""
    encoded = (blind_rsa.encode(PUBLIC, MSG, bytes([i]) * 48) for i in range(256))
    return next(em for em in encoded if int.from_bytes(em, "big") + 2**2047 < N)


@pytest.mark.parametrize(
    ("at", "bit"),
    [(0, 0x80), (0, 0x40), (100, 1), (158, 2), (200, 1), (254, 1), (255, 1)],
    ids=["top-bit", "padding", "padding-inside", "separator", "salt", "hash", "trailer"],
)
def test_each_part_of_the_encoding_is_checked(at: int, bit: int) -> None:
    em = with_room_above()
    blind_rsa.verify(PUBLIC, MSG, forge(em))
    with pytest.raises(SignatureError):
        blind_rsa.verify(PUBLIC, MSG, forge(em[:at] + bytes([em[at] ^ bit]) + em[at + 1 :]))


def test_repr_shows_no_secret() -> None:
    assert str(KEY.d) not in repr(KEY)
    assert str(KEY.p) not in repr(KEY)


def test_blind_sign_checks_its_result() -> None:
    with pytest.raises(CorruptionError):
        blind_rsa.blind_sign(replace(KEY, d=KEY.d ^ 2), (5).to_bytes(256, "big"))
