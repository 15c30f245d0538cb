from __future__ import annotations

import functools
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa as pyca
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
from engines import VERIFYING, named, to_bytes
from headcount_engine import rsa
from headcount_engine.engine import VerifyingEngine, VerifyingKey
from headcount_engine.gmp import Gmp
from headcount_spec import blind_rsa
from headcount_spec.errors import SignatureError

KEY = keys.token_key(0)
OTHER = keys.token_key(1)
N = KEY.n
MSG = b"\x00\x02" + hashlib.sha256(b"a token input").digest() * 3
SIG = keys.sign_pss(KEY, MSG)


@pytest.fixture(params=VERIFYING, ids=named)
def verifier(request: pytest.FixtureRequest) -> VerifyingKey:
    engine: VerifyingEngine = request.param
    return engine.load_public_key(KEY.public)


def refused(verifier: VerifyingKey, sig: bytes, msg: bytes = MSG) -> None:
    with pytest.raises(SignatureError) as caught:
        verifier.verify(msg, sig)
    assert str(caught.value) == "the signature does not verify"
    verifier.verify(MSG, SIG)  # and a failure leaves nothing behind
    check = verifier.checker()
    digests = [hashlib.sha384(MSG).digest(), hashlib.sha384(msg).digest()]
    assert not check(digests, [SIG, sig])
    assert check(digests[:1], [SIG])


def test_verify_accepts_its_own(verifier: VerifyingKey) -> None:
    verifier.verify(MSG, SIG)


def test_verify_refuses_another_message(verifier: VerifyingKey) -> None:
    for msg in (b"", MSG[:-1], MSG + b"\0", MSG[:5] + b"x" + MSG[6:]):
        refused(verifier, SIG, msg)


def test_verify_refuses_another_key(verifier: VerifyingKey) -> None:
    refused(verifier, keys.sign_pss(OTHER, MSG))


PYCA = load_der_private_key(keys.token_key_der(0), None)
assert isinstance(PYCA, pyca.RSAPrivateKey)


def pss(salt: int, mgf: HashAlgorithm, digest: HashAlgorithm) -> bytes:
    assert isinstance(PYCA, pyca.RSAPrivateKey)
    return PYCA.sign(MSG, padding.PSS(padding.MGF1(mgf), salt), digest)


LAX = {
    **{f"salt-{salt}": (salt, SHA384(), SHA384()) for salt in (0, 20, 32, 47, 49, 206)},
    "mgf1-sha256": (48, SHA256(), SHA384()),
    "sha256": (48, SHA384(), SHA256()),
    "sha256-both": (48, SHA256(), SHA256()),
}


@pytest.mark.parametrize("name", LAX)
def test_verify_refuses_other_parameters(verifier: VerifyingKey, name: str) -> None:
    refused(verifier, pss(*LAX[name]))


def test_verify_refuses_pkcs1_v15(verifier: VerifyingKey) -> None:
    assert isinstance(PYCA, pyca.RSAPrivateKey)
    refused(verifier, PYCA.sign(MSG, padding.PKCS1v15(), SHA384()))


def test_largest_salt_is_the_largest() -> None:
    with pytest.raises(ValueError, match=r"(?i)digest|salt|large"):
        pss(207, SHA384(), SHA384())


def other_encodings() -> dict[str, bytes]:
    s = int.from_bytes(SIG, "big")
    return {
        "empty": b"",
        "leading-zero": b"\0" + SIG,
        "trailing-zero": SIG + b"\0",
        "255-bytes": SIG[1:],
        "255-bytes-front": SIG[:-1],
        "twice": SIG * 2,
        "zero": bytes(256),
        "one": to_bytes(1),
        "n": to_bytes(N),
        "n-1": to_bytes(N - 1),
        "minus-s": to_bytes(N - s),
        "all-ones": b"\xff" * 256,
        "s+n-in-257": to_bytes(s + N, 257),
    }


@pytest.mark.parametrize("name", other_encodings())
def test_verify_refuses_another_encoding(verifier: VerifyingKey, name: str) -> None:
    refused(verifier, other_encodings()[name])


@functools.cache
def signature_below(limit: int) -> tuple[bytes, int]:
    for i in range(1000):
        msg = MSG + bytes([i])
        sig = keys.sign_pss(KEY, msg)
        if int.from_bytes(sig, "big") < limit:
            return msg, int.from_bytes(sig, "big")
    raise AssertionError


def test_s_plus_n_is_refused(verifier: VerifyingKey) -> None:
    msg, s = signature_below(2**2048 - N)
    verifier.verify(msg, to_bytes(s))
    refused(verifier, to_bytes(s + N), msg)


def test_signature_without_its_leading_zero_byte_is_refused(verifier: VerifyingKey) -> None:
    msg, s = signature_below(2**2040)
    verifier.verify(msg, to_bytes(s))
    refused(verifier, to_bytes(s, 255), msg)


def fast_verifiers() -> list[VerifyingKey]:
    return [engine.load_public_key(KEY.public) for engine in VERIFYING]


@given(st.integers(0, 2047))
@settings(max_examples=50)
def test_one_flipped_bit_is_refused(bit: int) -> None:
    sig = to_bytes(int.from_bytes(SIG, "big") ^ 1 << bit)
    for verifier in fast_verifiers():
        refused(verifier, sig)


@given(st.binary(min_size=250, max_size=260))
@settings(max_examples=50)
def test_noise_is_refused(sig: bytes) -> None:
    for verifier in fast_verifiers():
        refused(verifier, sig)


@given(st.integers(2, N - 2), st.integers(2, 50))
@settings(max_examples=25)
def test_malleated_signatures_are_refused(r: int, k: int) -> None:
    # RSA is multiplicative, the encoding is not: no product, power or multiple verifies.
    s, t = int.from_bytes(SIG, "big"), int.from_bytes(keys.sign_pss(KEY, MSG, b"\x01" * 48), "big")
    x = pow(r, KEY.e, N)
    for forged in (s * t, pow(s, k, N), N - s, s * r, s * x, s * pow(r, -1, N), pow(s, -1, N)):
        for verifier in fast_verifiers():
            refused(verifier, to_bytes(forged % N))


def times(a: int, b: int) -> int:
    return a * b % N


@functools.cache
def product_trick() -> tuple[list[bytes], list[int]]:
    """A thousand messages and as many false signatures, from one blind signature."""
    msgs = [MSG + i.to_bytes(2, "big") for i in range(1000)]
    encoded = [int.from_bytes(blind_rsa.encode(KEY.public, msg, bytes(48)), "big") for msg in msgs]
    product = functools.reduce(times, encoded)
    root = int.from_bytes(rsa.blind_sign(Gmp().load_private_key(KEY), to_bytes(product)), "big")
    shares = [pow(3, i + 1, N) for i in range(999)]
    forged = [*shares, root * pow(functools.reduce(times, shares), -1, N) % N]
    # The cheap batch test compares products, and these pass it.
    assert pow(functools.reduce(times, forged), KEY.e, N) == product
    return msgs, forged


def test_blind_signature_on_a_product_makes_no_token_pass(verifier: VerifyingKey) -> None:
    for msg, s in zip(*product_trick(), strict=True):
        with pytest.raises(SignatureError):
            verifier.verify(msg, to_bytes(s))
