"""An offline proof that an entry is in the ledger (``.tlog-proof``), c2sp.org/tlog-proof."""

from __future__ import annotations

from dataclasses import dataclass

from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import MalformedError
from headcount_spec.merkle import HASH_BYTES, MAX_PROOF_HASHES, LeafHash, verify_inclusion
from headcount_spec.note import MAX_NOTE_BYTES
from headcount_spec.policy import Policy
from headcount_spec.text import decode_base64, encode_base64, parse_decimal

MAX_PROOF_BYTES = 3 * MAX_NOTE_BYTES  # the checkpoint, 64 hashes, and an entry in base64 as extra data
_HEADER = "c2sp.org/tlog-proof@v1"


# Proof (c2sp.org/tlog-proof, "Format"):
#   c2sp.org/tlog-proof@v1
#   extra <base64>              optional, not authenticated
#   index <decimal>
#   <base64 hash>               none or more, the leaf's sibling first
#   <empty line>
#   <signed checkpoint, verbatim>
@dataclass(frozen=True, slots=True)
class TlogProof:
    """The place of an entry in a checkpointed tree; verified only by ``verify_tlog_proof``."""

    index: int
    hashes: tuple[bytes, ...]  # 32 bytes each
    checkpoint: bytes  # the signed note
    extra: bytes | None = None  # opaque and not authenticated

    def to_text(self) -> str:
        """The text of a .tlog-proof file."""
        extra = [] if self.extra is None else [f"extra {encode_base64(self.extra)}"]
        lines = [_HEADER, *extra, f"index {self.index}", *map(encode_base64, self.hashes), "", ""]
        return "\n".join(lines) + self.checkpoint.decode("utf-8")

    def to_bytes(self) -> bytes:
        """The bytes of a .tlog-proof file."""
        return self.to_text().encode("utf-8")

    @classmethod
    def from_text(cls, text: str) -> TlogProof:
        """The proof of a text. The checkpoint is cut out here and parsed by ``verify_tlog_proof``.

        Raises:
            MalformedError: another header or order of lines, non-canonical numbers or base64, a hash
                that is not 32 bytes, more than 64 hashes, no checkpoint.
        """
        head, separator, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or not checkpoint or lines.pop(0) != _HEADER:
            raise MalformedError("not a tlog-proof")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
        if not lines or not lines[0].startswith("index "):
            raise MalformedError("tlog-proof without an index")
        index = parse_decimal(lines.pop(0).removeprefix("index "))
        if len(lines) > MAX_PROOF_HASHES:
            raise MalformedError("tlog-proof with too many hashes")
        hashes = tuple(decode_base64(line, HASH_BYTES) for line in lines)
        try:
            return cls(index, hashes, checkpoint.encode("utf-8"), extra)
        except UnicodeEncodeError as exc:
            raise MalformedError("tlog-proof is not UTF-8") from exc

    @classmethod
    def from_bytes(cls, data: bytes) -> TlogProof:
        """The proof of a file.

        Raises:
            MalformedError: over 196,608 bytes, not UTF-8, or as from_text.
        """
        if len(data) > MAX_PROOF_BYTES:
            raise MalformedError(f"tlog-proof longer than {MAX_PROOF_BYTES} bytes")
        try:
            return cls.from_text(data.decode("utf-8"))
        except UnicodeDecodeError as exc:
            raise MalformedError("tlog-proof is not UTF-8") from exc


@dataclass(frozen=True, slots=True)
class VerifiedInclusion:
    """An entry's place in a tree whose checkpoint a policy accepts."""

    index: int
    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, int], ...]  # the policy's witness name, seconds since 1970


def verify_tlog_proof(proof: TlogProof, leaf_hash: LeafHash, policy: Policy) -> VerifiedInclusion:
    """Check that the entry with this leaf hash is in a tree that the policy accepts.

    tlog-proof, "Verifying a tlog proof".

    Raises:
        MalformedError: the checkpoint is not one.
        SignatureError: a signature of a known log or witness does not verify.
        UnknownKeyError: the log is not listed, or too few witnesses.
        ProofError: the hashes do not lead from the leaf to the checkpoint's root.
    """
    # 1. The leaf hash is the caller's. 2., 3. Log signature and quorum.
    verified = policy.verify_checkpoint(proof.checkpoint)
    checkpoint = verified.signed.checkpoint
    # 4. Inclusion.
    verify_inclusion(proof.hashes, proof.index, checkpoint.size, leaf_hash, checkpoint.root)
    return VerifiedInclusion(proof.index, checkpoint, verified.cosignatures)
