"""One run through a log: what workers have verified, merged in the order of the log into the recount."""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from headcount_ledger.audit import trust
from headcount_ledger.audit.archive import Archive, JudgedCheckpoint, check_scope_quorum, judge_checkpoint
from headcount_ledger.audit.block import Block
from headcount_ledger.audit.blocks import BlockReader
from headcount_ledger.audit.bundle import BundleScan, look
from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.hint import check_hints
from headcount_ledger.audit.receipt import (
    Found,
    HeldReceipt,
    Receipt,
    ReceiptState,
    check_receipt,
    compare_receipt,
)
from headcount_ledger.audit.recount import Part, PlacedRun, Recount, Slot
from headcount_ledger.audit.report import AuditReport, BatchRow, ScopeCount, read_row, with_totals, write_row
from headcount_ledger.audit.scopes import CountedPledge, ScopeRecount
from headcount_ledger.audit.seals import SealAudit, SealedBatch
from headcount_ledger.audit.spent import Prefixes, Spent
from headcount_ledger.audit.state import (
    AuditState,
    Extension,
    LoadedState,
    append_state,
    believing,
    save_state,
)
from headcount_ledger.audit.strangers import Differences
from headcount_ledger.audit.survey import cut
from headcount_ledger.audit.totals import TotalsAudit
from headcount_ledger.audit.tree import TreeRecount
from headcount_ledger.audit.unit import Extent, OtherEntry, PackedBlock, PledgeRun
from headcount_ledger.audit.work import Work
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import ProtocolError, UnavailableError
from headcount_spec.merkle import (
    HASH_BYTES,
    LeafHash,
    RootHash,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.policy import Policy
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tile import TILE_WIDTH, Bundle, Fetch, TileReader

SAVE_EVERY_S = 60  # of an audit with a state

Progress = Callable[[int, int], None]  # entries done, entries in all


@dataclass(frozen=True, slots=True)
class Task:
    """What the caller has asked for."""

    fetch: Fetch
    policy: Policy
    remembered: tuple[Checkpoint, ...]
    receipts: tuple[Receipt, ...]
    progress: Progress | None
    executor: Executor | None
    extent: Extent
    resume: Path | None
    fetching: Progress | None


def policy_hash(policy: Policy) -> str:
    """What tells the trust policy of a state."""
    return hashlib.sha256(policy.to_bytes()).hexdigest()


class Run:
    """The state of one run through the log."""

    def __init__(self, task: Task, fetch: Fetch) -> None:
        self.faults = FaultList()
        self.files = Files(fetch, self.faults)
        self.task = task
        self.policy = task.policy
        self.remembered = list(task.remembered)
        self.receipts = task.receipts
        self.progress = task.progress
        self.differences = Differences()
        self.pending: list[Part] = []  # of the batch whose seal has not come
        self.hashes: list[bytes] = []  # of its leaves, packed
        self.first = 0  # index of its first leaf
        self.starts: list[int] = []  # first index of each batch
        self.numbers: list[int] = []  # and its number
        self.rows: list[BatchRow] = []
        self.roots: dict[int, RootHash] = {}  # at the sizes that somebody remembers
        self.places: dict[LeafHash, int] = {}  # of the entries that somebody holds a receipt of
        self.leaves_at: dict[int, LeafHash] = {}
        self.held: list[HeldReceipt] = []
        self.states: tuple[ReceiptState, ...] = ()
        self.spent: Spent | None = None
        self.is_stopped = False  # the host does not answer any more
        self.is_coherent = False  # the entries lead to the signed root
        self.start = 0  # entries before this one were recounted by an earlier audit
        self.carried: list[list[int]] = []  # revised pledges of a state that this run does not look at
        self.next_save = time.monotonic() + SAVE_EVERY_S
        self.loaded: LoadedState | None = None  # what this run goes on from
        self.saved: tuple[Extension, int, int] | None = None  # the state file, with so many rows and entries

    def run(
        self, judged: JudgedCheckpoint, work: Work, watch: Prefixes, saved: LoadedState | None
    ) -> AuditReport:
        """Everything, or what has come since a state was saved."""
        checkpoint = judged.checkpoint
        self.remembered = [old for old in self.remembered if old.origin == checkpoint.origin]
        self.held = [check_receipt(receipt, checkpoint.origin, self.policy) for receipt in self.receipts]
        self._prepare_marks()
        self.reader = TileReader(self.files.fetch, checkpoint.size)
        self.signed_root = checkpoint.root
        self.spent = Spent(watch, self._nullifier_at, () if saved is None else saved.before)
        self.tree = TreeRecount(self.files, checkpoint.size, self.faults)
        log_keys = self.policy.log_keys(checkpoint.origin)
        self.recount = Recount(checkpoint.origin, log_keys, self.faults, self.spent, self.task.extent)
        self.blocks = BlockReader(self.files, self.tree, self.differences, self.faults)
        archive = Archive(self.files, self.policy, self.faults)
        self.totals = TotalsAudit(self.files, self.recount, self.faults)
        self.seals = SealAudit(checkpoint.origin, archive, self.totals, self.recount, self.faults)
        packed = work.blocks(self.task.extent)
        try:
            if saved is not None:
                self.loaded = saved
                with believing():
                    is_restored = self._restore(saved.state)
                if not is_restored:
                    return self.report(judged)
            self.root_before = self.tree.root()
            for item in self.blocks.read(checkpoint, self.start, packed):
                if isinstance(item, PackedBlock):
                    self._take_packed(item)
                else:
                    self._take_block(*item)
                if self.progress is not None:
                    self.progress(self.tree.size, checkpoint.size)
            self._finish(judged)
        except UnavailableError as exc:
            self.is_stopped = True
            self.faults.add("unreadable-file", f"the host has stopped to answer: {exc}", index=self.tree.size)
        finally:
            packed.close()
        return self.report(judged)

    def unwatched(self) -> set[int]:
        """What another run must watch: prefixes that stand twice, and those that a revision names."""
        if self.spent is None or self.is_stopped:
            return set()
        return self.spent.repeated() | self.spent.unwatched

    def close(self) -> None:
        """Give files back."""
        if self.spent is not None:
            self.spent.close()

    def _restore(self, state: AuditState) -> bool:
        """Go on from a state; False if the entries that it needs are not what they were."""
        assert self.spent is not None  # noqa: S101 - run has made it
        self.start = self.first = state.size
        self.tree.restore(state.tree)
        for row in state.rows:
            self.rows.append(read_row(row))
        self.starts = [row.first for row in self.rows]
        self.numbers = [row.number for row in self.rows]
        self.seals.restore(state.seals, {row.size: row.root for row in self.rows})
        for item in state.scopes:
            self.recount.restore(item)
        changed = {index: (choice, serial, batch) for index, choice, serial, batch in state.revised}
        watched = set(self.spent.watched_before())
        self.carried = [row for row in state.revised if row[0] not in watched]
        for index in sorted(watched):
            pledge = self._pledge_at(index)
            scope = None if pledge is None else self.recount.scopes.get(pledge.scope_id)
            if pledge is None or scope is None:
                return False
            batch = self._batch_of(index)
            counted = CountedPledge(index, batch or 0, scope, pledge.revision_key, pledge.choice)
            if index in changed:
                counted.choice, counted.serial, counted.revised_in = changed[index]
            self.spent.put_before(pledge.nullifier, counted)
        root = state.root
        if self.tree.size != state.size or bytes(self.tree.root()).hex() != root:
            return False
        return self._check_last_totals() and self._find_before()

    def _check_last_totals(self) -> bool:
        """Counters show the totals of the last batch, so these are looked at again every time."""
        if not self.start:
            return True
        seal = self._entry_at(self.start - 1)
        if not isinstance(seal, Seal):
            return False
        self.totals.check(seal.batch, seal.totals, is_whole=True)
        return True

    def _find_before(self) -> bool:
        """Look for what somebody remembers or holds a receipt of among the entries before the state."""
        reader, root = self.reader, self.signed_root
        try:
            for mark in sorted(mark for mark in self.marks if 0 < mark < self.start):
                old = reader.root_at(mark)
                verify_consistency(reader.consistency_proof(mark), mark, reader.size, old, root)
                self.roots[mark] = old
            if self.wanted or self.wanted_at:
                for number in range(-(-self.start // TILE_WIDTH)):
                    tile = reader.tile(0, number)
                    for at in range(0, min(len(tile), (self.start - number * TILE_WIDTH) * HASH_BYTES), 32):
                        index = number * TILE_WIDTH + at // HASH_BYTES
                        self._look_for(index, LeafHash(tile[at : at + HASH_BYTES]))
            for index, leaf in {**{i: leaf for leaf, i in self.places.items()}, **self.leaves_at}.items():
                verify_inclusion(reader.inclusion_proof(index), index, reader.size, leaf, root)
        except ProtocolError:
            return False
        return True

    def keep(self, report: AuditReport) -> None:
        """Save the state of an audit that has found nothing wrong."""
        if report.ok and self.task.resume is not None and self.spent is not None and not self.pending:
            self._save(report.checkpoint.decode())

    def _save(self, checkpoint: str | None) -> None:
        if self.spent is None or self.task.resume is None:
            return
        state = AuditState(
            origin=self.seals.origin,
            policy=policy_hash(self.policy),
            size=self.tree.size,
            root=bytes(self.tree.root()).hex(),
            checkpoint=checkpoint,
            tree=self.tree.to_state(),
            seals=self.seals.to_state(),
            scopes=[scope.to_state() for scope in self.recount.scopes.values()],
            rows=[write_row(row) for row in self.rows],
            revised=[
                [pledge.index, pledge.choice, pledge.serial, pledge.revised_in]
                for _, pledge in self.spent.pledges()
                if pledge.serial
            ]
            + self.carried,
        )
        known: Extension | None = None
        if self.saved is None and self.loaded is not None:
            self.saved = (self.loaded.extension, 0, self.loaded.state.size)
        if self.saved is not None:
            before, rows, size = self.saved
            known = append_state(self.task.resume, state, self.spent.placed_since(rows, size), before)
        if known is None:
            known = save_state(self.task.resume, state, self.spent.placed())
        self.saved = (known, len(self.spent), self.tree.size)

    def _save_sometimes(self) -> None:
        """After a batch in which all is well, so that an interrupted audit loses a minute."""
        if self.task.resume is None or time.monotonic() < self.next_save:
            return
        is_well = not len(self.faults) and self.blocks.is_whole and self.seals.is_settled
        if is_well and self._continues() and not self.unwatched():
            self._save(None)
        self.next_save = time.monotonic() + SAVE_EVERY_S

    def _continues(self) -> bool:
        """Whether the entries so far hold every tree that is remembered; a state must not forget one."""
        return all(self.roots.get(o.size) == o.root or o.size == self.start for o in self.remembered)

    def _pledge_at(self, index: int) -> Pledge | None:
        entry = self._entry_at(index)
        return entry if isinstance(entry, Pledge) else None

    def _entry_at(self, index: int) -> Entry | None:
        """An entry of the log, proven to be in the tree that is signed."""
        reader = self.reader
        try:
            data = reader.entry(index)
            verify_inclusion(
                reader.inclusion_proof(index), index, reader.size, leaf_hash(data), self.signed_root
            )
            return parse_entry(data)
        except ProtocolError:
            return None

    def _nullifier_at(self, index: int) -> Nullifier | None:
        number, place = divmod(index, TILE_WIDTH)
        width = min(TILE_WIDTH, self.tree.final_size - number * TILE_WIDTH)
        data = self.files.find(Bundle(number, width).path)
        entries = [] if data is None else list(cut(data))
        entry = look(entries[place], 0).entry if place < len(entries) else None
        return entry.nullifier if isinstance(entry, Pledge) else None

    def read_checkpoint(self) -> JudgedCheckpoint | None:
        """The current checkpoint; None if there is none that can be read."""
        raw = self.files.read("checkpoint")
        return None if raw is None else judge_checkpoint("checkpoint", raw, self.policy, self.faults)

    def _prepare_marks(self) -> None:
        marks = {0} | {old.size for old in self.remembered}
        marks |= {checkpoint.size for held in self.held for checkpoint in held.checkpoints}
        self.marks = marks
        self.wanted = {held.receipt.leaf_hash for held in self.held}
        self.wanted |= {held.receipt.promise.leaf_hash for held in self.held if held.receipt.promise}
        self.wanted_at = {held.receipt.proof.index for held in self.held if held.receipt.proof}

    def _take_packed(self, block: PackedBlock) -> None:
        first = block.number * TILE_WIDTH
        end = first + block.width
        if first < self.start:
            self._check_open(block.hashes)
        if self.wanted or self.wanted_at:
            for at in range(0, len(block.hashes), HASH_BYTES):
                self._look_for(first + at // HASH_BYTES, LeafHash(block.hashes[at : at + HASH_BYTES]))
        is_plain = bool(block.root) and not block.data and first >= self.start
        if is_plain and self.marks.isdisjoint(range(first + 1, end + 1)):
            self.tree.extend_block(block.root)
            self._gather(block.hashes)
            for part in block.parts:
                self.pending.append(self._placed(block, part))
            return
        cut_at = max(0, self.start - first)
        for part in block.parts:
            if part.place < cut_at and first < self.start:
                continue
            placed = self._placed(block, part)
            leaf = placed.leaf if isinstance(placed, Slot) else None
            seal = leaf.entry if leaf is not None and isinstance(leaf.entry, Seal) else None
            for mark in sorted(self.marks & set(range(placed.index + 1, placed.index + placed.number + 1))):
                self._extend(block.hashes[cut_at * HASH_BYTES : (mark - first) * HASH_BYTES])
                cut_at = mark - first
                self.roots[mark] = self.tree.root()
            if seal is None or not isinstance(placed, Slot):
                self.pending.append(placed)
                continue
            place = placed.index - first
            self._extend(block.hashes[cut_at * HASH_BYTES : (place + 1) * HASH_BYTES])
            cut_at = place + 1
            offset = 0 if placed.leaf is None else placed.leaf.offset
            size = 2 + int.from_bytes(block.data[offset : offset + 2], "big")
            self._close_batch(placed, seal, block.data[: offset + size])
        self._extend(block.hashes[cut_at * HASH_BYTES :])

    def _check_open(self, hashes: bytes) -> None:
        """The block in which an earlier audit has ended begins as it did then."""
        known = self.tree.open_hashes
        if hashes[: len(known)] != known:
            raise UnavailableError("entries are others than when they were last audited")

    def _placed(self, block: PackedBlock, part: PledgeRun | OtherEntry) -> Part:
        index = block.number * TILE_WIDTH + part.place
        if isinstance(part, OtherEntry):
            leaf = look(part.data, part.offset)
            return Slot(index, LeafHash(leaf.hash), leaf)
        place = part.place
        return PlacedRun(index, part, lambda position: self.blocks.entry(block, place + position))

    def _look_for(self, index: int, leaf: LeafHash) -> None:
        if leaf in self.wanted:
            self.places.setdefault(leaf, index)
        if index in self.wanted_at:
            self.leaves_at[index] = leaf

    def _extend(self, packed: bytes) -> None:
        """Leaf hashes of the batch that is being gathered, its seal perhaps the last."""
        self.tree.extend(packed)
        if packed:
            self._gather(packed)

    def _gather(self, packed: bytes) -> None:
        self.hashes.append(packed)
        self.seals.follow(self.hashes)

    def _take_block(self, block: Block, scan: BundleScan, data: bytes | None) -> None:
        cut_at = max(0, self.start - block.first)
        if cut_at:
            self._check_open(b"".join(block.hashes))
        strangers = {stranger.index: stranger.leaf for stranger in block.strangers}
        for place, (its_hash, leaf) in enumerate(zip(block.hashes, block.leaves, strict=True)):
            index = block.first + place
            if index < self.start:
                continue
            slot = Slot(index, LeafHash(its_hash), leaf)
            self._look_for(index, slot.hash)
            # A changed seal still ends its batch.
            here = leaf or strangers.get(index)
            seal = here.entry if here is not None and isinstance(here.entry, Seal) else None
            if seal is not None or index + 1 in self.marks:
                self._extend(b"".join(block.hashes[cut_at : place + 1]))
                cut_at = place + 1
                if index + 1 in self.marks:
                    self.roots[index + 1] = self.tree.root()
            if seal is None:
                self.pending.append(slot)
            else:
                part = data[: scan.ends[place]] if data is not None and block.is_served_whole else None
                self._close_batch(slot, seal, part)
        self._extend(b"".join(block.hashes[cut_at:]))

    def _close_batch(self, slot: Slot, seal: Seal, part: bytes | None) -> None:
        if self.blocks.is_whole and slot.index + 1 < self.tree.final_size:
            self.tree.check_partials(part)
        if slot.leaf is None:
            number, day = self.seals.next_batch, max(seal.day, self.seals.last_day)
        else:
            missing = sum(isinstance(other, Slot) and other.leaf is None for other in self.pending)
            number, day = self.seals.number(slot, seal, missing), seal.day
        self.starts.append(self.first)
        self.numbers.append(number)
        known = len(self.faults)
        count = self.recount.take_batch(self.pending, number, day)
        root_after = self.tree.root()
        self.rows.append(
            BatchRow(number, self.first, slot.index + 1, day, count.counted, count.live, bytes(root_after))
        )
        self.hashes[-1] = self.hashes[-1][:-HASH_BYTES]  # the seal is not under its own chain
        batch = SealedBatch(
            number=number,
            first=self.first,
            hashes=self.hashes,
            seal_slot=slot,
            seal=seal,
            count=count,
            codes=self.faults.codes_from(known),
            root_before=self.root_before,
            root_after=root_after,
        )
        if slot.leaf is None:
            self.seals.lose(batch)
        else:
            self.seals.close(batch)
        self.root_before = root_after
        self.pending, self.hashes = [], []
        self.first = slot.index + 1
        self._save_sometimes()

    def _finish(self, judged: JudgedCheckpoint) -> None:
        checkpoint = judged.checkpoint
        if self.pending:
            first, number = self.pending[0].index, self.seals.next_batch
            self.starts.append(first)
            self.numbers.append(number)
            self.recount.take_batch(self.pending, number, self.seals.last_day)
            if all(isinstance(part, PlacedRun) or part.leaf is not None for part in self.pending):
                number_left = sum(part.number for part in self.pending)
                self.faults.add(
                    "broken-seal",
                    f"{number_left} entries follow the last seal",
                    batch=number,
                    index=first,
                )
        self.seals.finish(judged)
        self.tree.finish()
        root = self.tree.root()
        self.roots[self.tree.size] = root
        is_coherent = self.is_coherent = self.blocks.is_whole and root == checkpoint.root
        if self.blocks.is_whole and not is_coherent:
            self.faults.add(
                "wrong-root", f"they lead to {root.hex()[:16]}… and {checkpoint.root.hex()[:16]}… is signed"
            )
        for scope in self.recount.scopes.values():
            check_scope_quorum(scope.manifest, judged, self.faults)
        self.differences.name(self.recount, self.faults)
        if is_coherent and not self.recount.has_gaps:
            check_hints(self.files, self.recount.scopes, self.tree.size, self.faults)
        for old in self.remembered:
            self._check_remembered(old, judged, is_coherent)
        for checkpoint_held in {c for held in self.held for c in held.checkpoints}:
            if checkpoint_held.size > checkpoint.size:
                self.faults.add(
                    "rolled-back-ledger",
                    f"{checkpoint.size} entries are left of {checkpoint_held.size} that it had signed",
                )
        roots = self.roots if is_coherent else {}
        found = Found(self.places, self.leaves_at, roots, self.seals.last_day)
        self.states = tuple(compare_receipt(held, found, self.faults) for held in self.held)

    def _check_remembered(self, old: Checkpoint, judged: JudgedCheckpoint, is_coherent: bool) -> None:
        new = judged.checkpoint
        if new.size < old.size:
            self.faults.add("rolled-back-ledger", f"{new.size} entries are left of {old.size}")
            return
        if is_coherent:
            root: RootHash | None = self.roots.get(old.size)
        else:
            # The files contradict their checkpoint; only the signed one itself can accuse.
            root = new.root if new.size == old.size and judged.is_by_log else None
        if root is not None and root != old.root:
            self.faults.add(
                "forked-ledger",
                f"its first {old.size} entries are others than when they were last audited",
            )

    def _batch_of(self, index: int) -> int | None:
        at = bisect_right(self.starts, index) - 1
        return self.numbers[at] if at >= 0 else None

    def report(self, judged: JudgedCheckpoint | None) -> AuditReport:
        """What was found so far."""
        scopes: Mapping[ScopeId, ScopeRecount] = {} if self.spent is None else self.recount.scopes
        batches = 0 if self.spent is None else self.seals.next_batch
        cosigners = () if judged is None else tuple(name for name, _ in judged.cosignatures)
        return AuditReport(
            origin="" if judged is None else judged.checkpoint.origin,
            size=0 if judged is None else judged.checkpoint.size,
            root=b"" if judged is None else judged.checkpoint.root,
            batches=batches,
            faults=self.faults.placed(self._batch_of),
            faults_omitted=self.faults.omitted,
            scopes=with_totals(
                {scope.manifest.scope_id: ScopeCount.of(scope) for scope in scopes.values()}, self.rows
            ),
            unchecked=_unchecked(self.task.extent),
            trusts=trust.sentences(
                scopes.values(),
                self.policy,
                cosigners,
                remembered=bool(self.remembered),
                resumed_at=self.start,
            ),
            receipts=self.states,
            cosigners=cosigners,
            checkpoint=b"" if judged is None else judged.signed.raw,
            batch_rows=tuple(self.rows),
            issuances={
                scope.manifest.scope_id: {name: tuple(said) for name, said in scope.issuances.items()}
                for scope in scopes.values()
                if scope.issuances
            },
        )


def _unchecked(extent: Extent) -> tuple[str, ...]:
    said = []
    if extent.start:
        said.append(
            f"The authenticators of the pledges among the first {extent.start} entries were not verified."
        )
    if extent.only is not None:
        said.append(
            f"Only the authenticators of scope {extent.only.hex()} were verified, not those of other scopes."
        )
    return tuple(said)
