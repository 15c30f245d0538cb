"""RSA keys that live in a PKCS #11 token and never leave it.

Each session with the token is a process of its own (hsm_worker): a fault in the module's C code takes a
worker down and not the issuer, and python-pkcs11 with two threads on one SoftHSM corrupts the heap.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from headcount_engine import hsm_worker
from headcount_engine.worker import Worker, Workers
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import CorruptionError, MalformedError, UnknownKeyError
from headcount_spec.spki import EXPONENT, MODULUS_BITS, TokenKeyId, encode_token_key, token_key_id

MODULUS_BYTES = MODULUS_BITS // 8


class Hsm:
    """One PKCS #11 token and the sessions with it; threads share it."""

    def __init__(self, module: Path, token: str, pin: bytes, sessions: int = 2) -> None:
        """module is the PKCS #11 library's file, token the token's label. Nothing is started yet."""
        opening = json.dumps({"module": str(module), "token": token, "pin": pin.decode("utf-8", "replace")})

        def begin(worker: Worker) -> None:
            worker.ask(hsm_worker.OPEN, opening.encode())

        self.sessions = sessions
        self._workers = Workers(hsm_worker, "the key token", sessions, begin)

    def generate(self) -> bytes:
        """Make a token key; its SPKI, as manifests carry it.

        Raises:
            ConfigurationError, UnavailableError: as Workers.ask.
        """
        return encode_token_key(_public(self._workers.ask(hsm_worker.GENERATE, b"")))

    def signing_key(self, key_id: TokenKeyId) -> HsmSigningKey:
        """The handle of a key, after a signature of it was checked.

        Raises:
            UnknownKeyError: the token has no such key.
            CorruptionError: it is another key than its name says, or signs wrongly.
            ConfigurationError, UnavailableError: as Workers.ask.
        """
        key = HsmSigningKey(self, key_id, _public(self._workers.ask(hsm_worker.PUBLIC, key_id)))
        if token_key_id(encode_token_key(key.public)) != key_id:
            raise CorruptionError("the key token holds another key under this id")
        probe = (3**1200).to_bytes(MODULUS_BYTES, "big")  # below any modulus of 2048 bits
        if key.public_op(key.private_op(probe)) != probe:
            raise CorruptionError("the key token signs wrongly")
        return key

    def sign(self, key_id: TokenKeyId, m: bytes) -> bytes:
        """m^d mod n, by the token.

        Raises:
            UnknownKeyError: the token has no such key any more.
            ConfigurationError, UnavailableError: as Workers.ask.
        """
        return self._workers.ask(hsm_worker.SIGN, key_id + m)

    def destroy(self, key_id: TokenKeyId) -> bool:
        """Destroy both halves of a key in the token; whether it was there.

        Raises:
            ConfigurationError, UnavailableError: as Workers.ask.
        """
        try:
            self._workers.ask(hsm_worker.DESTROY, key_id)
        except UnknownKeyError:
            return False
        return True

    def close(self) -> None:
        """End the workers; those that are busy end after their answer."""
        self._workers.close()


class HsmSigningKey:
    """A key in the token, as engine.SigningKey."""

    def __init__(self, hsm: Hsm, key_id: TokenKeyId, public: PublicKey) -> None:
        self.public = public
        self._hsm = hsm
        self._key_id = key_id

    def private_op(self, m: bytes) -> bytes:
        """RSASP1 without padding, by CKM_RSA_X_509."""
        if math.gcd(int.from_bytes(m, "big"), self.public.n) != 1:
            raise MalformedError("the blinded message is out of range")
        return self._hsm.sign(self._key_id, m)

    def public_op(self, s: bytes) -> bytes:
        """RSAVP1, here: the token does not judge itself."""
        n = self.public.n
        return pow(int.from_bytes(s, "big"), self.public.e, n).to_bytes(MODULUS_BYTES, "big")


def _public(modulus: bytes) -> PublicKey:
    return PublicKey(int.from_bytes(modulus, "big"), EXPONENT)
