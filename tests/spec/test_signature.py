from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

import keys
import reference
from headcount_spec import signature
from headcount_spec.errors import MalformedError, SignatureError

P = 2**255 - 19
SEED = keys.seed("signature")


def test_a_signature_verifies_under_its_key_and_message_only() -> None:
    key, value = signature.public_key(SEED), signature.sign(SEED, b"message")
    signature.verify(key, b"message", value)
    for wrong in (
        (key, b"other", value),
        (signature.public_key(bytes(32)), b"message", value),
        (key, b"message", value[:-1] + bytes([value[-1] ^ 1])),
        (key, b"message", value[:-1]),
        (key, b"message", b""),
    ):
        with pytest.raises(SignatureError):
            signature.verify(*wrong)


def test_a_signature_that_only_the_cofactor_saves_is_refused() -> None:
    base, a = reference.BASE, reference.secret(SEED)
    public = base * a
    assert public.to_bytes() == signature.public_key(SEED)
    for torsion in reference.small_order():
        commitment = base * 7 + torsion
        value = reference.sign_with(a, 7, public, commitment, b"message")
        if commitment == base * 7:
            signature.verify(public.to_bytes(), b"message", value)
        else:
            with pytest.raises(SignatureError):
                signature.verify(public.to_bytes(), b"message", value)


def test_keys_that_bind_nobody_are_refused() -> None:
    assert signature.check_public_key(signature.public_key(SEED)) == signature.public_key(SEED)
    for key in (b"", bytes(31), bytes(32), b"\x01" + bytes(31), (P + 3).to_bytes(32, "little")):
        with pytest.raises(MalformedError):
            signature.check_public_key(key)


def test_agreement_keys() -> None:
    key = X25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    assert signature.check_agreement_key(key) == key
    for bad in (b"", key[:-1], key + b"\x00", P.to_bytes(32, "little"), b"\xff" * 32):
        with pytest.raises(MalformedError):
            signature.check_agreement_key(bad)


def test_agreement_keys_of_small_order_are_those_that_agree_on_zero() -> None:
    private = X25519PrivateKey.from_private_bytes(SEED)
    for u in signature._SMALL_ORDER_U:
        key = u.to_bytes(32, "little")
        with pytest.raises(ValueError, match="Error computing shared key"):
            private.exchange(X25519PublicKey.from_public_bytes(key))
        with pytest.raises(MalformedError):
            signature.check_agreement_key(key)
