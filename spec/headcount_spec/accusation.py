"""Accusations: that a ledger has broken a promise, in a file that a third party checks alone.

Few leaves of one signed tree show that the promised entry is in none of the batches in which it may
stand (``absence``). Who is accused wrongly refutes it with one receipt; from a ledger that keeps the order
of its batches no accusation of a kept promise can be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from headcount_spec.absence import Absence, Leaf, check_absence, show_absence
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import MalformedError, ProofError, SignatureError, UnknownKeyError
from headcount_spec.merkle import HASH_BYTES, MAX_SIZE, Subtree, leaf_hash
from headcount_spec.multiproof import prove_leaves, root_from_leaves
from headcount_spec.note import VerificationKey
from headcount_spec.pledge import Nullifier, nonce
from headcount_spec.policy import Policy
from headcount_spec.promise import PROMISE_BYTES, Promise, verify_promise
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_base64, encode_base64, parse_decimal
from headcount_spec.tlog_proof import TlogProof, VerifiedInclusion, verify_tlog_proof
from headcount_spec.wire import Reader, u16

MAX_ACCUSATION_BYTES = 2**28  # a batch is about 2,000: one a minute for three months
PREIMAGE_BYTES = 98
_HEADER = "headcount/accusation/v1"


# struct {
#     opaque scope_id[32];
#     uint16 choice;
#     opaque revision_key[32];
#     opaque sealed_hash[32];
# } Preimage;     what the nullifier is the hash of; Protocol, Section 3.1
@dataclass(frozen=True, slots=True)
class Preimage:
    """To which scope a nullifier belongs; without the authenticators it is no pledge yet."""

    scope_id: ScopeId
    choice: int
    revision_key: bytes  # 32 bytes
    sealed_hash: bytes  # 32 bytes

    @property
    def nullifier(self) -> Nullifier:
        """The hash of the fields."""
        return nonce(self.scope_id, self.choice, self.revision_key, self.sealed_hash)

    def to_bytes(self) -> bytes:
        """The fields, 98 bytes."""
        return self.scope_id + u16(self.choice) + self.revision_key + self.sealed_hash

    @classmethod
    def from_bytes(cls, data: bytes) -> Preimage:
        """Read the fields.

        Raises:
            MalformedError: another length.
        """
        reader = Reader(data)
        preimage = cls(ScopeId(reader.take(32)), reader.u16(), reader.take(32), reader.take(32))
        reader.finish()
        return preimage


# Accusation (Protocol, Section 4.10):
#   headcount/accusation/v1
#   promise <base64>
#   preimage <base64>
#   leaf <decimal index> <base64 entry>     two or more, ascending
#   <base64 hash>                           none or more
#   <empty line>
#   <signed checkpoint, verbatim>
@dataclass(frozen=True, slots=True)
class Accusation:
    """What shows that a promise is broken; verified only by ``verify_accusation``."""

    promise: Promise
    preimage: Preimage
    leaves: tuple[Leaf, ...]  # (leaf index, entry), ascending
    hashes: tuple[bytes, ...]  # 32 bytes each, left to right
    checkpoint: bytes  # the signed note

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        return "\n".join(self._lines()).encode() + b"\n\n" + self.checkpoint

    def _lines(self) -> Iterator[str]:
        yield _HEADER
        yield f"promise {encode_base64(self.promise.to_bytes())}"
        yield f"preimage {encode_base64(self.preimage.to_bytes())}"
        for index, entry in self.leaves:
            yield f"leaf {index} {encode_base64(entry)}"
        yield from map(encode_base64, self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Accusation:
        """The accusation of a file. The checkpoint is cut out here and parsed by ``verify_accusation``.

        Raises:
            MalformedError: over 256 MiB, another header or order of lines, non-canonical numbers or
                base64, a malformed promise, leaves that do not ascend, no checkpoint.
        """
        if len(data) > MAX_ACCUSATION_BYTES:
            raise MalformedError(f"accusation longer than {MAX_ACCUSATION_BYTES} bytes")
        head, separator, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as exc:
            raise MalformedError("not an accusation") from exc
        if not separator or not checkpoint or len(lines) < 3 or lines[0] != _HEADER:
            raise MalformedError("not an accusation")
        promise = Promise.from_bytes(_field(lines[1], "promise ", PROMISE_BYTES))
        preimage = Preimage.from_bytes(_field(lines[2], "preimage ", PREIMAGE_BYTES))
        end = 3
        while end < len(lines) and lines[end].startswith("leaf "):
            end += 1
        leaves = tuple(map(_leaf, lines[3:end]))
        if any(after[0] <= before[0] for before, after in pairwise(leaves)):
            raise MalformedError("the leaves of an accusation do not ascend")
        hashes = tuple(decode_base64(line, HASH_BYTES) for line in lines[end:])
        return cls(promise, preimage, leaves, hashes, checkpoint)


def _field(line: str, name: str, size_bytes: int) -> bytes:
    if not line.startswith(name):
        raise MalformedError(f"accusation without its {name.strip()}")
    return decode_base64(line.removeprefix(name), size_bytes)


def _leaf(line: str) -> Leaf:
    index, separator, entry = line.removeprefix("leaf ").partition(" ")
    if not separator:
        raise MalformedError("a leaf has an index and an entry")
    data = decode_base64(entry)
    if len(data) > MAX_ENTRY_BYTES:
        raise MalformedError(f"entry longer than {MAX_ENTRY_BYTES} bytes")
    return parse_decimal(index, MAX_SIZE), data


@dataclass(frozen=True, slots=True)
class VerifiedAccusation:
    """A promise that a ledger has broken, as one of its own checkpoints shows."""

    promise: Promise
    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, int], ...]  # the policy's witness name, seconds since 1970
    absence: Absence


def accuse(
    promise: Promise, preimage: Preimage, entries: Iterable[Leaf], subtree: Subtree, checkpoint: bytes
) -> Accusation:
    """The accusation for a promise that was broken.

    entries are those of the checkpoint's tree from the scope's manifest on, subtree gives its hashes.
    Whether it proves anything is said by verify_accusation.

    Raises:
        MalformedError: the checkpoint is not one.
        ProofError: the promise was kept, or there is nothing to show.
    """
    size = parse_checkpoint(checkpoint).checkpoint.size
    leaves = tuple(show_absence(entries, promise))
    if not leaves:
        raise ProofError("the ledger does not have the scope")
    hashes = prove_leaves(subtree, [index for index, _ in leaves], size)
    return Accusation(promise, preimage, leaves, tuple(hashes), checkpoint)


def verify_accusation(accusation: Accusation, policy: Policy) -> VerifiedAccusation:
    """Check that the ledger has broken the promise.

    Protocol, Section 4.10. Needs no clock: the ledger's own seals say that the time has passed.

    Raises:
        MalformedError: the checkpoint or a leaf is malformed.
        SignatureError: the promise is not the ledger's, or another signature does not verify.
        UnknownKeyError: the log is not listed or not the scope's, or too few witnesses.
        ProofError: the leaves are not in the tree, or do not show it.
    """
    promise, preimage = accusation.promise, accusation.preimage
    # 1. The checkpoint is the log's, and cosigned as the policy asks.
    verified = policy.verify_checkpoint(accusation.checkpoint)
    checkpoint = verified.signed.checkpoint
    # 2. The promise is by the same log, and for a pledge of this scope.
    _verify_promise(promise, policy.log_keys(checkpoint.origin))
    if preimage.nullifier != promise.nullifier:
        raise ProofError("the promise is for another pledge")
    # 3. The leaves are in the tree.
    leaves = [(index, leaf_hash(entry)) for index, entry in accusation.leaves]
    if root_from_leaves(accusation.hashes, leaves, checkpoint.size) != checkpoint.root:
        raise ProofError("the leaves lead to another root")
    # 4. to 7. They show that the entry is not.
    absence = check_absence(accusation.leaves, promise, preimage.scope_id)
    if absence.manifest.ledger.key not in policy.log_keys(checkpoint.origin):
        raise UnknownKeyError("the pledges of the scope count in another ledger")
    return VerifiedAccusation(promise, checkpoint, verified.cosignatures, absence)


def refute(accusation: VerifiedAccusation, receipt: TlogProof, policy: Policy) -> VerifiedInclusion:
    """Check that the promised entry stands in the batches that the accusation is about.

    Raises:
        MalformedError, SignatureError, UnknownKeyError: as verify_tlog_proof.
        ProofError: it is not a receipt of the promised entry in this log, or of one published elsewhere.
    """
    found = verify_tlog_proof(receipt, accusation.promise.leaf_hash, policy)
    if found.checkpoint.origin != accusation.checkpoint.origin:
        raise ProofError("the receipt is of another ledger")
    absence = accusation.absence
    if not absence.first_index <= found.index < absence.end_index:
        raise ProofError("the entry was published outside the batches that count")
    return found


def _verify_promise(promise: Promise, keys: Iterable[VerificationKey]) -> None:
    """A log that changes its key has two for a while."""
    for key in keys:
        try:
            verify_promise(promise, key)
        except SignatureError:
            continue
        return
    raise SignatureError("the promise is not by this ledger")
