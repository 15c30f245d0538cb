"""The process that holds one session with a PKCS #11 token: asked through worker.

    OPEN       JSON {module, token, pin}        DONE
    GENERATE                                    DONE, n
    PUBLIC     key id[32]                       DONE, n | NO_KEY
    SIGN       key id[32], m[256]               DONE, m^d mod n | NO_KEY
    DESTROY    key id[32]                       DONE | NO_KEY

A key's CKA_ID is its token key id.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from headcount_engine import worker
from headcount_engine.worker import DONE, FAILED, NO_KEY, REFUSED
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.spki import EXPONENT, MODULUS_BITS, encode_token_key, token_key_id

OPEN, GENERATE, PUBLIC, SIGN, DESTROY = b"O", b"G", b"P", b"S", b"D"

_KEY_ID_BYTES = 32
_MODULUS_BYTES = MODULUS_BITS // 8
_EXPONENT = EXPONENT.to_bytes(3, "big")


class Session:
    """One logged-in session, in this process alone."""

    def __init__(self, module: str, token: str, pin: str) -> None:
        import pkcs11  # an extra: who keeps keys in files does not need it

        self._p: Any = pkcs11
        self._session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
        self._keys: dict[bytes, Any] = {}  # key id → private key object

    def generate(self, _data: bytes) -> bytes:
        """Make a pair that cannot be read out, and name it by its own id."""
        attribute = self._p.Attribute
        label = f"headcount {secrets.token_hex(8)}"
        public, private = self._session.generate_keypair(
            self._p.KeyType.RSA,
            MODULUS_BITS,
            id=secrets.token_bytes(_KEY_ID_BYTES),  # until its modulus is known
            label=label,
            store=True,
            capabilities=self._p.MechanismFlag.SIGN,
            private_template={attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
            public_template={attribute.PUBLIC_EXPONENT: _EXPONENT},
        )
        modulus = bytes(public[attribute.MODULUS])
        key_id = token_key_id(encode_token_key(PublicKey(int.from_bytes(modulus, "big"), EXPONENT)))
        for half in (private, public):
            half[attribute.ID] = key_id
        return modulus

    def public(self, key_id: bytes) -> bytes:
        """The modulus of a private key."""
        return bytes(self._private(key_id)[self._p.Attribute.MODULUS])

    def sign(self, data: bytes) -> bytes:
        """The raw private operation."""
        key_id, m = data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:]
        return bytes(self._private(key_id).sign(m, mechanism=self._p.Mechanism.RSA_X_509))

    def destroy(self, key_id: bytes) -> bytes:
        """Destroy both halves."""
        private = self._private(key_id)
        self._keys.pop(key_id, None)
        private.destroy()
        for public in self._session.get_objects(
            {self._p.Attribute.CLASS: self._p.ObjectClass.PUBLIC_KEY, self._p.Attribute.ID: key_id}
        ):
            public.destroy()
        return b""

    def _private(self, key_id: bytes) -> Any:
        key = self._keys.get(key_id)
        if key is None:
            key = self._session.get_key(self._p.ObjectClass.PRIVATE_KEY, self._p.KeyType.RSA, id=key_id)
            self._keys[key_id] = key
        return key


def _open(data: bytes) -> tuple[bytes, dict[bytes, Callable[[bytes], bytes]]]:
    try:
        from pkcs11 import exceptions
    except ImportError:
        return REFUSED + b"python-pkcs11 is not installed", {}
    hopeless = (
        exceptions.PinIncorrect,
        exceptions.PinInvalid,
        exceptions.PinLenRange,
        exceptions.PinLocked,
        exceptions.PinExpired,
        exceptions.UserPinNotInitialized,
    )
    try:
        session = Session(**json.loads(data))
    except hopeless as exc:
        return REFUSED + type(exc).__name__.encode(), {}
    except Exception as exc:  # noqa: BLE001 - a missing module is a RuntimeError, a missing token one of PKCS #11's
        return FAILED + type(exc).__name__.encode(), {}
    return DONE, {
        GENERATE: session.generate,
        PUBLIC: session.public,
        SIGN: session.sign,
        DESTROY: session.destroy,
    }


def _answer(operation: Callable[[bytes], bytes], data: bytes) -> bytes:
    from pkcs11 import exceptions

    try:
        return DONE + operation(data)
    except exceptions.NoSuchKey:
        return NO_KEY
    except exceptions.PKCS11Error as exc:
        return FAILED + type(exc).__name__.encode()


def main() -> None:
    """Run the worker."""
    operations: dict[bytes, Callable[[bytes], bytes]] = {}

    def answer(operation: bytes, data: bytes) -> bytes:
        nonlocal operations
        if operation != OPEN:
            return _answer(operations[operation], data)
        told, operations = _open(data)
        return told

    worker.serve(answer)


if __name__ == "__main__":
    main()
