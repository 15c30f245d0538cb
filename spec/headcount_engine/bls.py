"""BLS12-381 signatures with proofs of possession, by py_ecc (extra ``trustee``).

draft-irtf-cfrg-bls-signature-05, Section 4.2.3: BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_; keys are
compressed G1 points (48 bytes), signatures compressed G2 points (96 bytes). A pairing takes half a second
and the import another half, so py_ecc is loaded at the first use and by nobody who does not certify anything.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from headcount_spec.errors import ConfigurationError, MalformedError, SignatureError
from headcount_spec.terms import BLS_SIGNATURE_BYTES

SEED_BYTES = 32


class _Scheme(Protocol):
    def KeyGen(self, IKM: bytes) -> int: ...
    def SkToPk(self, privkey: int) -> bytes: ...
    def PopProve(self, SK: int) -> bytes: ...
    def PopVerify(self, pubkey: bytes, proof: bytes) -> bool: ...
    def Sign(self, SK: int, message: bytes) -> bytes: ...
    def Aggregate(self, signatures: Sequence[bytes]) -> bytes: ...
    def FastAggregateVerify(
        self,
        PKs: Sequence[bytes],
        message: bytes,
        signature: bytes,
    ) -> bool: ...


@functools.cache
def _scheme() -> _Scheme:
    limit = sys.getrecursionlimit()
    try:
        from py_ecc.bls.ciphersuites import G2ProofOfPossession
    except ModuleNotFoundError as exc:
        raise ConfigurationError("this needs py_ecc: pip install 'headcount[trustee]'") from exc
    finally:
        # The import sets it to 100,000, with which an endless recursion anywhere ends in a crash.
        sys.setrecursionlimit(limit)
    return cast(_Scheme, G2ProofOfPossession)


def public_key(seed: bytes) -> bytes:
    """The public key of a 32-byte seed, by KeyGen."""
    return bytes(_scheme().SkToPk(_private_key(seed)))


def prove_possession(seed: bytes) -> bytes:
    """What shows that the holder of the public key holds the seed too; 96 bytes."""
    return bytes(_scheme().PopProve(_private_key(seed)))


def sign(seed: bytes, message: bytes) -> bytes:
    """The 96-byte signature of a message."""
    return bytes(_scheme().Sign(_private_key(seed), message))


@functools.lru_cache(maxsize=256)
def verify_possession(public_key: bytes, proof: bytes) -> None:
    """Check a proof of possession. Without it a key may be made up from those of others (a rogue key).

    Raises:
        SignatureError: it does not verify.
    """
    if not _scheme().PopVerify(public_key, proof):
        raise SignatureError("a BLS key comes without a proof of possession")


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """One signature in place of several of the same message.

    Raises:
        MalformedError: none, or one that is no signature.
    """
    if not signatures or any(len(signature) != BLS_SIGNATURE_BYTES for signature in signatures):
        raise MalformedError("not a BLS signature")
    try:
        return bytes(_scheme().Aggregate(signatures))
    except (ValueError, AssertionError) as exc:  # what py_ecc raises for points that are none
        raise MalformedError("not a BLS signature") from exc


def verify(public_keys: Sequence[bytes], message: bytes, signature: bytes) -> None:
    """Check an aggregate by keys of which verify_possession has passed each. FastAggregateVerify.

    Raises:
        SignatureError: it is not the signature of this message by all of these.
    """
    if not public_keys or not _scheme().FastAggregateVerify(public_keys, message, signature):
        raise SignatureError("the BLS signature does not verify")


def _private_key(seed: bytes) -> int:
    if len(seed) != SEED_BYTES:
        raise ValueError("a seed has 32 bytes")
    return _scheme().KeyGen(seed)
