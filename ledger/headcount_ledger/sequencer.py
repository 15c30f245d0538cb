"""The sequencer: turns what is staged into batches, one step after the other, each durable and repeatable.

    1  accept             intake.py: a pledge waits, durably, in a staged table
    2  select, build      decide what joins, sort it, make leaves, tiles and root
    3  check              read the bytes back and hash them again by another way
    4  persist            keep the batch manifest
    5  commit             sign, swap the head, staged → spent: one transaction, the commit point
    6  write_tiles        the immutable files
    7  cosign             collect the witnesses' cosignatures
    8  publish            archive the checkpoint, then replace ``checkpoint``
    9  clean_up           forget what was staged and the pending files

The head row is the truth after a crash. Before step 5 nothing was signed, and the batch is built
again; after it steps 6 to 9 are done again from the pending files: the same code in both cases.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection

from headcount_ledger import storage as tree
from headcount_ledger.building import Batch, TreeExtension, check_batch, overlay, totals_file
from headcount_ledger.pending import ObjectWriter, Pending, Plan
from headcount_ledger.storage import CHECKPOINT, Storage
from headcount_ledger.store import Head, PlacedNotice, Store
from headcount_spec.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from headcount_spec.errors import CorruptionError, ProtocolError, UnavailableError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.note import SigningKey, VerificationKey
from headcount_spec.notice import Notice, Statement, manifest_of, sign_statement
from headcount_spec.scope import WITHDRAWN, Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tile import TileReader

LEDGER_AUTHOR = "ledger"

# From a checkpoint that we have signed to the same with cosignatures.
Cosign = Callable[[bytes], bytes]

log = logging.getLogger("headcount.ledger")


@dataclass(frozen=True, slots=True)
class Selection:
    """What the next batch takes; marked in the staged tables."""

    batch: int
    day: int
    closing: tuple[ScopeId, ...]  # ascending


def no_witnesses(checkpoint: bytes) -> bytes:
    """The checkpoint as it is: the ledger's policy names no witness."""
    return checkpoint


def checkpoint_path(batch: int) -> str:
    """Where the published checkpoint of a batch is archived."""
    return f"checkpoints/{batch}"


def hint_path(scope: ScopeId) -> str:
    """Where the leaf indices of a scope's notices are listed; unauthenticated."""
    return f"scopes/{scope.hex()}"


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


class Sequencer:
    """The one writer of batches; holds the ledger's lock while it exists."""

    def __init__(
        self,
        store: Store,
        storage: Storage,
        pending: Pending,
        key: SigningKey,
        lock: Path,
        cosign: Cosign = no_witnesses,
    ) -> None:
        self._store = store
        self._storage = storage
        self._pending = pending
        self._key = key
        self._cosign = cosign
        self._lock = _lock(lock)

    def __enter__(self) -> Sequencer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another sequencer run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def seal(self, day: int) -> Batch | None:
        """One tick on this UTC day: a batch of what may join one, None if that is nothing.

        Raises:
            CorruptionError: stored bytes disagree with each other; nothing more is signed.
            UnavailableError: try again on the next tick.
            SystemExit: it is not known what is durable; start again.
        """
        head = self.recover()
        selection = self.select(head, day)
        if selection is None:
            return None
        batch = self.build(head, selection)
        self.check(head, batch)
        plan = self.persist(batch)
        head = self.commit(head, batch)
        self.finish(head, plan)
        log.info("batch %d: %d pledges, %d entries in all", batch.number, batch.pledges, batch.size)
        return batch

    def recover(self) -> Head:
        """The head, after finishing what a crash has left half done.

        Raises:
            CorruptionError: the published checkpoint is newer than the database, or another.
        """
        with self._store.read() as tx:
            head = self._store.head(tx)
        self._check_published(head)
        if head.published is None:
            head = self.finish(head, self._pending.load(head.batches - 1))
        else:
            self._pending.clear()
        return head

    def _check_published(self, head: Head) -> None:
        """Refuse to go on from another history than the one that is out."""
        raw = tree.find(self._storage, CHECKPOINT)
        if raw is None and head.batches == 0:
            raw = head.checkpoint  # the creation was interrupted
            self._storage.swap(CHECKPOINT, raw, None)
        if check_history(raw, head, self._key.verification_key) == head.size:
            return
        # The last batch is committed and not published: the checkpoint before it must be there.
        if head.published is not None:
            raise CorruptionError("the published checkpoint is older than the database says")
        if head.batches > 1 and raw != tree.find(self._storage, checkpoint_path(head.batches - 2)):
            raise CorruptionError("the published checkpoint is not that of the batch before")

    # Step 2

    def select(self, head: Head, day: int) -> Selection | None:
        """Decide what joins and mark it, durably; scopes that close accept nothing from here on."""
        day = max(day, head.day)  # a batch's day never falls
        batch = head.batches
        with self._store.write() as tx:
            terms = {scope: Manifest.from_bytes(raw) for scope, raw in self._store.manifests(tx).items()}
            open_scopes = self._store.open_scopes(tx)
            self._store.stop_accepting(tx, [scope for scope in open_scopes if terms[scope].closes < day])
            closing = self._store.closing_scopes(tx)
            # Had the clock gone back after these stopped accepting, they would still close on a later day.
            day = max([day, *(terms[scope].closes + 1 for scope in closing)])
            waiting = self._store.waiting(tx)
            joining = [
                scope
                for scope, number in waiting.items()
                if scope in closing or (number >= terms[scope].min_batch and terms[scope].opens <= day)
            ]
            taken = self._store.plan(tx, batch, joining)
        if not any(taken) and not closing:
            return None
        return Selection(batch, day, tuple(closing))

    def build(self, head: Head, selection: Selection) -> Batch:
        """Sort, make the leaves and write the batch's objects into the pending file."""
        with ObjectWriter(self._pending.objects_path) as objects, self._store.read() as tx:
            extension = TreeExtension(head, self._storage.read, objects)
            leaves = _Leaves(self._store, tx, head, selection, self._closings(tx, selection))
            extension.extend(leaves.entries())
            totals = self._store.totals(tx)
            changed = leaves.changed(totals)
            totals_object = totals_file(selection.batch, {**totals, **changed})
            objects.add(*totals_object)
            seal = Seal(
                batch=selection.batch,
                first_index=head.size,
                pledges_in_batch=leaves.pledges,
                pledges_total=head.pledges + leaves.pledges,
                day=selection.day,
                prev_seal=head.seal,
                prev_root=head.prev_root,
                prev_checkpoint=self._previous_checkpoint(head),
                totals=hashlib.sha256(totals_object[1]).digest(),
                chain=extension.chain,
            ).to_bytes()
            seal_hash = leaf_hash(seal)
            extension.extend([(seal, seal_hash)])
            extension.finish()
            digest = objects.finish()
        built = TileReader(overlay(self._pending.objects(), self._storage.read), extension.size)
        return Batch(
            number=selection.batch,
            day=selection.day,
            old_size=head.size,
            size=extension.size,
            root=built.root(),
            seal=seal_hash,
            chain=extension.chain,
            pledges=leaves.pledges,
            revisions=leaves.revisions,
            objects=digest,
            manifests=leaves.manifests,
            notices=tuple(leaves.notices),
            totals=changed,
            closed=selection.closing,
        )

    def _closings(self, tx: Connection, selection: Selection) -> list[Notice]:
        """The ledger's notices that scopes are closed."""
        notices = []
        for scope in selection.closing:
            last = self._store.last_notice(tx, scope, LEDGER_AUTHOR)
            seq, prev = (0, bytes(32)) if last is None else (last.seq + 1, last.leaf_hash)
            body = {"day": selection.day}
            statement = Statement(LEDGER_AUTHOR, scope, seq, prev, "closing", body)
            notices.append(sign_statement(statement, [self._key.seed]))
        return notices

    def _previous_checkpoint(self, head: Head) -> bytes:
        """SHA-256 of the checkpoint that was published with the batch before."""
        digest = head.published or b""
        if head.batches:
            archived = tree.find(self._storage, checkpoint_path(head.batches - 1))
            if archived is None or hashlib.sha256(archived).digest() != digest:
                raise CorruptionError("the archived checkpoint is not the one that was published")
        return digest

    # Step 3

    def check(self, head: Head, batch: Batch) -> None:
        """Read back what is about to be signed and hash it again."""
        check_batch(head, batch, self._pending.objects(), self._storage.read)

    # Step 4

    def persist(self, batch: Batch) -> Plan:
        """Keep what is needed to publish the batch after a crash."""
        hints = tuple(sorted({notice.scope for notice in batch.notices}))
        plan = Plan(batch.number, batch.old_size, batch.size, batch.root, batch.objects, hints)
        self._pending.save(plan)
        return plan

    # Step 5

    def commit(self, head: Head, batch: Batch) -> Head:
        """Sign the new head and store it with the batch's effects, all or nothing."""
        checkpoint = Checkpoint(self._key.name, batch.size, batch.root)
        new = Head(
            key=head.key,
            batches=batch.number + 1,
            size=batch.size,
            root=batch.root,
            pledges=head.pledges + batch.pledges,
            day=batch.day,
            seal=batch.seal,
            chain=batch.chain,
            checkpoint=sign_checkpoint(checkpoint, self._key),
            published=None,
        )
        with self._store.write() as tx:
            if not self._store.swap_head(tx, head, new):
                raise CorruptionError("another sequencer has moved the head")
            if self._store.spend(tx, batch.number) != (batch.pledges, batch.revisions):
                raise CorruptionError("the staged rows are not those of the batch")
            for scope, manifest in batch.manifests.items():
                self._store.add_scope(tx, scope, manifest)
            self._store.add_notices(tx, batch.notices)
            self._store.set_totals(tx, batch.totals)
            self._store.close_scopes(tx, batch.closed, batch.number)
            self._store.unstage(tx, batch.number)
        return new

    # Steps 6 to 9

    def finish(self, head: Head, plan: Plan) -> Head:
        """Publish the committed batch; done again from the start after a crash."""
        self.write_tiles(plan)
        raw = self.cosign(head)
        self.publish(head, raw)
        return self.clean_up(head, raw)

    def write_tiles(self, plan: Plan) -> None:
        """Write the batch's files; those that exist must be identical."""
        self._storage.create(self._pending.objects())
        for scope in plan.hints:
            with self._store.read() as tx:
                indices = self._store.notice_indices(tx, scope)
            self._storage.put(hint_path(scope), "".join(f"{index}\n" for index in indices).encode())

    def cosign(self, head: Head) -> bytes:
        """The head's checkpoint with cosignatures; what was archived before a crash stands."""
        archived = tree.find(self._storage, checkpoint_path(head.batches - 1))
        raw = self._cosign(head.checkpoint) if archived is None else archived
        try:
            checkpoint = open_checkpoint(raw, self._key.verification_key).checkpoint
        except ProtocolError as exc:
            raise CorruptionError(f"the checkpoint to be published is damaged: {exc}") from exc
        if (checkpoint.size, checkpoint.root) != (head.size, head.root):
            raise CorruptionError("the checkpoint to be published is not the head's")
        return raw

    def publish(self, head: Head, raw: bytes) -> None:
        """Archive the checkpoint, then replace the one that everybody reads."""
        self._check_published(head)
        self._storage.create([(checkpoint_path(head.batches - 1), raw)])
        previous = tree.find(self._storage, CHECKPOINT)
        self._storage.swap(CHECKPOINT, raw, previous)

    def clean_up(self, head: Head, raw: bytes) -> Head:
        """Note the publication, wipe what tells when an entry came, remove the pending files."""
        digest = hashlib.sha256(raw).digest()
        with self._store.write() as tx:
            if not self._store.mark_published(tx, head.batches, digest):
                raise CorruptionError("another sequencer has moved the head")
            self._store.rewrite_staged(tx)
        if not self._store.truncate_log():
            log.warning("a reader keeps the write-ahead log from being emptied; the next batch tries again")
        self._pending.clear()
        with self._store.read() as tx:
            return self._store.head(tx)


class _Leaves:
    """The entries of a batch in their order, and what they change."""

    def __init__(
        self, store: Store, tx: Connection, head: Head, selection: Selection, closings: Sequence[Notice]
    ) -> None:
        self._store = store
        self._tx = tx
        self._batch = selection.batch
        self._index = head.size
        self._closings = closings
        self._deltas: dict[ScopeId, tuple[int, int]] = {}
        self.pledges = 0
        self.revisions = 0
        self.notices: list[PlacedNotice] = []
        self.manifests: dict[ScopeId, bytes] = {}

    def entries(self) -> Iterator[tuple[bytes, LeafHash]]:
        """All but the seal."""
        for row in self._store.planned_pledges(self._tx, self._batch):
            self.pledges += 1
            self._change(row.scope, 1, 1)
            yield row.entry, row.leaf_hash
        for row in self._store.planned_revisions(self._tx, self._batch):
            self.revisions += 1
            self._change(row.scope, 0, (row.before == WITHDRAWN) - (row.choice == WITHDRAWN))
            yield row.entry, row.leaf_hash
        self._index += self.pledges + self.revisions
        yield from self._notices()

    def _notices(self) -> Iterator[tuple[bytes, LeafHash]]:
        leaves: list[tuple[LeafHash, bytes, tuple[ScopeId, str, int, str]]] = []
        for row in self._store.planned_notices(self._tx, self._batch):
            leaves.append((row.leaf_hash, row.entry, (row.scope, row.author, row.seq, row.type)))
            if row.type == "manifest":
                self.manifests[row.scope] = manifest_of(Notice.from_bytes(row.entry).statement).raw
        for notice in self._closings:
            entry, statement = notice.to_bytes(), notice.statement
            place = (statement.scope, LEDGER_AUTHOR, statement.seq, statement.type)
            leaves.append((leaf_hash(entry), entry, place))
        for hash, entry, place in sorted(leaves):
            self.notices.append(PlacedNotice(*place, hash, self._index))
            self._index += 1
            yield entry, hash

    def _change(self, scope: ScopeId, gross: int, live: int) -> None:
        before = self._deltas.get(scope, (0, 0))
        self._deltas[scope] = (before[0] + gross, before[1] + live)

    def changed(self, totals: dict[ScopeId, tuple[int, int]]) -> dict[ScopeId, tuple[int, int]]:
        """The new (gross, live) of the scopes of which it changes."""
        return {
            scope: (totals[scope][0] + gross, totals[scope][1] + live)
            for scope, (gross, live) in self._deltas.items()
        }


def _lock(path: Path) -> int | None:
    """Take the sequencer's lock; the operating system drops it with the process.

    Raises:
        UnavailableError: another sequencer has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise UnavailableError("another sequencer runs on this ledger") from exc
    return descriptor
