"""Entries that are served and not in the tree, and places of the tree without an entry: named."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from headcount_ledger.audit.block import Block, Stranger
from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.recount import Recount
from headcount_spec import seal
from headcount_spec.notice import Notice
from headcount_spec.pledge import Pledge


@dataclass(slots=True)
class Differences:
    """Gathers what the bundles hold otherwise than the tree, over all blocks."""

    _missing: dict[bytes, deque[tuple[int, int]]] = field(default_factory=dict)  # hash → index, offset
    _strangers: list[Stranger] = field(default_factory=list)

    def add(self, block: Block, end_offset: int) -> None:
        """Take one block whose bundle could be read and whose hashes are known."""
        offset = end_offset
        missing = []
        for place in reversed(range(len(block.leaves))):
            leaf = block.leaves[place]
            if leaf is None:
                missing.append((place, offset))
            else:
                offset = leaf.offset
        for place, at in reversed(missing):
            self._missing.setdefault(block.hashes[place], deque()).append((block.first + place, at))
        self._strangers.extend(block.strangers)

    def name(self, recount: Recount, faults: FaultList) -> None:
        """Say what was done: an entry may have moved, been replaced, taken out or put in."""
        strangers, moved = self._cancel_moved()
        missing = dict(place for places in self._missing.values() for place in places)
        if moved and not strangers and not missing:
            for stranger in moved[:1]:
                faults.add(
                    "reordered-batch",
                    "the entry is served at another place than it has in the tree",
                    index=stranger.index,
                    offset=stranger.leaf.offset,
                )
        for stranger in strangers:
            replaced = missing.pop(stranger.index, None) is not None
            _name_stranger(stranger, replaced, recount, faults)
        for index, offset in sorted(missing.items()):
            faults.add(
                "deleted-entry", "the tree has an entry here that is not served", index=index, offset=offset
            )

    def _cancel_moved(self) -> tuple[Sequence[Stranger], Sequence[Stranger]]:
        strangers, moved = [], []
        for stranger in self._strangers:
            places = self._missing.get(stranger.leaf.hash)
            if places:
                places.popleft()
                moved.append(stranger)
            else:
                strangers.append(stranger)
        return strangers, moved


def _name_stranger(stranger: Stranger, replaced: bool, recount: Recount, faults: FaultList) -> None:
    place = {"index": stranger.index, "offset": stranger.leaf.offset}
    how = "served in the place of another entry" if replaced else "served although the tree has no such entry"
    code = _special(stranger, replaced, recount)
    if code is not None:
        faults.add(code, how, **place)
    if code is None or (code == "foreign-key" and replaced):
        # A flipped bit in an authenticator looks like a foreign key too: both are said.
        faults.add("changed-entry" if replaced else "added-entry", how, **place)


def _special(stranger: Stranger, replaced: bool, recount: Recount) -> str | None:
    """The name for a kind of entry that has one."""
    leaf = stranger.leaf
    entry = leaf.entry
    if isinstance(entry, Pledge):
        if recount.spent.has(entry.nullifier):
            return "replayed-token"
        judge = recount.judges.get(entry.scope_id)
        verdict = leaf.verdict or (judge.judge(entry) if judge else None)
        return "foreign-key" if verdict is not None and verdict.code == "foreign-key" else None
    if leaf.kind == seal.HEADER[0]:
        return "broken-seal"
    if isinstance(entry, Notice):
        is_terms = entry.statement.type in ("manifest", "text")
        return "swapped-terms" if is_terms and replaced else None
    if leaf.verdict is not None and leaf.verdict.code == "swapped-terms":
        return "swapped-terms"
    return None
