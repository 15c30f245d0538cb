"""Blind RSA signatures, RFC 9474 (RSABSSA-SHA384-PSS), by plain integer arithmetic.

The oracle of headcount_engine, which does the same fast and in constant time: the private
operation here leaks timing and is for vectors and tests. Tokens use the deterministic variant with
a salt of 48 bytes; the others are here for the RFC's vectors. Salt and blind are arguments.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Literal

from headcount_spec.errors import CorruptionError, MalformedError, SignatureError

SALT_BYTES = 48  # RFC 9474, Section 5: sLen of the PSS variants
HASH_BYTES = 48  # SHA-384
PREFIX_BYTES = 32  # RFC 9474, Section 4.1: PrepareRandomize
_TRAILER = 0xBC  # RFC 8017, Section 9.1.1, step 12

Diagnosis = Literal["valid", "other-message", "foreign"]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA public key; nothing about it is checked here (spki.decode_token_key does)."""

    n: int
    e: int

    @property
    def modulus_bytes(self) -> int:
        """Length of a signature in bytes."""
        return (self.n.bit_length() + 7) // 8


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An RSA private key; its repr shows the modulus alone."""

    n: int
    e: int = field(repr=False)
    d: int = field(repr=False)
    p: int = field(repr=False)
    q: int = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.n, self.e)


def prepare_identity(msg: bytes) -> bytes:
    """RFC 9474, Section 4.1. PrepareIdentity: the input message is the message."""
    return msg


def prepare_randomize(msg: bytes, prefix: bytes) -> bytes:
    """RFC 9474, Section 4.1. PrepareRandomize, with the 32 random bytes as an argument."""
    if len(prefix) != PREFIX_BYTES:
        raise ValueError("the prefix is 32 bytes")
    return prefix + msg


def encode(public: PublicKey, msg: bytes, salt: bytes) -> bytes:
    """RFC 8017, Section 9.1.1. EMSA-PSS-ENCODE with SHA-384 and MGF1-SHA384.

    emBits is one less than the modulus, so the result is below n.
    """
    em_bits = public.n.bit_length() - 1
    em_bytes = (em_bits + 7) // 8
    # 2-6. M' = 00*8 || mHash || salt
    m_hash = hashlib.sha384(msg).digest()
    if em_bytes < HASH_BYTES + len(salt) + 2:  # 3.
        raise ValueError("the modulus is too small for this salt")
    h = hashlib.sha384(bytes(8) + m_hash + salt).digest()
    # 7-8. DB = PS || 01 || salt
    db = bytes(em_bytes - len(salt) - HASH_BYTES - 2) + b"\x01" + salt
    # 9-11. mask it, and clear the bits above emBits
    masked = int.from_bytes(db, "big") ^ int.from_bytes(_mgf1(h, len(db)), "big")
    masked &= (1 << (em_bits - 8 * (HASH_BYTES + 1))) - 1
    # 12. EM = maskedDB || H || bc
    return masked.to_bytes(len(db), "big") + h + bytes([_TRAILER])


def blind(public: PublicKey, input_msg: bytes, salt: bytes, r: int) -> tuple[bytes, int]:
    """The blinded message for the issuer, and the inverse that finalize needs.

    RFC 9474, Section 4.2. Blind, with the salt and the blind r (1 <= r < n) as arguments.

    Raises:
        MalformedError: r has no inverse, or the encoded message shares a factor with n.
    """
    m = int.from_bytes(encode(public, input_msg, salt), "big")  # 1-2.
    if math.gcd(m, public.n) != 1:  # 3-4.
        raise MalformedError("the message cannot be blinded under this key")
    if not 0 < r < public.n or math.gcd(r, public.n) != 1:  # 5-6.
        raise MalformedError("the blind has no inverse under this key")
    inv = pow(r, -1, public.n)
    z = m * pow(r, public.e, public.n) % public.n  # 7-8.
    return z.to_bytes(public.modulus_bytes, "big"), inv  # 9.


def check_blinded_msg(public: PublicKey, blinded_msg: bytes) -> int:
    """The number an issuer may sign: exactly as long as n, 1 < m < n - 1, no factor of n.

    0, 1 and n - 1 are their own signatures or their negatives; RFC 9474, Section 4.3 asks m < n.

    Raises:
        MalformedError: any of these does not hold.
    """
    m = check_range(public, blinded_msg)
    if math.gcd(m, public.n) != 1:
        raise MalformedError("the blinded message is out of range")
    return m


def check_range(public: PublicKey, blinded_msg: bytes) -> int:
    """check_blinded_msg without the question for a common factor, which the holder of p and q has cheaper.

    Raises:
        MalformedError: the length is not that of n, or not 1 < m < n - 1.
    """
    if len(blinded_msg) != public.modulus_bytes:
        raise MalformedError("the blinded message has another length than the key")
    m = int.from_bytes(blinded_msg, "big")
    if not 1 < m < public.n - 1:
        raise MalformedError("the blinded message is out of range")
    return m


def blind_sign(private: PrivateKey, blinded_msg: bytes) -> bytes:
    """RFC 9474, Section 4.3. BlindSign. Slow, not in constant time: issuers use headcount_engine.

    Raises:
        MalformedError: check_blinded_msg refuses the message.
        CorruptionError: the result does not verify (step 4): the key or the arithmetic is broken.
    """
    m = check_blinded_msg(private.public, blinded_msg)  # 1-2.
    s = pow(m, private.d, private.n)  # 3. RSASP1
    if pow(s, private.e, private.n) != m:  # 4.
        raise CorruptionError("signing failure: the private operation gave a wrong result")
    return s.to_bytes(private.public.modulus_bytes, "big")  # 5.


def finalize(
    public: PublicKey, input_msg: bytes, blind_sig: bytes, inv: int, salt_len: int = SALT_BYTES
) -> bytes:
    """The signature, after it has been verified.

    RFC 9474, Section 4.4. Finalize.

    Raises:
        MalformedError: blind_sig has another length than n.
        SignatureError: the issuer signed something else.
    """
    if len(blind_sig) != public.modulus_bytes:  # 1.
        raise MalformedError("the blind signature has another length than the key")
    z = int.from_bytes(blind_sig, "big")  # 2.
    sig = (z * inv % public.n).to_bytes(public.modulus_bytes, "big")  # 3-4.
    verify(public, input_msg, sig, salt_len)  # 5.
    return sig


def verify(public: PublicKey, input_msg: bytes, sig: bytes, salt_len: int = SALT_BYTES) -> None:
    """Check that sig is the one encoding of a signature on this message, with exactly this salt length.

    RFC 8017, Section 8.1.2. RSASSA-PSS-VERIFY.

    Raises:
        SignatureError: another length than n, not below n, or another message, key or encoding.
    """
    opened = _open(public, sig, salt_len)
    if opened is None or not _made_of(input_msg, *opened):
        raise SignatureError("the signature does not verify")


def diagnose(public: PublicKey, input_msg: bytes, sig: bytes) -> Diagnosis:
    """Why a signature does not verify, so that an audit can name the fault.

    "other-message": the owner of this key signed something else (the EMSA-PSS structure with its
    48-byte salt is intact); "foreign": there is no such structure, so another key made it.
    """
    opened = _open(public, sig, SALT_BYTES)
    if opened is None:
        return "foreign"
    return "valid" if _made_of(input_msg, *opened) else "other-message"


def _open(public: PublicKey, sig: bytes, salt_len: int) -> tuple[bytes, bytes] | None:
    # Salt and H of the encoded message, or None where there is no EMSA-PSS structure:
    # RFC 8017, Section 8.1.2 steps 1-2 and Section 9.1.2 steps 3-11.
    s = int.from_bytes(sig, "big")
    if len(sig) != public.modulus_bytes or s >= public.n:
        return None
    em_bits = public.n.bit_length() - 1
    em_bytes = (em_bits + 7) // 8
    db_bytes = em_bytes - HASH_BYTES - 1
    padding = db_bytes - salt_len - 1
    if padding < 0:
        return None
    em_int = pow(s, public.e, public.n)
    if em_int >> em_bits:
        return None
    em = em_int.to_bytes(em_bytes, "big")
    if em[-1] != _TRAILER:
        return None
    h = em[db_bytes:-1]
    db_int = int.from_bytes(em[:db_bytes], "big") ^ int.from_bytes(_mgf1(h, db_bytes), "big")
    db = (db_int & ((1 << (em_bits - 8 * (HASH_BYTES + 1))) - 1)).to_bytes(db_bytes, "big")
    if db[: padding + 1] != bytes(padding) + b"\x01":
        return None
    return db[padding + 1 :], h


def _made_of(msg: bytes, salt: bytes, h: bytes) -> bool:
    # RFC 8017, Section 9.1.2, steps 12-14. Nothing here is secret.
    return hashlib.sha384(bytes(8) + hashlib.sha384(msg).digest() + salt).digest() == h


def _mgf1(seed: bytes, size_bytes: int) -> bytes:
    # RFC 8017, Appendix B.2.1.
    blocks = -(-size_bytes // HASH_BYTES)
    mask = b"".join(hashlib.sha384(seed + i.to_bytes(4, "big")).digest() for i in range(blocks))
    return mask[:size_bytes]
