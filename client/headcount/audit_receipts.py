"""Receipts for the audit, from what a person keeps: a .tlog-proof or a pledge file."""

from __future__ import annotations

from pathlib import Path

from headcount import private_file
from headcount.pledge_file import PledgeFile
from headcount_ledger.audit import Receipt
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.merkle import HASH_BYTES, LeafHash, leaf_hash
from headcount_spec.promise import PROMISE_BYTES, Promise
from headcount_spec.tlog_proof import TlogProof

_TLOG_PROOF = b"c2sp.org/tlog-proof@v1\n"


def load(path: Path) -> list[Receipt]:
    """The receipts in a file.

    Raises:
        ConfigurationError: it cannot be read, or is neither of the two.
    """
    try:
        return read(path.name, private_file.read(path))
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def read(name: str, data: bytes) -> list[Receipt]:
    """The receipts in the bytes of a file.

    Raises:
        MalformedError: neither a tlog-proof nor a pledge file.
    """
    if data.startswith(_TLOG_PROOF):
        return [of_proof(name, TlogProof.from_bytes(data))]
    return of_pledge(name, PledgeFile.from_bytes(data))


def of_proof(name: str, proof: TlogProof) -> Receipt:
    """A tlog-proof; its extra data may be the promise, the leaf hash or the entry."""
    extra = proof.extra or b""
    if len(extra) == PROMISE_BYTES:
        return Receipt(name, Promise.from_bytes(extra).leaf_hash, proof)
    if len(extra) == HASH_BYTES:
        return Receipt(name, LeafHash(extra), proof)
    return Receipt(name, leaf_hash(extra) if extra else None, proof)


def of_pledge(name: str, pledge: PledgeFile) -> list[Receipt]:
    """The promises in a pledge file, of the pledge and its changes, and the checkpoint that it trusts."""
    leaf = None
    if pledge.promise is not None:
        leaf = pledge.promise.leaf_hash
    elif pledge.is_proved:
        leaf = leaf_hash(pledge.pledge().to_bytes())
    receipts = [Receipt(name, leaf, promise=pledge.promise, checkpoint=pledge.checkpoint)]
    for change in pledge.changes:
        promise = change.promise
        if promise is not None:
            receipts.append(Receipt(f"{name} (change {change.serial})", promise.leaf_hash, promise=promise))
    return receipts
