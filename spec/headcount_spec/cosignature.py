"""What witnesses sign over a checkpoint, c2sp.org/tlog-cosignature.

Ed25519 cosignatures (type 0x04) are made and verified, ML-DSA-44 ones (0x06) verified.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from headcount_spec import wire
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import SignatureError
from headcount_spec.note import (
    COSIGNATURE_V1,
    MLDSA44,
    NoteSignature,
    SigningKey,
    VerificationKey,
)

MAX_TIME = 2**63 - 1  # seconds since 1970
_TIME_BYTES = 8
_SIGNATURE_BYTES = {COSIGNATURE_V1: 64, MLDSA44: 2420}


def cosigned_message(checkpoint: Checkpoint, key: VerificationKey, time: int) -> bytes:
    """The bytes that a cosigner with this key signs for a checkpoint at a time.

    tlog-cosignature, "Ed25519 signed message" and "ML-DSA-44 signed message".
    """
    if key.type == COSIGNATURE_V1:
        return f"cosignature/v1\ntime {time}\n{checkpoint.to_text()}".encode()
    # struct {
    #     uint8 label[12] = "subtree/v1\n\0";
    #     opaque cosigner_name<1..2^8-1>;
    #     uint64 timestamp;
    #     opaque log_origin<1..2^8-1>;
    #     uint64 start;                   0 for a checkpoint
    #     uint64 end;                     its size
    #     uint8 hash[32];
    # } cosigned_message;
    return b"".join(
        (
            b"subtree/v1\n\0",
            wire.opaque8(key.name.encode()),
            wire.u64(time),
            wire.opaque8(checkpoint.origin.encode()),
            wire.u64(0),
            wire.u64(checkpoint.size),
            checkpoint.root,
        )
    )


def cosign(checkpoint: Checkpoint, key: SigningKey, time: int) -> NoteSignature:
    """The Ed25519 cosignature of a witness, at a time in seconds since 1970.

    It says: at this time this is the largest consistent tree I have seen of this log. ``.line`` of the
    result is what is appended to the signed note.
    """
    if not 0 < time <= MAX_TIME:
        raise ValueError("time out of range")
    public = key.cosigner_key
    signature = key.sign(cosigned_message(checkpoint, public, time))
    return NoteSignature(key.name, public.key_id, wire.u64(time) + signature)


def verify_cosignature(checkpoint: Checkpoint, signature: NoteSignature, key: VerificationKey) -> int:
    """Check a cosignature of this checkpoint by this witness; the time in it, in seconds since 1970.

    Raises:
        SignatureError: it is by another key, has another length or no time, or does not verify.
    """
    if key.type not in _SIGNATURE_BYTES:
        raise ValueError("the key is not a cosigner's")
    if (signature.name, signature.key_id) != (key.name, key.key_id):
        raise SignatureError("cosignature of another key")
    # struct { uint64 timestamp; opaque signature[64 or 2420]; } timestamped_signature;
    if len(signature.signature) != _TIME_BYTES + _SIGNATURE_BYTES[key.type]:
        raise SignatureError(f"cosignature of {key.name} has another length")
    time = int.from_bytes(signature.signature[:_TIME_BYTES], "big")
    if not 0 < time <= MAX_TIME:
        raise SignatureError(f"cosignature of {key.name} has no time")
    # Names above 255 bytes do not fit the ML-DSA-44 message.
    if max(len(key.name.encode()), len(checkpoint.origin.encode())) > 255:
        raise SignatureError("name too long for a cosignature")
    message = cosigned_message(checkpoint, key, time)
    if key.type == MLDSA44:
        _verify_mldsa44(key, message, signature.signature[_TIME_BYTES:])
    else:
        key.verify_ed25519(message, signature.signature[_TIME_BYTES:])
    return time


def _verify_mldsa44(key: VerificationKey, message: bytes, signature: bytes) -> None:
    try:
        MLDSA44PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except (InvalidSignature, UnsupportedAlgorithm) as exc:  # an OpenSSL before 3.5 has no ML-DSA
        raise SignatureError(f"cosignature of {key.name} does not verify here") from exc
