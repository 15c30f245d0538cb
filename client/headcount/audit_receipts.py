"""Receipts for the audit, from what a person keeps: a .tlog-proof or a pledge file."""

from __future__ import annotations

from pathlib import Path

from headcount import private_file
from headcount.pledge_file import PledgeFile
from headcount_ledger.audit import Receipt
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.merkle import leaf_hash
from headcount_spec.tlog_proof import TlogProof

_TLOG_PROOF = b"c2sp.org/tlog-proof@"


def load(path: Path) -> list[Receipt]:
    """The receipts in a file.

    Raises:
        ConfigurationError: it cannot be read, or is neither of the two.
    """
    data = private_file.read(path)
    try:
        if data.startswith(_TLOG_PROOF):
            return [of_proof(path.name, TlogProof.from_bytes(data))]
        return of_pledge(path.name, PledgeFile.from_bytes(data))
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def of_proof(name: str, proof: TlogProof) -> Receipt:
    """A tlog-proof; ours carry their entry as extra data."""
    return Receipt(name, leaf_hash(proof.extra) if proof.extra else None, proof)


def of_pledge(name: str, pledge: PledgeFile) -> list[Receipt]:
    """The promises in a pledge file, of the pledge and its changes, and the checkpoint that it trusts."""
    leaf = None
    if pledge.promise is not None:
        leaf = pledge.promise.leaf_hash
    elif pledge.is_proved:
        leaf = leaf_hash(pledge.pledge().to_bytes())
    receipts = [Receipt(name, leaf, promise=pledge.promise, checkpoint=pledge.checkpoint)]
    for change in pledge.changes:
        if change.promise is not None:
            label = f"{name} (change {change.serial})"
            receipts.append(Receipt(label, change.promise.leaf_hash, promise=change.promise))
    return receipts
