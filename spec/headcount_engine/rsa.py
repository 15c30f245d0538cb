"""Blind signing and verification by the fastest engine that passes the self-test on this machine.

    signing:   libcrypto, else GMP          verification:   libcrypto, else `cryptography`

The choice is made once, at first use; engine_name() is for the log of whoever serves.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from headcount_engine import selftest
from headcount_engine.engine import SigningEngine, SigningKey, VerifyingEngine, VerifyingKey
from headcount_engine.libcrypto import Libcrypto
from headcount_engine.portable import Portable
from headcount_spec.blind_rsa import PrivateKey, check_range
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    ProtocolError,
    UnavailableError,
)
from headcount_spec.spki import EXPONENT, MODULUS_BITS, decode_token_key

__all__ = [
    "InTurn",
    "SigningKey",
    "VerifyingKey",
    "blind_sign",
    "engine_name",
    "load_numbers",
    "load_private_key",
    "load_public_key",
    "private_numbers",
    "verify",
]

E = TypeVar("E")

_log = logging.getLogger(__name__)


def gmp() -> SigningEngine:
    """GMP as an engine, loaded where libcrypto is missing only."""
    from headcount_engine.gmp import Gmp

    return Gmp()


SIGNING: Sequence[Callable[[], SigningEngine]] = (Libcrypto, gmp)  # the fastest first
VERIFYING: Sequence[Callable[[], VerifyingEngine]] = (Libcrypto, Portable)


def private_numbers(key: rsa.RSAPrivateKey) -> PrivateKey:
    """A token key that `cryptography` has read and checked.

    Raises:
        MalformedError: not of 2048 bits with e = 65537.
    """
    numbers = key.private_numbers()
    public = numbers.public_numbers
    if public.n.bit_length() != MODULUS_BITS or public.e != EXPONENT:
        raise MalformedError("token keys have 2048 bits and e = 65537")
    return PrivateKey(public.n, public.e, numbers.d, numbers.p, numbers.q)


def load_private_key(der: bytes) -> SigningKey:
    """A handle of a token key in PKCS #8 DER, to be made once and shared by all threads.

    Raises:
        MalformedError: not an RSA key of 2048 bits with e = 65537, or its numbers disagree.
    """
    try:
        key = load_der_private_key(der, None)
    except (ValueError, TypeError) as exc:
        raise MalformedError("not a private key in PKCS #8 DER") from exc
    if not isinstance(key, rsa.RSAPrivateKey):
        raise MalformedError("not an RSA key")
    return load_numbers(private_numbers(key))


def load_numbers(key: PrivateKey) -> SigningKey:
    """A handle of a token key that private_numbers has checked, perhaps in another process."""
    return _signing_engine().load_private_key(key)


def blind_sign(key: SigningKey, blinded_msg: bytes) -> bytes:
    """The blind signature, checked before it is returned.

    RFC 9474, Section 4.3. BlindSign.

    Raises:
        MalformedError: not exactly as long as n, 0, 1, n - 1, not below n, or a factor of n in it.
        CorruptionError: the result does not verify. One faulty half of a CRT signature gives the
            key away, so no byte of it is returned.
    """
    check_range(key.public, blinded_msg)  # 1-2.
    blind_sig = key.private_op(blinded_msg)  # 3., where nothing divides both
    if key.public_op(blind_sig) != blinded_msg:  # 4.
        raise CorruptionError("signing failure: the private operation gave a wrong result")
    return blind_sig  # 5.


class InTurn:
    """A token key as engine.BlindSigner, one message after the other."""

    def __init__(self, key: SigningKey) -> None:
        self.public = key.public
        self._key = key

    def blind_sign(self, blinded_msgs: Sequence[bytes]) -> list[bytes | ProtocolError]:
        """blind_sign of each; a key that does not answer is not asked for the rest."""
        found: list[bytes | ProtocolError] = []
        for blinded_msg in blinded_msgs:
            try:
                found.append(blind_sign(self._key, blinded_msg))
            except UnavailableError as exc:
                return found + [exc] * (len(blinded_msgs) - len(found))
            except ProtocolError as exc:
                found.append(exc)
        return found


def load_public_key(spki: bytes) -> VerifyingKey:
    """A handle of a token key as manifests carry it, to be made once and shared by all threads.

    Raises:
        MalformedError: decode_token_key refuses it.
    """
    return _verifying_engine().load_public_key(decode_token_key(spki))


def verify(key: VerifyingKey, msg: bytes, sig: bytes) -> None:
    """Check an authenticator: RSASSA-PSS with SHA-384 and a salt of exactly 48 bytes.

    Raises:
        SignatureError: it does not verify, or is not the one encoding (256 bytes, below n).
    """
    key.verify(msg, sig)


def engine_name() -> str:
    """Which engines run here, one line."""
    return f"signing by {_signing_engine().name}, verification by {_verifying_engine().name}"


@functools.cache
def _signing_engine() -> SigningEngine:
    return choose(SIGNING, selftest.check_signing)


@functools.cache
def _verifying_engine() -> VerifyingEngine:
    return choose(VERIFYING, selftest.check_verifying)


def choose(makers: Sequence[Callable[[], E]], check: Callable[[E], None]) -> E:
    """The first engine that exists on this machine and passes its self-test.

    Raises:
        ConfigurationError: none does.
    """
    for make in makers:
        try:
            engine = make()
            check(engine)
        except (OSError, AttributeError, ProtocolError) as exc:
            _log.warning("RSA engine %s is not used: %s", make.__name__, exc)
            continue
        return engine
    raise ConfigurationError("no RSA engine passes its self-test on this machine")
