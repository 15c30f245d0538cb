"""What an RSA engine is. libcrypto and gmp are two; a PKCS #11 token fits the same two protocols.

Handles are made once a key and shared by threads: each call may come from any thread at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from headcount_spec.blind_rsa import PrivateKey, PublicKey
from headcount_spec.errors import ProtocolError

# From the SHA-384 of messages and their signatures to whether all of them verify.
Check = Callable[[Sequence[bytes], Sequence[bytes]], bool]


class SigningKey(Protocol):
    """A private key, wherever it lives: rsa.blind_sign asks both operations and compares."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...

    def private_op(self, m: bytes) -> bytes:
        """m^d mod n in time that does not depend on the key; m and the result are as long as n.

        The result is not trusted: the caller checks it by public_op before it leaves.

        Raises:
            MalformedError: m, which is below n, has a factor in common with n. It was not signed.
            CorruptionError: the operation failed.
            UnavailableError: the key lives elsewhere, and there is no answer.
        """
        ...

    def public_op(self, s: bytes) -> bytes:
        """s^e mod n."""
        ...


class BlindSigner(Protocol):
    """A token key as an issuer uses it: many messages at a time."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...

    def blind_sign(self, blinded_msgs: Sequence[bytes]) -> list[bytes | ProtocolError]:
        """The checked blind signature of each, or what it is refused with: as rsa.blind_sign.

        Raises:
            UnknownKeyError: the key is not here any more.
            ConfigurationError, UnavailableError: it cannot be used, or not now; nothing was signed.
        """
        ...


class VerifyingKey(Protocol):
    """A public key that checks authenticators."""

    @property
    def public(self) -> PublicKey:
        """The key."""
        ...

    def verify(self, msg: bytes, sig: bytes) -> None:
        """RSASSA-PSS-VERIFY with SHA-384 and a salt of exactly 48 bytes.

        Raises:
            SignatureError: another length than n, not below n, or the signature does not verify.
        """
        ...

    def checker(self) -> Check:
        """The same rule for one thread that verifies very many; which of them is wrong is not told."""
        ...


class SigningEngine(Protocol):
    """Makes signing keys from numbers. Keys of a PKCS #11 token are found there instead."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    def load_private_key(self, key: PrivateKey) -> SigningKey:
        """A handle of this key."""
        ...


class VerifyingEngine(Protocol):
    """Makes verifying keys."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    def load_public_key(self, key: PublicKey) -> VerifyingKey:
        """A handle of this key."""
        ...
