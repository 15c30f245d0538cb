from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from headcount_spec import blind_rsa, spki
from headcount_spec.blind_rsa import PrivateKey

DATA = Path(__file__).parent / "data"
NUMBER = 8  # keys in the folder


@functools.cache
def _loaded(i: int) -> rsa.RSAPrivateKey:
    key = load_pem_private_key((DATA / f"token-key-{i}.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@functools.cache
def token_key(i: int = 0) -> PrivateKey:
    """The i-th test key, 0 <= i < NUMBER."""
    numbers = _loaded(i).private_numbers()
    public = numbers.public_numbers
    return PrivateKey(public.n, public.e, numbers.d, numbers.p, numbers.q)


@functools.cache
def token_key_der(i: int = 0) -> bytes:
    """The same key as PKCS #8 DER, as rsa.load_private_key takes it."""
    return _loaded(i).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@functools.cache
def token_spki(i: int = 0) -> bytes:
    """The same key's public half, as manifests carry it."""
    return spki.encode_token_key(token_key(i).public)


def seed(name: str) -> bytes:
    """32 bytes that stand for a random seed in a test."""
    return hashlib.sha256(b"headcount test seed " + name.encode()).digest()


def sign_pss(key: PrivateKey, msg: bytes, salt: bytes = bytes(48)) -> bytes:
    """An authenticator without the blinding, for tests that need many (7 ms each by CRT)."""
    m = int.from_bytes(blind_rsa.encode(key.public, msg, salt), "big")
    return crt(key, m).to_bytes(key.public.modulus_bytes, "big")


def crt(key: PrivateKey, m: int) -> int:
    """m^d mod n, Garner's way."""
    sp = pow(m, key.d % (key.p - 1), key.p)
    sq = pow(m, key.d % (key.q - 1), key.q)
    return sq + key.q * ((sp - sq) * pow(key.q, -1, key.p) % key.p)
