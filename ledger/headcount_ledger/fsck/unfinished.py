"""A batch between its commit and its publication, as the published tree will show it."""

from __future__ import annotations

from sqlalchemy import Connection

from headcount_ledger import sealed
from headcount_ledger.building import overlay
from headcount_ledger.fsck.finding import Findings
from headcount_ledger.head import Head
from headcount_ledger.history import checkpoint_path
from headcount_ledger.pending import PendingBatch, PendingObjects, Plan
from headcount_ledger.sequencer import hint_path
from headcount_ledger.storage import CHECKPOINT, Storage, find
from headcount_spec.errors import CorruptionError
from headcount_spec.tile import Fetch

_FOLDER = "pending"


def published_view(
    tx: Connection, head: Head, storage: Storage, pending: PendingBatch, findings: Findings
) -> Fetch | None:
    """The tree at the head: what is published, with what the next start will publish.

    None if that cannot be known.
    """
    if head.published is not None:
        if not pending.is_empty():
            findings.add("left-over-batch", _FOLDER)
        return storage.read
    findings.add("unfinished-batch", _FOLDER, f"batch {head.batches - 1}")
    try:
        plan = pending.load(head.batches - 1)
        objects = pending.objects()
        _compare(plan, objects, head, storage)
    except CorruptionError as exc:
        findings.add("damaged-pending", _FOLDER, str(exc))
        return None
    archive = checkpoint_path(head.batches - 1)
    checkpoint = find(storage, archive) or head.checkpoint
    fresh = {CHECKPOINT: checkpoint, archive: checkpoint}
    for scope in plan.hints:
        indices = sealed.notice_indices(tx, scope)
        fresh[hint_path(scope)] = "".join(f"{index}\n" for index in indices).encode()
    tree = overlay(objects, storage.read)

    def view(path: str) -> bytes:
        return fresh[path] if path in fresh else tree(path)

    return view


def _compare(plan: Plan, objects: PendingObjects, head: Head, storage: Storage) -> None:
    if (plan.size, plan.root) != (head.size, head.root):
        raise CorruptionError("the plan is of another tree than the head")
    for path, data in objects:
        if find(storage, path) not in (None, data):
            raise CorruptionError(f"{path} is published with other bytes")
