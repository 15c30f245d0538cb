"""The audit of a bare log from its published files: one pass over the entry bundles, in order.

Each block of 256 entries is read and settled (``blocks``) and merged into the recount; seals are judged
as they come.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

from headcount_ledger.audit import trust
from headcount_ledger.audit.archive import Archive, JudgedCheckpoint, check_scope_quorum, judge_checkpoint
from headcount_ledger.audit.block import Block
from headcount_ledger.audit.blocks import BlockReader
from headcount_ledger.audit.bundle import BundleScan
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
from headcount_ledger.audit.recount import Recount, Slot
from headcount_ledger.audit.report import AuditReport, BatchRow, ScopeCount
from headcount_ledger.audit.scopes import ScopeRecount
from headcount_ledger.audit.seals import SealAudit, SealedBatch
from headcount_ledger.audit.strangers import Differences
from headcount_ledger.audit.totals import TotalsAudit
from headcount_ledger.audit.tree import TreeRecount
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import UnavailableError
from headcount_spec.merkle import LeafHash, RootHash
from headcount_spec.policy import Policy
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tile import Fetch

Progress = Callable[[int, int], None]  # entries done, entries in all


def audit(
    fetch: Fetch,
    policy: Policy,
    *,
    remembered: Iterable[Checkpoint] = (),
    receipts: Sequence[Receipt] = (),
    progress: Progress | None = None,
) -> AuditReport:
    """Recount everything that a log has published. Protocol, Section 4.

    remembered are checkpoints that the caller has verified before, of this log or of others; what the
    log has published must begin with their trees. Each receipt's entry must be there.

    Raises:
        ProofError: a receipt does not verify in itself.
    """
    return _Audit(fetch, policy, remembered, receipts, progress).run()


class _Audit:
    """The state of one run."""

    def __init__(
        self,
        fetch: Fetch,
        policy: Policy,
        remembered: Iterable[Checkpoint],
        receipts: Sequence[Receipt],
        progress: Progress | None,
    ) -> None:
        self.faults = FaultList()
        self.files = Files(fetch, self.faults)
        self.policy = policy
        self.remembered = list(remembered)
        self.receipts = receipts
        self.progress = progress
        self.differences = Differences()
        self.pending: list[Slot] = []  # of the batch whose seal has not come
        self.starts: list[int] = []  # first index of each batch
        self.numbers: list[int] = []  # and its number
        self.rows: list[BatchRow] = []
        self.roots: dict[int, RootHash] = {}  # at the sizes that somebody remembers
        self.places: dict[LeafHash, int] = {}  # of the entries that somebody holds a receipt of
        self.leaves_at: dict[int, LeafHash] = {}
        self.held: list[HeldReceipt] = []
        self.states: tuple[ReceiptState, ...] = ()

    def run(self) -> AuditReport:
        """Everything."""
        judged = self._read_checkpoint()
        if judged is None:
            return self._report(None, {}, 0)
        checkpoint = judged.checkpoint
        self.remembered = [old for old in self.remembered if old.origin == checkpoint.origin]
        self.held = [check_receipt(receipt, checkpoint.origin, self.policy) for receipt in self.receipts]
        self._prepare_marks()
        self.tree = TreeRecount(self.files, checkpoint.size, self.faults)
        self.recount = Recount(checkpoint.origin, self.policy.log_keys(checkpoint.origin), self.faults)
        self.blocks = BlockReader(self.files, self.tree, self.recount.judges, self.differences, self.faults)
        archive = Archive(self.files, self.policy, self.faults)
        totals = TotalsAudit(self.files, self.recount, self.faults)
        self.seals = SealAudit(checkpoint.origin, archive, totals, self.recount, self.faults)
        self.root_before = self.tree.root()
        try:
            for block, scan, data in self.blocks.read(checkpoint):
                self._take_block(block, scan, data)
                if self.progress is not None:
                    self.progress(self.tree.size, checkpoint.size)
            self._finish(judged)
        except UnavailableError as exc:
            self.faults.add("unreadable-file", f"the host has stopped to answer: {exc}", index=self.tree.size)
        return self._report(judged, self.recount.scopes, self.seals.next_batch)

    def _read_checkpoint(self) -> JudgedCheckpoint | None:
        raw = self.files.read("checkpoint")
        return None if raw is None else judge_checkpoint("checkpoint", raw, self.policy, self.faults)

    def _prepare_marks(self) -> None:
        marks = {0} | {old.size for old in self.remembered}
        marks |= {checkpoint.size for held in self.held for checkpoint in held.checkpoints}
        self.marks = marks
        self.wanted = {held.receipt.leaf_hash for held in self.held}
        self.wanted |= {held.receipt.promise.leaf_hash for held in self.held if held.receipt.promise}
        self.wanted_at = {held.receipt.proof.index for held in self.held if held.receipt.proof}

    def _take_block(self, block: Block, scan: BundleScan, data: bytes | None) -> None:
        cut = 0
        strangers = {stranger.index: stranger.leaf for stranger in block.strangers}
        for place, (leaf_hash, leaf) in enumerate(zip(block.hashes, block.leaves, strict=True)):
            index = block.first + place
            slot = Slot(index, LeafHash(leaf_hash), leaf)
            if slot.hash in self.wanted:
                self.places.setdefault(slot.hash, index)
            if index in self.wanted_at:
                self.leaves_at[index] = slot.hash
            # A changed seal still ends its batch.
            here = leaf or strangers.get(index)
            seal = here.entry if here is not None and isinstance(here.entry, Seal) else None
            if seal is not None or index + 1 in self.marks:
                self.tree.extend(block.hashes[cut : place + 1])
                cut = place + 1
                if index + 1 in self.marks:
                    self.roots[index + 1] = self.tree.root()
            if seal is None:
                self.pending.append(slot)
            else:
                part = data[: scan.ends[place]] if data is not None and block.is_served_whole else None
                self._close_batch(slot, seal, part)
        self.tree.extend(block.hashes[cut:])

    def _close_batch(self, slot: Slot, seal: Seal, part: bytes | None) -> None:
        if self.blocks.is_whole and slot.index + 1 < self.tree.final_size:
            self.tree.check_partials(part)
        if slot.leaf is None:
            number, day = self.seals.next_batch, max(seal.day, self.seals.last_day)
        else:
            missing = sum(other.leaf is None for other in self.pending)
            number, day = self.seals.number(slot, seal, missing), seal.day
        self.starts.append(self.pending[0].index if self.pending else slot.index)
        self.numbers.append(number)
        known = len(self.faults)
        count = self.recount.take_batch(self.pending, number, day)
        root_after = self.tree.root()
        self.rows.append(
            BatchRow(
                number, self.starts[-1], slot.index + 1, day, count.counted, count.live, bytes(root_after)
            )
        )
        batch = SealedBatch(
            number=number,
            slots=self.pending,
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
        self.pending = []

    def _finish(self, judged: JudgedCheckpoint) -> None:
        checkpoint = judged.checkpoint
        if self.pending:
            first, number = self.pending[0].index, self.seals.next_batch
            self.starts.append(first)
            self.numbers.append(number)
            self.recount.take_batch(self.pending, number, self.seals.last_day)
            if all(slot.leaf is not None for slot in self.pending):
                self.faults.add(
                    "broken-seal",
                    f"{len(self.pending)} entries follow the last seal",
                    batch=number,
                    index=first,
                )
        self.seals.finish(judged)
        self.tree.finish()
        root = self.tree.root()
        self.roots[self.tree.size] = root
        is_coherent = self.blocks.is_whole and root == checkpoint.root
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

    def _report(
        self,
        judged: JudgedCheckpoint | None,
        scopes: Mapping[ScopeId, ScopeRecount],
        batches: int,
    ) -> AuditReport:
        cosigners = () if judged is None else tuple(name for name, _ in judged.cosignatures)
        return AuditReport(
            origin="" if judged is None else judged.checkpoint.origin,
            size=0 if judged is None else judged.checkpoint.size,
            root=b"" if judged is None else judged.checkpoint.root,
            batches=batches,
            faults=self.faults.placed(self._batch_of),
            faults_omitted=self.faults.omitted,
            scopes={scope.manifest.scope_id: ScopeCount.of(scope) for scope in scopes.values()},
            trusts=trust.sentences(scopes.values(), self.policy, cosigners, remembered=bool(self.remembered)),
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
