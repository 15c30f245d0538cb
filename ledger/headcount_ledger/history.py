"""What was published before: the database must not be older than it, nor of another history."""

from __future__ import annotations

import hashlib

from headcount_ledger.head import Head
from headcount_ledger.storage import CHECKPOINT, Storage, find
from headcount_spec.checkpoint import open_checkpoint
from headcount_spec.errors import CorruptionError, ProtocolError
from headcount_spec.note import VerificationKey


def checkpoint_path(batch: int) -> str:
    """Where the published checkpoint of a batch is archived."""
    return f"checkpoints/{batch}"


def check_history(raw: bytes | None, head: Head, key: VerificationKey) -> int:
    """Refuse a database that is older than what was published with it, or of another history.

    raw is the published checkpoint, read before the head. Its size.

    Raises:
        CorruptionError: a restored backup, a wrong directory, or a wrong key.
    """
    if head.key != key.to_text():
        raise CorruptionError("the key is not the one that the ledger was created with")
    if raw is None:
        raise CorruptionError("the published checkpoint is missing")
    try:
        published = open_checkpoint(raw, key).checkpoint
    except ProtocolError as exc:
        raise CorruptionError(f"the published checkpoint is not ours: {exc}") from exc
    if published.size > head.size:
        raise CorruptionError("the published checkpoint is newer than the database")
    if published.size == head.size and published.root != head.root:
        raise CorruptionError("the published checkpoint has another root than the database")
    return published.size


def check_published(storage: Storage, head: Head, key: VerificationKey) -> bytes | None:
    """Refuse to go on from another history than the one that is out; for the sequencer, which has the lock.

    The published checkpoint that was checked: what a new one may replace, and nothing else.

    Raises:
        CorruptionError: as check_history, or the published checkpoint is older than it can be.
    """
    raw = find(storage, CHECKPOINT)
    if raw is None and head.batches == 0:
        raw = head.checkpoint  # the creation was interrupted
        storage.swap(CHECKPOINT, raw, None)
    if check_history(raw, head, key) == head.size:
        return raw
    # The last batch is committed and not published: the checkpoint before it must be there.
    if head.published is not None:
        raise CorruptionError("the published checkpoint is older than the database says")
    if head.batches > 1 and raw != find(storage, checkpoint_path(head.batches - 2)):
        raise CorruptionError("the published checkpoint is not that of the batch before")
    return raw


def previous_checkpoint(storage: Storage, head: Head) -> bytes:
    """SHA-256 of the checkpoint that was published with the batch before, zeros before any.

    Raises:
        CorruptionError: the archived one is another.
    """
    digest = head.published or b""
    if head.batches:
        archived = find(storage, checkpoint_path(head.batches - 1))
        if archived is None or hashlib.sha256(archived).digest() != digest:
            raise CorruptionError("the archived checkpoint is not the one that was published")
    return digest
