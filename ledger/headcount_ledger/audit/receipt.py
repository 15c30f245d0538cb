"""What a person holds against the ledger: a receipt or a promise of one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headcount_ledger.audit.fault import FaultList
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint
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


@dataclass(frozen=True, slots=True)
class HeldReceipt:
    """A receipt that was checked against the policy, before the ledger is looked at."""

    receipt: Receipt
    checkpoint: Checkpoint | None  # of its proof


def check_receipt(receipt: Receipt, origin: str, policy: Policy) -> HeldReceipt:
    """Check that the receipt itself is one of this ledger.

    Raises:
        ProofError: another ledger's, or its signatures or hashes do not verify.
    """
    try:
        if receipt.promise is not None:
            if receipt.leaf_hash not in (None, receipt.promise.leaf_hash):
                raise MalformedError("the promise is of another entry")
            verify_promise(receipt.promise, policy.log_key(origin))
        if receipt.proof is None:
            return HeldReceipt(receipt, None)
        proof = receipt.proof
        # Today's witness policy may be younger than the receipt: the log's signature is what binds it.
        checkpoint = parse_checkpoint(proof.checkpoint).checkpoint
        Policy(logs=policy.logs).verify_checkpoint(proof.checkpoint)
        if checkpoint.origin != origin:
            raise MalformedError("the receipt is of another ledger")
        if receipt.leaf_hash is not None:
            root = root_from_inclusion(proof.hashes, proof.index, checkpoint.size, receipt.leaf_hash)
            if root != checkpoint.root:
                raise MalformedError("its hashes do not lead to the signed root")
        elif not 0 <= proof.index < checkpoint.size:
            raise MalformedError("its index is not below the tree size")
    except ProtocolError as exc:
        raise ProofError(f"{receipt.name} proves nothing here: {exc}") from exc
    return HeldReceipt(receipt, checkpoint)


def compare_receipt(
    held: HeldReceipt,
    places: dict[LeafHash, int],
    leaf_at: Callable[[int], LeafHash | None],
    root_at: Callable[[int], RootHash | None],
    last_day: int,
    faults: FaultList,
) -> None:
    """Look for the receipt's entry in the recounted log."""
    receipt, proof, checkpoint = held.receipt, held.receipt.proof, held.checkpoint
    if proof is not None and checkpoint is not None:
        here = leaf_at(proof.index)
        if here is not None and _leads(proof, here, checkpoint):
            pass  # the very entry at the very place
        elif receipt.leaf_hash in places:
            pass  # it has moved; the roots below differ
        else:
            faults.add(
                "deleted-entry",
                f"{receipt.name} proves an entry that the ledger no longer holds",
                index=proof.index,
            )
            return
        if root_at(checkpoint.size) not in (None, checkpoint.root):
            faults.add(
                "forked-ledger",
                f"the ledger signed another tree of {checkpoint.size} entries in {receipt.name}",
            )
        return
    promise = receipt.promise
    if promise is not None and promise.leaf_hash not in places and last_day > promise.deadline:
        faults.add(
            "broken-promise",
            f"the entry of {receipt.name} was promised by {format_day(promise.deadline)}",
        )


def _leads(proof: TlogProof, leaf: LeafHash, checkpoint: Checkpoint) -> bool:
    try:
        return root_from_inclusion(proof.hashes, proof.index, checkpoint.size, leaf) == checkpoint.root
    except ProofError:
        return False
