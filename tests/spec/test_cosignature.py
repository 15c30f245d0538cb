from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import wire
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.cosignature import MAX_TIME, cosign, cosigned_message, verify_cosignature
from headcount_spec.errors import SignatureError
from headcount_spec.merkle import RootHash
from headcount_spec.note import MLDSA44, NoteSignature, SigningKey, VerificationKey

WITNESS = SigningKey("witness.example/w1", b"\1" * 32)
CHECKPOINT = Checkpoint("pledge.example/demo", 5, RootHash(b"\7" * 32))
TIME = 1_700_000_000
MLDSA_SEED = b"\2" * 32


def mldsa_key(name: str = "witness.example/pq") -> VerificationKey:
    private = MLDSA44PrivateKey.from_seed_bytes(MLDSA_SEED)
    return VerificationKey(name, MLDSA44, private.public_key().public_bytes_raw())


def mldsa_cosign(checkpoint: Checkpoint, time: int) -> NoteSignature:
    key = mldsa_key()
    signature = MLDSA44PrivateKey.from_seed_bytes(MLDSA_SEED).sign(cosigned_message(checkpoint, key, time))
    return NoteSignature(key.name, key.key_id, wire.u64(time) + signature)


@given(st.integers(1, MAX_TIME))
def test_a_cosignature_is_verified_with_its_time(time: int) -> None:
    signature = cosign(CHECKPOINT, WITNESS, time)
    assert verify_cosignature(CHECKPOINT, signature, WITNESS.cosigner_key) == time
    assert NoteSignature.from_line(signature.line) == signature


def test_an_mldsa_cosignature_is_verified_with_its_time() -> None:
    signature = mldsa_cosign(CHECKPOINT, TIME)
    assert len(signature.signature) == 8 + 2420
    assert len(cosigned_message(CHECKPOINT, mldsa_key(), TIME)) == 12 + 1 + 18 + 8 + 1 + 19 + 8 + 8 + 32
    assert verify_cosignature(CHECKPOINT, signature, mldsa_key()) == TIME


SIGNED = [
    (cosign(CHECKPOINT, WITNESS, TIME), WITNESS.cosigner_key),
    (mldsa_cosign(CHECKPOINT, TIME), mldsa_key()),
]


@pytest.mark.parametrize(("signature", "key"), SIGNED)
def test_another_checkpoint_is_not_cosigned(signature: NoteSignature, key: VerificationKey) -> None:
    for change in ({"origin": "other.example"}, {"size": 6}, {"root": RootHash(bytes(32))}):
        with pytest.raises(SignatureError):
            verify_cosignature(dataclasses.replace(CHECKPOINT, **change), signature, key)


@pytest.mark.parametrize(("signature", "key"), SIGNED)
def test_a_changed_cosignature_is_refused(signature: NoteSignature, key: VerificationKey) -> None:
    body = signature.signature
    for changed in (
        b"",
        body[:8],
        body[:-1],
        body + b"\0",
        wire.u64(0) + body[8:],
        wire.u64(TIME + 1) + body[8:],
        wire.u64(2**63) + body[8:],
        body[:8] + bytes([body[8] ^ 1]) + body[9:],
        body[:-1] + bytes([body[-1] ^ 1]),
    ):
        with pytest.raises(SignatureError):
            verify_cosignature(CHECKPOINT, NoteSignature(key.name, key.key_id, changed), key)


@pytest.mark.parametrize(("signature", "key"), SIGNED)
def test_a_cosignature_of_another_key_is_refused(signature: NoteSignature, key: VerificationKey) -> None:
    for name, key_id in ((key.name, bytes(4)), ("other.example", key.key_id)):
        with pytest.raises(SignatureError, match="another key"):
            verify_cosignature(CHECKPOINT, NoteSignature(name, key_id, signature.signature), key)


def test_a_plain_signature_is_no_cosignature() -> None:
    plain = WITNESS.sign(CHECKPOINT.to_text().encode())
    key = WITNESS.cosigner_key
    with pytest.raises(SignatureError):
        verify_cosignature(CHECKPOINT, NoteSignature(key.name, key.key_id, wire.u64(TIME) + plain), key)
    with pytest.raises(ValueError, match="cosigner"):
        verify_cosignature(CHECKPOINT, SIGNED[0][0], WITNESS.verification_key)


def test_a_name_too_long_for_mldsa_is_refused() -> None:
    key = mldsa_key("w" * 256)
    signature = NoteSignature(key.name, key.key_id, wire.u64(TIME) + bytes(2420))
    with pytest.raises(SignatureError, match="too long"):
        verify_cosignature(CHECKPOINT, signature, key)


@pytest.mark.parametrize("time", [-1, 0, 2**63])
def test_a_time_out_of_range_is_a_bug(time: int) -> None:
    with pytest.raises(ValueError, match="time"):
        cosign(CHECKPOINT, WITNESS, time)
