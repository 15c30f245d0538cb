"""Seals: whether each follows from the entries, the seal, the tree and the checkpoint before it.

After a fault the audit takes what the seal claims as the new base, so that one fault is reported
once and a later one is still seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from headcount_ledger.audit.archive import Archive, JudgedCheckpoint, check_scope_quorum
from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.recount import BatchCount, Recount, Slot
from headcount_ledger.audit.totals import TotalsAudit
from headcount_spec.merkle import HASH_BYTES, LeafHash, RootHash
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_over, chain_start
from headcount_spec.text import format_day

# With one of these found in a batch, its broken chain needs no other explanation. A foreign key is
# none: a changed authenticator looks the same.
_EXPLAINS = frozenset(
    {
        "changed-entry",
        "replayed-token",
        "swapped-terms",
        "malformed-entry",
        "forged-notice",
        "forged-revision",
    }
)


MAX_BATCHES = 2**48  # a tick a second for nine million years; JSON says no number beyond 2^53


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """One batch as it stands in the log, with the trees before and behind it."""

    number: int
    first: int  # index of its first leaf
    hashes: Sequence[bytes]  # of its leaves without the seal, in pieces of some hashes each
    seal_slot: Slot
    seal: Seal
    count: BatchCount
    codes: frozenset[str]  # faults found among its entries
    root_before: RootHash
    root_after: RootHash

    @property
    def end(self) -> int:
        """Size of the tree with this batch."""
        return self.seal_slot.index + 1


@dataclass(frozen=True, slots=True)
class _Last:
    """The seal before."""

    number: int
    seal: Seal
    hash: LeafHash
    index: int
    chain: bytes  # recomputed, over every leaf before it
    checkpoint: JudgedCheckpoint | None


@dataclass(slots=True)
class SealAudit:
    """Follows the seals of a log."""

    origin: str
    archive: Archive
    totals: TotalsAudit
    recount: Recount
    faults: FaultList
    _last: _Last | None = None
    _shift: int = 0  # what the seals say of an index, less what it is
    _altered: bool = False  # some batch is not the one that was sealed
    _jumped: bool = False  # batches are missing before this one
    _pledges: int = 0  # leaves so far
    _doubt: int | None = None  # batch whose chain is wrong although its entries are good
    _suspect: tuple[SealedBatch, JudgedCheckpoint] | None = None  # archived with another tree
    _lost: set[int] = field(default_factory=set)  # batches known to have lost entries
    _roots: dict[int, bytes] = field(default_factory=dict)  # size at the end of a batch → root
    _ahead: tuple[bytes, int] | None = None  # chain over so many pieces of the batch that is being gathered

    @property
    def is_settled(self) -> bool:
        """Whether no question waits for the next seal, so that another run can go on from here."""
        is_plain = not (self._shift or self._altered or self._jumped or self._lost)
        return is_plain and self._doubt is None and self._suspect is None

    def to_state(self) -> dict[str, Any]:
        """The last seal as JSON; None if there is none."""
        last = self._last
        if last is None:
            return {"last": None}
        return {
            "last": [last.number, last.seal.to_bytes().hex(), last.hash.hex(), last.index, last.chain.hex()],
            "pledges": self._pledges,
        }

    def restore(self, state: dict[str, Any], roots: dict[int, bytes]) -> None:
        """Go on from there; roots are those at the ends of the batches so far."""
        if state["last"] is None:
            return
        number, seal, leaf, index, chain = state["last"]
        self._last = _Last(
            number,
            Seal.from_bytes(bytes.fromhex(seal)),
            LeafHash(bytes.fromhex(leaf)),
            index,
            bytes.fromhex(chain),
            self.archive.read(number),
        )
        self._pledges = state["pledges"]
        self._roots = roots

    @property
    def next_batch(self) -> int:
        """The number that the next seal must have."""
        return 0 if self._last is None else self._last.number + 1

    @property
    def last_day(self) -> int:
        """Day of the seal before."""
        return 0 if self._last is None else self._last.seal.day

    def number(self, slot: Slot, seal: Seal, missing: int) -> int:
        """Which batch a seal ends; seals that were skipped are a fault."""
        expected = self.next_batch
        self._jumped = False
        if seal.batch == expected:
            return expected
        follows = seal.prev_seal == (GENESIS if self._last is None else self._last.hash)
        if expected < seal.batch < MAX_BATCHES and (missing or not follows):
            self._jumped = True
            self._altered = True
            if not missing:
                batches = (
                    f"batch {expected}"
                    if seal.batch == expected + 1
                    else f"batches {expected} to {seal.batch - 1}"
                )
                self.faults.add("deleted-entry", f"{batches} with its seal is missing", batch=expected)
            return seal.batch
        self._broken(slot, expected, f"it says batch {seal.batch} where {expected} is next")
        return expected

    def follow(self, pieces: Sequence[bytes]) -> None:
        """Chain what a batch has so far, while others verify; its last piece may yet lose a seal."""
        chain, done = self._ahead or (self._chain_starts()[0], 0)
        self._ahead = _extend(chain, pieces[done:-1]), max(done, len(pieces) - 1)

    def close(self, batch: SealedBatch) -> None:
        """Judge a seal against its batch and everything before."""
        archived = self.archive.read(batch.number)
        chain, is_chained = self._check_chain(batch)
        self._check_first_index(batch)
        self._check_previous(batch)
        lost_before = len(self._lost)
        if not is_chained:
            self._altered = True
            self._explain_chain(batch, archived)
        self._check_numbers(batch, is_chained)
        self._check_day(batch, archived)
        is_whole = is_chained and not batch.count.missing and not self._jumped
        self.totals.check(batch.number, batch.seal.totals, is_whole and len(self._lost) == lost_before)
        self._roots[batch.end] = batch.root_after
        if archived is not None:
            if not self._altered and (archived.checkpoint.size, archived.checkpoint.root) != (
                batch.end,
                batch.root_after,
            ):
                self._suspect = (batch, archived)
            for scope in self.recount.scopes.values():
                if scope.closed_in == batch.number:
                    check_scope_quorum(scope.manifest, archived, self.faults, closing_batch=batch.number)
        self._last = _Last(
            batch.number, batch.seal, LeafHash(batch.seal_slot.hash), batch.seal_slot.index, chain, archived
        )

    def lose(self, batch: SealedBatch) -> None:
        """Pass a seal that is not served: what it must have said stands in for it."""
        chain, _ = self._check_chain(batch)
        self._pledges += batch.count.pledges
        self._doubt = None
        self._suspect = None
        before = 0 if self._last is None else self._last.seal.pledges_total
        seal = dataclasses.replace(
            batch.seal,
            batch=batch.number,
            pledges_in_batch=batch.count.pledges,
            pledges_total=before + batch.count.pledges,
            chain=chain,
        )
        self._roots[batch.end] = batch.root_after
        self._last = _Last(
            batch.number,
            seal,
            LeafHash(batch.seal_slot.hash),
            batch.seal_slot.index,
            chain,
            self.archive.read(batch.number),
        )

    def finish(self, head: JudgedCheckpoint) -> None:
        """Settle what only later seals could have explained, and compare with the current checkpoint."""
        if self._doubt is not None:
            self.faults.add("broken-seal", "its chain is not over the entries before it", batch=self._doubt)
        if self._suspect is not None:
            self._accuse(*self._suspect)
        archived = None if self._last is None else self._last.checkpoint
        if archived is None or not head.is_by_log:
            return
        if archived.hash != head.hash and sorted(archived.lines) == sorted(head.lines):
            # Lines of a note may stand in any order, but the next seal is over this one.
            self.faults.add("malformed-checkpoint", "it differs from its archived copy in the order of lines")
        old, new = archived.checkpoint, head.checkpoint
        if not self._altered and old.size == new.size and old.root != new.root:
            self.faults.add(
                "forked-ledger",
                f"checkpoint and checkpoints/{self.next_batch - 1} are signed over different entries",
                batch=self.next_batch - 1,
            )

    def _check_chain(self, batch: SealedBatch) -> tuple[bytes, bool]:
        starts = self._chain_starts(batch.seal)
        chain, done = self._ahead or (starts[0], 0)
        self._ahead = None
        chain = _extend(chain, batch.hashes[done:])
        if chain == batch.seal.chain or self._jumped:
            return (batch.seal.chain, True)
        others = dict.fromkeys(starts[1:])
        return chain, any(_extend(start, batch.hashes) == batch.seal.chain for start in others)

    def _chain_starts(self, seal: Seal | None = None) -> list[bytes]:
        """Where the chain of the next batch may begin: first as it must, then as its seal may claim."""
        last = self._last
        if last is None:
            return [chain_start(self.origin)]
        # One of the two seals or its chain may have been changed.
        leaves = [last.hash] if seal is None else [last.hash, seal.prev_seal]
        return [chain_extend(chain, leaf) for chain in (last.chain, last.seal.chain) for leaf in leaves]

    def _check_first_index(self, batch: SealedBatch) -> None:
        gap = batch.seal.first_index - (batch.first + self._shift)
        if self._jumped:
            self._shift += gap
        elif gap:
            last = self._last
            before = None if last is None or last.checkpoint is None else last.checkpoint.checkpoint.size
            if last is None or before == batch.first + self._shift:
                self._broken(
                    batch.seal_slot,
                    batch.number,
                    f"it says that the batch begins at {batch.seal.first_index}, not at {batch.first}",
                )
            else:
                self._shift += gap
                self._altered = True
                self._change_in_number(last.number, gap, frozenset())

    def _explain_chain(self, batch: SealedBatch, archived: JudgedCheckpoint | None) -> None:
        if archived is not None:
            gap = archived.checkpoint.size - (batch.end + self._shift)
            if gap:
                self._shift += gap
                self._change_in_number(batch.number, gap, batch.codes)
                return
        if batch.seal.pledges_in_batch > batch.count.pledges + batch.count.missing:
            self._change_in_number(
                batch.number, batch.seal.pledges_in_batch - batch.count.pledges, batch.codes
            )
        elif batch.count.is_ordered and not batch.codes & _EXPLAINS:
            if archived is not None and archived.checkpoint.root == batch.root_after:
                # So it was published: the seal never fitted.
                self._broken(batch.seal_slot, batch.number, "its chain is not over the entries before it")
            else:
                self._doubt = batch.number

    def _change_in_number(self, number: int, gap: int, codes: frozenset[str]) -> None:
        if gap > 0 and number not in self._lost:
            self._lost.add(number)
            entries = "an entry is" if gap == 1 else f"{gap} entries are"
            self.faults.add("deleted-entry", f"{entries} missing from the batch", batch=number)
        elif gap < 0 and not codes & _EXPLAINS:
            self.faults.add(
                "added-entry", f"the batch has {-gap} more entries than were sealed", batch=number
            )

    def _check_previous(self, batch: SealedBatch) -> None:
        seal, last = batch.seal, self._last
        if self._jumped:
            self._doubt, self._suspect = None, None
            return
        if last is None:
            for name in ("prev_seal", "prev_root", "prev_checkpoint"):
                if getattr(seal, name) != GENESIS:
                    self._broken(batch.seal_slot, batch.number, f"{name} of the first seal is not zero")
            return
        is_same_seal = seal.prev_seal == last.hash
        if self._doubt is not None:
            # This seal knows the seal before as it is, so that the entries below it were changed.
            if is_same_seal:
                self.faults.add("changed-entry", "its seal was made over other entries", batch=self._doubt)
            else:
                self.faults.add(
                    "broken-seal", "its chain is not over the entries before it", batch=self._doubt
                )
            self._doubt = None
        elif not is_same_seal:
            self._altered = True
            if self._suspect is not None:
                self.faults.add(
                    "broken-seal",
                    "it is not the seal that the next one follows",
                    batch=last.number,
                    index=last.index,
                )
            else:
                self._broken(
                    batch.seal_slot, batch.number, f"it does not follow the seal of batch {last.number}"
                )
        if not is_same_seal:
            self._suspect = None
        archived = last.checkpoint
        if self._suspect is not None:
            self._altered = True
            self._accuse(*self._suspect)
            self._suspect = archived = None
        if seal.prev_root != batch.root_before:
            known = None if archived is None else archived.checkpoint.root
            # In a tree that was altered below, the archived checkpoint knows the root.
            if not self._altered or (known is not None and seal.prev_root != known):
                self._broken(batch.seal_slot, batch.number, "prev_root is not the root before the batch")
        if archived is not None and seal.prev_checkpoint != archived.hash:
            self._broken(
                batch.seal_slot,
                batch.number,
                f"prev_checkpoint is not the hash of checkpoints/{last.number}",
            )

    def _accuse(self, batch: SealedBatch, archived: JudgedCheckpoint) -> None:
        """The checkpoint that was published with a batch is over another tree than this one."""
        size = archived.checkpoint.size
        if self._roots.get(size) == archived.checkpoint.root:
            self.faults.add(
                "broken-seal",
                f"checkpoints/{batch.number} is the checkpoint of another batch",
                batch=batch.number,
            )
        elif size > batch.end:
            self._change_in_number(batch.number, size - batch.end, frozenset())
        else:
            self.faults.add(
                "forked-ledger",
                f"checkpoints/{batch.number} is signed over {size} other entries than these",
                batch=batch.number,
            )

    def _check_numbers(self, batch: SealedBatch, is_chained: bool) -> None:
        seal, count = batch.seal, batch.count
        place = {"batch": batch.number, "index": batch.seal_slot.index}
        spare = seal.pledges_in_batch - count.pledges
        if is_chained and not 0 <= spare <= count.missing:
            self.faults.add(
                "edited-count",
                f"the seal says {seal.pledges_in_batch} pledges in the batch where {count.pledges} are",
                **place,
            )
        before = 0 if self._last is None else self._last.seal.pledges_total
        counted, self._pledges = self._pledges, self._pledges + count.pledges
        # If the seal before lied, its fault is named there.
        if not self._jumped and seal.pledges_total - seal.pledges_in_batch not in (before, counted):
            self.faults.add(
                "edited-count",
                f"the seal says {seal.pledges_total} pledges in all where "
                f"{before} and {seal.pledges_in_batch} are",
                **place,
            )

    def _check_day(self, batch: SealedBatch, archived: JudgedCheckpoint | None) -> None:
        day = batch.seal.day
        place = {"batch": batch.number, "index": batch.seal_slot.index}
        if day < self.last_day:
            self.faults.add("wrong-day", "it is before the day of the seal before", **place)
        median = None if archived is None else archived.median_day
        if median is not None and abs(day - median) > 1:
            self.faults.add(
                "wrong-day",
                f"the witnesses signed on {format_day(median)}, {abs(day - median)} days apart",
                **place,
            )

    def _broken(self, slot: Slot, batch: int, detail: str) -> None:
        offset = None if slot.leaf is None else slot.leaf.offset
        self.faults.add("broken-seal", detail, batch=batch, index=slot.index, offset=offset)


def _extend(chain: bytes, pieces: Iterable[bytes]) -> bytes:
    for piece in pieces:
        chain = chain_over(chain, [piece[at : at + HASH_BYTES] for at in range(0, len(piece), HASH_BYTES)])
    return chain
