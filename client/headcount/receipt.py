"""Receipts: the proof that a pledge, or a change of it, stands in the ledger (C2SP tlog-proof).

Own entries are found by reading whole bundles since the pledge was sent; nobody is asked for one
nullifier, which would tell who asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headcount import private_file
from headcount.pledge_file import PledgeFile, PledgeStore
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import Transport
from headcount_ledger.reader.view import LedgerView, Progress, open_ledger
from headcount_spec.entry import parse_entry
from headcount_spec.errors import ConfigurationError, MalformedError, MisbehaviourError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise
from headcount_spec.revision import Revision
from headcount_spec.tlog_proof import TlogProof, VerifiedInclusion, verify_tlog_proof

State = Literal["accepted", "included", "witnessed"]
SUFFIX = ".tlog-proof"


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far an entry has come."""

    promise: Promise
    serial: int  # 0 the pledge, from 1 its changes
    state: State
    index: int | None = None  # leaf index, once it is included
    proof: TlogProof | None = None  # verified under the pledge's trust policy
    path: Path | None = None  # where it was written

    def is_overdue(self, day: int) -> bool:
        """Whether the ledger has broken its promise, if what its files show today is all there is."""
        return self.proof is None and day > self.promise.deadline


def fetch(
    place: Path | PledgeStore, *, transport: Transport, progress: Progress | None = None
) -> tuple[Receipt, ...]:
    """The receipts of the file's pledge and of its promised changes, written beside it once there are any.

    ``me.pledge`` gets ``me.tlog-proof``, and ``me.1.tlog-proof`` for its first change.

    Raises:
        ConfigurationError: nothing was sent yet, or a file cannot be read or written.
        MisbehaviourError: the ledger contradicts itself; carries the evidence.
        VerificationError: the ledger or a proof does not hold.
        UnavailableError, NotFoundError: the ledger cannot be read.
    """
    store = PledgeStore.at(place)
    content = store.load()
    if content.promise is None:
        raise ConfigurationError("the pledge was not sent yet")
    view = open_ledger(open_fetch(content.ledger, transport), content.trust(), (content.checkpoint,))
    receipts = find(content, view, progress)
    if view.raw != content.checkpoint:
        store.save(replace(content, checkpoint=view.raw))
    return tuple(_written(receipt, store.path) for receipt in receipts)


def find(content: PledgeFile, view: LedgerView, progress: Progress | None = None) -> tuple[Receipt, ...]:
    """The receipts of what the ledger has promised this client, by serial.

    Raises:
        ProofError: the published files do not lead to the signed root.
    """
    wanted = _promised(content)
    missing = {receipt.promise.leaf_hash: receipt.serial for receipt in wanted}
    for index, data in view.scan(content.since or 0, progress):
        serial = missing.pop(leaf_hash(data), None)
        if serial is not None:
            wanted = [_included(r, index, data, view) if r.serial == serial else r for r in wanted]
        if not missing:
            break
    return tuple(wanted)


def verify(proof: TlogProof, policy: Policy, entry: bytes | None = None) -> VerifiedInclusion:
    """Check a receipt without the ledger: for the entry, or for the one that it carries.

    Raises:
        MalformedError: it carries no pledge or revision.
        SignatureError, UnknownKeyError: the checkpoint is not one that the policy accepts.
        ProofError: the entry is not in it.
    """
    return verify_tlog_proof(proof, leaf_of(proof, entry), policy)


def leaf_of(proof: TlogProof, entry: bytes | None = None) -> LeafHash:
    """The leaf hash that a receipt is about.

    Raises:
        MalformedError: no entry is given, and the receipt carries no pledge or revision.
    """
    data = entry if entry is not None else proof.extra
    if data is None or not isinstance(parse_entry(data), Pledge | Revision):
        raise MalformedError("the receipt does not carry its entry; give the pledge file as well")
    return leaf_hash(data)


def _promised(content: PledgeFile) -> list[Receipt]:
    promises = [content.promise, *(change.promise for change in content.changes)]
    return [Receipt(promise, promise.serial, "accepted") for promise in promises if promise is not None]


def _included(receipt: Receipt, index: int, entry: bytes, view: LedgerView) -> Receipt:
    # The entry is public already; with it inside, the receipt can be checked without the pledge file.
    proof = TlogProof(index, tuple(view.reader.inclusion_proof(index)), view.raw, entry)
    verify(proof, view.policy)
    parsed = parse_entry(entry)
    if not isinstance(parsed, Pledge | Revision) or parsed.nullifier != receipt.promise.nullifier:
        raise MisbehaviourError(
            "the ledger published another entry under its promise", (receipt.promise.to_bytes(), entry)
        )
    state: State = "witnessed" if view.is_witnessed else "included"
    return replace(receipt, state=state, index=index, proof=proof)


def _written(receipt: Receipt, pledge_path: Path) -> Receipt:
    if receipt.proof is None:
        return receipt
    middle = f".{receipt.serial}" if receipt.serial else ""
    path = pledge_path.with_name(f"{pledge_path.stem}{middle}{SUFFIX}")
    private_file.write(path, receipt.proof.to_bytes())
    return replace(receipt, path=path)
