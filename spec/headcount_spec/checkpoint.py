"""The signed head of the ledger's tree, c2sp.org/tlog-checkpoint.

Extension lines are refused: monitors cannot audit them, and witnesses answer them with 400.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount_spec.errors import MalformedError, UnknownKeyError
from headcount_spec.merkle import HASH_BYTES, MAX_SIZE, RootHash
from headcount_spec.note import Note, SigningKey, VerificationKey, check_name, sign_note, verify_note
from headcount_spec.text import decode_base64, encode_base64, parse_decimal


# Note text (c2sp.org/tlog-checkpoint, "Note text"):
#   <origin>
#   <tree size, decimal>
#   <root hash, base64>
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree of size entries with this root, by the ledger with this origin line."""

    origin: str  # also the ledger's key name
    size: int  # 0 to 2^63 - 1 entries
    root: RootHash

    def to_text(self) -> str:
        """The note text: three lines."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """The checkpoint of a note text.

        Raises:
            MalformedError: not three lines, an origin that is no key name, a non-canonical number or root.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedError("a checkpoint has three lines")
        origin, size, root = lines[:3]
        check_name(origin)
        return cls(origin, parse_decimal(size, MAX_SIZE), RootHash(decode_base64(root, HASH_BYTES)))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with its signature lines and the bytes as they were received."""

    checkpoint: Checkpoint
    note: Note
    raw: bytes


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """The signed note of a checkpoint; the key's name is the checkpoint's origin.

    A ledger must never sign two checkpoints that are inconsistent with each other.
    """
    if key.name != checkpoint.origin:
        raise ValueError("the key is another log's")
    return sign_note(checkpoint.to_text(), [key]).to_bytes()


def parse_checkpoint(raw: bytes) -> SignedCheckpoint:
    """The checkpoint of a signed note, no signature verified.

    Raises:
        MalformedError: not a signed note, or its text is not a checkpoint.
    """
    note = Note.from_bytes(raw)
    return SignedCheckpoint(Checkpoint.from_text(note.text), note, raw)


def open_checkpoint(raw: bytes, log_key: VerificationKey) -> SignedCheckpoint:
    """The checkpoint of a signed note, verified under the log's key, whose name is the origin.

    Raises:
        MalformedError: as parse_checkpoint.
        SignatureError: the log's signature does not verify.
        UnknownKeyError: another origin, or no signature by this key.
    """
    signed = parse_checkpoint(raw)
    if signed.checkpoint.origin != log_key.name:
        raise UnknownKeyError("checkpoint of another log")
    verify_note(signed.note, [log_key])
    return signed
