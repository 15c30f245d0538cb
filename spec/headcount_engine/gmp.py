"""The RSA private operation by gmpy2, where there is no libcrypto: slower, and it holds the GIL.

powmod_sec takes time that depends on sizes alone; the steps around it (reduction, recombination) do
not, so the message is blinded anew each time and never has a value that a caller chose.
"""

from __future__ import annotations

import secrets
from typing import Any

import gmpy2

from headcount_engine.pkcs1 import crt_parameters
from headcount_spec.blind_rsa import PrivateKey, PublicKey
from headcount_spec.errors import MalformedError

_gmp: Any = gmpy2  # its type stubs lack these functions


class Gmp:
    """GMP as an engine."""

    @property
    def name(self) -> str:
        """As "GMP 6.3.0"."""
        return str(_gmp.mp_version())

    def load_private_key(self, key: PrivateKey) -> GmpSigningKey:
        """A handle of this key."""
        return GmpSigningKey(key)


class GmpSigningKey:
    """A private key as GMP numbers. Immutable, so any thread may use it."""

    def __init__(self, key: PrivateKey) -> None:
        self.public: PublicKey = key.public
        self._n, self._e = _gmp.mpz(key.n), _gmp.mpz(key.e)
        self._p, self._q = _gmp.mpz(key.p), _gmp.mpz(key.q)
        self._d_p, self._d_q, self._q_inv = (_gmp.mpz(i) for i in crt_parameters(key))

    def private_op(self, m: bytes) -> bytes:
        """RSASP1 by the Chinese remainder theorem (RFC 8017, Section 5.1.2), blinded."""
        n, p, q = self._n, self._p, self._q
        r = _gmp.mpz(secrets.randbelow(self.public.n - 2) + 2)
        blinded = int.from_bytes(m, "big") * _gmp.powmod(r, self._e, n) % n
        by_p, by_q = blinded % p, blinded % q
        if not (by_p and by_q):
            raise MalformedError("the blinded message is out of range")
        s_1 = _gmp.powmod_sec(by_p, self._d_p, p)
        s_2 = _gmp.powmod_sec(by_q, self._d_q, q)
        s = s_2 + q * ((s_1 - s_2) * self._q_inv % p)
        # r shares a factor with n once in 2^1023 draws; invert would raise then.
        return int(s * _gmp.invert(r, n) % n).to_bytes(self.public.modulus_bytes, "big")

    def public_op(self, s: bytes) -> bytes:
        """RSAVP1."""
        m = _gmp.powmod(int.from_bytes(s, "big"), self._e, self._n)
        return int(m).to_bytes(self.public.modulus_bytes, "big")
