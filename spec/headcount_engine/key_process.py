"""The process that holds token keys and signs under them: asked through worker.

    KEY    key id[32], p[256], q[256]      DONE
    SIGN   key id[32], blinded msg[256]*   DONE, (outcome, blind sig[256])* | NO_KEY

RFC 9474's BlindSign runs here whole: what is not verified does not leave the process that has made it.
Nothing else comes here: no bearer, no tag, no address.
"""

from __future__ import annotations

import resource

from headcount_engine import rsa, worker
from headcount_engine.engine import SigningKey
from headcount_engine.worker import DONE, FAILED, NO_KEY
from headcount_spec.blind_rsa import PrivateKey
from headcount_spec.errors import CorruptionError, MalformedError, ProtocolError
from headcount_spec.spki import EXPONENT, MODULUS_BITS, encode_token_key, token_key_id

KEY, SIGN = b"K", b"S"
SIGNED, MALFORMED, WRONG = b"\0", b"\1", b"\2"
KEY_ID_BYTES = 32
MESSAGE_BYTES = MODULUS_BITS // 8


class KeyProcess:
    """The keys, in this process alone."""

    def __init__(self) -> None:
        self._keys: dict[bytes, SigningKey] = {}

    def answer(self, operation: bytes, data: bytes) -> bytes:
        """One question."""
        key_id, rest = data[:KEY_ID_BYTES], data[KEY_ID_BYTES:]
        try:
            if operation == KEY:
                self._keys[key_id] = _load(key_id, rest)
                return DONE
            key = self._keys.get(key_id)
            return NO_KEY if key is None else DONE + _sign(key, rest)
        except Exception as exc:  # noqa: BLE001 - whoever asked waits for an answer
            return FAILED + type(exc).__name__.encode()


def _load(key_id: bytes, primes: bytes) -> SigningKey:
    p, q = (int.from_bytes(prime, "big") for prime in (primes[:MESSAGE_BYTES], primes[MESSAGE_BYTES:]))
    key = PrivateKey(p * q, EXPONENT, pow(EXPONENT, -1, (p - 1) * (q - 1)), p, q)
    if token_key_id(encode_token_key(key.public)) != key_id:
        raise CorruptionError("another key")
    return rsa.load_numbers(key)


def _sign(key: SigningKey, messages: bytes) -> bytes:
    done = []
    for at in range(0, len(messages), MESSAGE_BYTES):
        outcome, blind_sig = SIGNED, bytes(MESSAGE_BYTES)
        try:
            blind_sig = rsa.blind_sign(key, messages[at : at + MESSAGE_BYTES])
        except MalformedError:
            outcome = MALFORMED
        except ProtocolError:
            outcome = WRONG
        done.append(outcome + blind_sig)
    return b"".join(done)


def main() -> None:
    """Run the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a fault must not write the keys to the disk
    worker.serve(KeyProcess().answer)


if __name__ == "__main__":
    main()
