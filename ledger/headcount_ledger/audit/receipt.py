"""What a person holds against the ledger: a receipt or a promise of one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headcount_ledger.audit.fault import FaultList
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import MalformedError, ProofError, ProtocolError
from headcount_spec.merkle import LeafHash, RootHash, root_from_inclusion
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise, verify_promise
from headcount_spec.text import format_day
from headcount_spec.tlog_proof import TlogProof


@dataclass(frozen=True, slots=True)
class Receipt:
    """One entry that must be in the ledger."""

    name: str  # what to call it in the report
    leaf_hash: LeafHash | None  # None for a proof without its entry
    proof: TlogProof | None = None
    promise: Promise | None = None
    checkpoint: bytes | None = None  # that the holder accepted before, signed


@dataclass(frozen=True, slots=True)
class HeldReceipt:
    """A receipt that was checked against the policy, before the ledger is looked at."""

    receipt: Receipt
    checkpoints: tuple[Checkpoint, ...]  # that the ledger has signed; of the proof first


@dataclass(frozen=True, slots=True)
class ReceiptState:
    """What became of a receipt's entry."""

    name: str
    state: str  # "included", "promised" or "missing"
    index: int | None = None
    deadline: int | None = None  # day until which a promised entry must be there

    def to_json(self) -> dict[str, str | int | None]:
        """The members of a report."""
        deadline = None if self.deadline is None else format_day(self.deadline)
        return {"name": self.name, "state": self.state, "index": self.index, "deadline": deadline}


def check_receipt(receipt: Receipt, origin: str, policy: Policy) -> HeldReceipt:
    """Check that the receipt itself is one of this ledger.

    Raises:
        ProofError: another ledger's, or its signatures or hashes do not verify.
    """
    proof, promise = receipt.proof, receipt.promise
    checkpoints = []
    try:
        if promise is not None:
            if receipt.leaf_hash not in (None, promise.leaf_hash):
                raise MalformedError("the promise is of another entry")
            verify_promise(promise, policy.log_key(origin))
        for raw in (None if proof is None else proof.checkpoint, receipt.checkpoint):
            if raw is not None:
                checkpoints.append(_verify(raw, origin, policy))
        if proof is not None:
            _check_proof(proof, receipt.leaf_hash, checkpoints[0])
    except ProtocolError as exc:
        raise ProofError(f"{receipt.name} proves nothing here: {exc}") from exc
    return HeldReceipt(receipt, tuple(checkpoints))


def _verify(raw: bytes, origin: str, policy: Policy) -> Checkpoint:
    # Today's witness policy may be younger than the receipt: the log's signature is what binds it.
    checkpoint = Policy(logs=policy.logs).verify_checkpoint(raw).signed.checkpoint
    if checkpoint.origin != origin:
        raise MalformedError("it is of another ledger")
    return checkpoint


def _check_proof(proof: TlogProof, leaf: LeafHash | None, checkpoint: Checkpoint) -> None:
    if leaf is not None and not _leads(proof, leaf, checkpoint):
        raise MalformedError("its hashes do not lead to the signed root")
    if not proof.index < checkpoint.size:
        raise MalformedError("its index is not below the tree size")


@dataclass(frozen=True, slots=True)
class Found:
    """What the recount has seen of what receipts speak of."""

    places: Mapping[LeafHash, int]
    leaves: Mapping[int, LeafHash]
    roots: Mapping[int, RootHash]  # empty if the files contradict their checkpoint
    last_day: int


def compare_receipt(held: HeldReceipt, found: Found, faults: FaultList) -> ReceiptState:
    """Look for the receipt's entry in the recounted log."""
    receipt, proof, promise = held.receipt, held.receipt.proof, held.receipt.promise
    name = receipt.name
    leaf = receipt.leaf_hash or (promise.leaf_hash if promise else None)
    index = found.places.get(leaf) if leaf is not None else None
    if index is None and proof is not None:
        # A proof without its entry: it leads from the leaf at its index, or that is another one.
        here = found.leaves.get(proof.index)
        if here is not None and _leads(proof, here, held.checkpoints[0]):
            index = proof.index
    if index is None and proof is not None:
        faults.add(
            "deleted-entry", f"{name} proves an entry that the ledger no longer holds", index=proof.index
        )
        return ReceiptState(name, "missing", proof.index)
    for checkpoint in held.checkpoints:
        if found.roots.get(checkpoint.size, checkpoint.root) != checkpoint.root:
            faults.add(
                "forked-ledger", f"in {name} the ledger has signed another tree of {checkpoint.size} entries"
            )
    if index is not None or promise is None:
        return ReceiptState(name, "included" if index is not None else "missing", index)
    if found.last_day > promise.deadline:
        faults.add("broken-promise", f"the entry of {name} was promised by {format_day(promise.deadline)}")
        return ReceiptState(name, "missing", None, promise.deadline)
    return ReceiptState(name, "promised", None, promise.deadline)


def _leads(proof: TlogProof, leaf: LeafHash, checkpoint: Checkpoint) -> bool:
    try:
        return root_from_inclusion(proof.hashes, proof.index, checkpoint.size, leaf) == checkpoint.root
    except ProofError:
        return False
