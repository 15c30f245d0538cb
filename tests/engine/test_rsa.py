from __future__ import annotations

import ctypes
import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa as pyca
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
import parts
import reference
from engines import LIBCRYPTO, SIGNING, VERIFYING, named, to_bytes
from headcount_engine import rsa, selftest
from headcount_engine.engine import SigningEngine, SigningKey, VerifyingEngine, VerifyingKey
from headcount_engine.gmp import Gmp, GmpSigningKey
from headcount_engine.libcrypto import LibcryptoSigningKey
from headcount_engine.portable import Portable
from headcount_spec import blind_rsa
from headcount_spec.blind_rsa import PrivateKey, PublicKey
from headcount_spec.errors import ConfigurationError, CorruptionError, MalformedError, SignatureError

KEY = keys.token_key(0)
OTHER = keys.token_key(1)
N = KEY.n
MSG = b"\x00\x02" + hashlib.sha256(b"a token input").digest() * 3
SIG = keys.sign_pss(KEY, MSG)


@pytest.fixture(params=SIGNING, ids=named)
def signing(request: pytest.FixtureRequest) -> SigningEngine:
    engine: SigningEngine = request.param
    return engine


def test_engines_pass_their_self_test(signing: SigningEngine) -> None:
    selftest.check_signing(signing)


@pytest.mark.parametrize("engine", VERIFYING, ids=named)
def test_verifying_engines_pass_their_self_test(engine: VerifyingEngine) -> None:
    selftest.check_verifying(engine)


@pytest.mark.parametrize("m", [2, 3, N - 2, N // 2, 2**2040 + 1], ids=["2", "3", "n-2", "n/2", "2^2040+1"])
def test_blind_sign_agrees_with_textbook_rsa(signing: SigningEngine, m: int) -> None:
    blind_sig = rsa.blind_sign(signing.load_private_key(KEY), to_bytes(m))
    assert int.from_bytes(blind_sig, "big") == reference.rsa(m, KEY.d, N)


@given(st.integers(2, N - 2))
@settings(max_examples=20)
def test_blind_sign_agrees_between_engines(m: int) -> None:
    expected = keys.crt(KEY, m)
    for engine in SIGNING:
        blind_sig = rsa.blind_sign(engine.load_private_key(KEY), to_bytes(m))
        assert int.from_bytes(blind_sig, "big") == expected


BAD_MESSAGES = {
    "zero": bytes(256),
    "one": to_bytes(1),
    "n-1": to_bytes(N - 1),
    "n": to_bytes(N),
    "n+1": to_bytes(N + 1),
    "all-ones": b"\xff" * 256,
    "p": to_bytes(KEY.p),
    "multiple-of-q": to_bytes(KEY.q * 12345),
    "empty": b"",
    "255-bytes": to_bytes(5, 255),
    "257-bytes": to_bytes(5, 257),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_blind_sign_refuses(signing: SigningEngine, name: str) -> None:
    handle = signing.load_private_key(KEY)
    with pytest.raises(MalformedError):
        rsa.blind_sign(handle, BAD_MESSAGES[name])
    with pytest.raises(MalformedError):
        blind_rsa.blind_sign(KEY, BAD_MESSAGES[name])


@dataclass(frozen=True)
class Faulty:
    inner: SigningKey
    fault: Callable[[bytes], bytes]

    @property
    def public(self) -> PublicKey:
        return self.inner.public

    def private_op(self, m: bytes) -> bytes:
        return self.fault(self.inner.private_op(m))

    def public_op(self, s: bytes) -> bytes:
        return self.inner.public_op(s)


def test_no_byte_of_a_wrong_result_leaves(signing: SigningEngine) -> None:
    handle = Faulty(signing.load_private_key(KEY), lambda s: s[:100] + bytes([s[100] ^ 1]) + s[101:])
    with pytest.raises(CorruptionError) as caught:
        rsa.blind_sign(handle, to_bytes(5))
    assert caught.value.args == ("signing failure: the private operation gave a wrong result",)


def flipped_half(key: PrivateKey) -> Callable[[int], int]:
    """The private operation with one bit of its half modulo p flipped, and the half modulo q right."""

    def private_op(m: int) -> int:
        s = keys.crt(key, m)
        s_p, s_q = (s % key.p) ^ 1, s % key.q
        return s_q + key.q * ((s_p - s_q) * pow(key.q, -1, key.p) % key.p)

    return private_op


def test_crt_fault_gives_the_key_away_and_is_caught() -> None:
    m = 123456789
    faulty = flipped_half(KEY)
    assert math.gcd(pow(faulty(m), KEY.e, N) - m, N) == KEY.q  # Boneh, DeMillo, Lipton
    handle = Faulty(Gmp().load_private_key(KEY), lambda s: to_bytes(faulty(m)))
    with pytest.raises(CorruptionError):
        rsa.blind_sign(handle, to_bytes(m))


def test_crt_fault_inside_gmp_is_caught() -> None:
    handle = GmpSigningKey(KEY)
    handle._d_p ^= 2
    with pytest.raises(CorruptionError):
        rsa.blind_sign(handle, to_bytes(123456789))


@pytest.mark.parametrize("wrong", ["e", "n", "p", "q", "d_p", "d_q", "q_inv"])
def test_fault_inside_libcrypto_is_caught(wrong: str) -> None:
    parts.require(LIBCRYPTO, "libcrypto.so.3 (OpenSSL 3)")
    lib = LIBCRYPTO[0]._lib
    handle = LibcryptoSigningKey(lib, KEY)
    flip_bit(lib, getattr(handle._halves, wrong), 15)
    for _ in range(3):
        with pytest.raises(CorruptionError):
            rsa.blind_sign(handle, to_bytes(123456789))


def flip_bit(lib: ctypes.CDLL, number: ctypes.c_void_p, bit: int) -> None:
    is_set = lib.BN_is_bit_set(number, bit)
    change = lib.BN_clear_bit if is_set else lib.BN_set_bit
    assert change(number, bit) == 1
    assert lib.BN_is_bit_set(number, bit) != is_set


def test_only_multiples_of_the_primes_are_refused(signing: SigningEngine) -> None:
    handle = signing.load_private_key(KEY)
    for factor in (1, 2, KEY.q - 1, 3**500):
        with pytest.raises(MalformedError):
            handle.private_op(to_bytes(KEY.p * factor))
    for m in (1, 2, KEY.p + 1, KEY.q - 1, 3**1200):
        assert handle.private_op(to_bytes(m)) == to_bytes(keys.crt(KEY, m))


def test_a_hundred_in_a_row_are_blinded_anew(signing: SigningEngine) -> None:
    handle = signing.load_private_key(KEY)  # libcrypto draws another blind after 32
    for m in range(2, 102):
        assert pow(int.from_bytes(handle.private_op(to_bytes(m)), "big"), KEY.e, N) == m


def test_primes_in_the_other_order_sign_alike(signing: SigningEngine) -> None:
    handle = signing.load_private_key(replace(KEY, p=KEY.q, q=KEY.p))
    for m in (2, N - 2, 3**1200):
        assert rsa.blind_sign(handle, to_bytes(m)) == to_bytes(keys.crt(KEY, m))


def test_threads_share_one_key(signing: SigningEngine) -> None:
    handle = signing.load_private_key(KEY)
    verifiers = [engine.load_public_key(KEY.public) for engine in (*LIBCRYPTO, Portable())]

    def work(thread: int) -> None:
        for i in range(15):
            m = 2 + thread * 1000 + i
            assert pow(int.from_bytes(rsa.blind_sign(handle, to_bytes(m)), "big"), KEY.e, N) == m
            for verifier in verifiers:
                verifier.verify(MSG, SIG)
                with pytest.raises(SignatureError):
                    verifier.verify(MSG + b"%d" % m, SIG)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):  # contexts end with their threads; new threads make new ones
            list(pool.map(work, range(8)))


def test_load_private_key_gives_the_key_it_was_given() -> None:
    handle = rsa.load_private_key(keys.token_key_der(0))
    assert handle.public == KEY.public
    assert rsa.blind_sign(handle, to_bytes(5)) == to_bytes(keys.crt(KEY, 5))


def pkcs8(key: pyca.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: keys.token_key_der(0)[:-1],
        lambda: keys.token_spki(0),
        lambda: pkcs8(ec.generate_private_key(ec.SECP256R1())),
        lambda: pkcs8(pyca.generate_private_key(65537, 1024)),  # noqa: S505
        lambda: pkcs8(pyca.generate_private_key(3, 2048)),
    ],
    ids=["empty", "truncated", "public", "elliptic-curve", "1024-bits", "e-3"],
)
def test_load_private_key_refuses(make: Callable[[], bytes]) -> None:
    with pytest.raises(MalformedError):
        rsa.load_private_key(make())


def test_private_key_of_other_factors_is_refused() -> None:
    p, q = to_bytes(KEY.p, 128), to_bytes(OTHER.p, 128)
    with pytest.raises(MalformedError):
        rsa.load_private_key(keys.token_key_der(0).replace(p, q))


def test_repr_of_a_key_shows_no_secret() -> None:
    text = repr(KEY)
    assert not any(str(number) in text for number in (KEY.d, KEY.p, KEY.q))


def test_engine_name_names_both() -> None:
    name = rsa.engine_name()
    assert name.startswith("signing by ")
    assert ", verification by " in name


class Absent:
    name = "absent"

    def __init__(self) -> None:
        raise OSError("no such library")


class Wrong:
    name = "wrong"

    def load_private_key(self, key: PrivateKey) -> SigningKey:
        return Faulty(Gmp().load_private_key(key), lambda s: bytes(256))

    def load_public_key(self, key: PublicKey) -> VerifyingKey:
        return Lax(key)


@dataclass(frozen=True)
class Lax:
    public: PublicKey

    def verify(self, msg: bytes, sig: bytes) -> None:
        return None


class Strict(Wrong):
    def load_public_key(self, key: PublicKey) -> VerifyingKey:
        return Refusing(key)


class Refusing(Lax):
    def verify(self, msg: bytes, sig: bytes) -> None:
        raise SignatureError("never")


def test_engine_that_is_absent_or_wrong_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    assert type(rsa.choose([Absent, Wrong, Gmp], selftest.check_signing)) is Gmp
    assert type(rsa.choose([Absent, Wrong, Strict, Portable], selftest.check_verifying)) is Portable
    assert "RSA engine Wrong is not used" in caplog.text


def test_without_any_engine_there_is_an_error() -> None:
    with pytest.raises(ConfigurationError):
        rsa.choose([Absent, Wrong], selftest.check_signing)


ENDS_WHILE_SIGNING = """
import threading, time
import keys
from engines import LIBCRYPTO

key = LIBCRYPTO[0].load_private_key(keys.token_key(0))
m = bytes(255) + bytes([5])

def sign():
    while True:
        key.private_op(m)

for _ in range(4):
    threading.Thread(target=sign, daemon=True).start()
time.sleep(0.2)
"""


def test_a_process_may_end_while_a_thread_is_signing() -> None:
    parts.require(LIBCRYPTO, "libcrypto.so.3 (OpenSSL 3)")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", ENDS_WHILE_SIGNING], env=environment, check=False)
        assert ran.returncode == 0
