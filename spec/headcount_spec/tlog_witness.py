"""What a log and a witness say to each other, c2sp.org/tlog-witness.

Here are the bytes of the request ``add-checkpoint`` and of its answers; asking is in the ledger's
``witnesses``, answering in its package ``witness``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.merkle import HASH_BYTES, MAX_SIZE
from headcount_spec.note import MAX_NOTE_BYTES, MAX_SIGNATURES, NoteSignature
from headcount_spec.text import decode_base64, encode_base64, parse_decimal

ADD_CHECKPOINT = "add-checkpoint"  # below the submission prefix
SIZE_TYPE = "text/x.tlog.size"  # of an answer 409
MAX_PROOF_LINES = 63  # tlog-witness, "add-checkpoint": a proof has fewer hashes than a size has bits
MAX_REQUEST_BYTES = len("old \n") + 19 + MAX_PROOF_LINES * 45 + 1 + MAX_NOTE_BYTES
MAX_ANSWER_BYTES = MAX_NOTE_BYTES  # signature lines; whoever has more of them does not fit into a note


def monitoring_path(origin: str) -> str:
    """Where a witness shows the last checkpoint of this log, below its monitoring prefix."""
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"


# Request body (c2sp.org/tlog-witness, "add-checkpoint"):
#   old <size>
#   <base64 hash>               none to 63, consistency proof from the old size to the checkpoint's
#   <empty line>
#   <signed checkpoint, verbatim>
@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint for a witness to cosign, and the proof that it extends the last one."""

    old_size: int  # of the last checkpoint that the witness has cosigned, as the log believes
    proof: tuple[bytes, ...]  # hashes of 32 bytes
    checkpoint: bytes  # the signed note

    def to_bytes(self) -> bytes:
        """The request's body."""
        lines = [f"old {self.old_size}", *map(encode_base64, self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def from_bytes(cls, data: bytes) -> AddCheckpoint:
        """The request of a body. The checkpoint is cut out here, not parsed.

        Raises:
            MalformedError: too long, another first line, a non-canonical number or hash, over 63 hashes,
                no empty line.
        """
        if len(data) > MAX_REQUEST_BYTES:
            raise MalformedError(f"request longer than {MAX_REQUEST_BYTES} bytes")
        head, separator, checkpoint = data.partition(b"\n\n")
        if not separator or not checkpoint:
            raise MalformedError("request without a checkpoint")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as exc:
            raise MalformedError("not a request to add a checkpoint") from exc
        if not first.startswith("old "):
            raise MalformedError("not a request to add a checkpoint")
        if len(lines) > MAX_PROOF_LINES:
            raise MalformedError("consistency proof is too long")
        old_size = parse_decimal(first.removeprefix("old "), MAX_SIZE)
        return cls(old_size, tuple(decode_base64(line, HASH_BYTES) for line in lines), checkpoint)


def format_size(size: int) -> bytes:
    """The body of an answer 409: the size of the last checkpoint that the witness has cosigned."""
    return f"{size}\n".encode()


def parse_size(body: bytes) -> int:
    """The size in an answer 409.

    Raises:
        MalformedError: not one canonical decimal and a newline.
    """
    if not body.endswith(b"\n"):
        raise MalformedError("a size ends in a newline")
    try:
        return parse_decimal(body[:-1].decode("ascii"), MAX_SIZE)
    except UnicodeDecodeError as exc:
        raise MalformedError("a size is a decimal") from exc


def format_cosignatures(signatures: Iterable[NoteSignature]) -> bytes:
    """The body of an answer 200: signature lines as they are appended to the checkpoint."""
    return "".join(signature.line for signature in signatures).encode()


def parse_cosignatures(body: bytes) -> tuple[NoteSignature, ...]:
    """The signature lines of an answer 200, at least one, by whatever keys and not verified.

    Raises:
        MalformedError: too long, not UTF-8, over 100 lines, or a line that is no signature.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise MalformedError(f"answer longer than {MAX_ANSWER_BYTES} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedError("answer is not UTF-8") from exc
    if not text.endswith("\n"):
        raise MalformedError("not signature lines")
    lines = text[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedError(f"answer with more than {MAX_SIGNATURES} signatures")
    return tuple(NoteSignature.from_line(f"{line}\n") for line in lines)
