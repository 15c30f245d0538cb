"""Batches: the order of the entries between two seals.

Pledges by nullifier, across scopes; revisions by nullifier and serial; notices by leaf hash; the
seal. The order is the same whoever builds the batch, hides the order of arrival, and makes an
absence provable by two neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headcount_spec.entry import Entry
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.revision import Revision
from headcount_spec.seal import Seal

Key = tuple[int, bytes, int]  # kind of entry, nullifier or leaf hash, serial
PLEDGE_RANK = 1
_SEAL_RANK = 4


def order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in the order of a batch."""
    return sorted(entries, key=sort_key)


def check_order(entries: Sequence[Entry]) -> int | None:
    """The index of the first entry that may not follow the one before it, or None.

    Equal keys are in order: that a nullifier stands twice is another fault, with another name.
    Whether the last entry is a seal is not asked; that nothing follows a seal is.
    """
    return check_keys(map(sort_key, entries))


def check_keys(keys: Iterable[Key]) -> int | None:
    """As ``check_order``, from the keys of the entries."""
    last: Key = (0, b"", 0)
    for index, key in enumerate(keys):
        if key < last or last[0] == _SEAL_RANK:
            return index
        last = key
    return None


def sort_key(entry: Entry) -> Key:
    """By what the entries of a batch ascend."""
    if isinstance(entry, Pledge):
        return (PLEDGE_RANK, entry.nullifier, 0)
    if isinstance(entry, Revision):
        return (2, entry.nullifier, entry.serial)
    if isinstance(entry, Seal):
        return (_SEAL_RANK, b"", 0)
    return (3, leaf_hash(entry.to_bytes()), 0)
