"""The sequencer: turns what is staged into batches, one step after the other, each durable and repeatable.

    1  accept             intake.py: a pledge waits, durably, in a staged table
    2  select, build      decide what joins, sort it, make leaves, tiles and root
    3  check              read the bytes back and hash them again by another way
    4  persist            keep the batch manifest
    5  commit             sign, swap the head, staged → spent: one transaction, the commit point
    6  write_tiles        the immutable files
    7  cosign             collect the witnesses' cosignatures; without their quorum nothing is published
    8  publish            archive the checkpoint, then replace ``checkpoint``
    9  collect, clean_up  remove the partial tiles that are full now; forget what was staged and the
                          pending files

The head row is the truth after a crash. Before step 5 nothing was signed, and the batch is built
again; after it steps 6 to 9 are done again from the pending files: the same code in both cases.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from headcount_ledger import sealed, staged, taking
from headcount_ledger.building import Batch, TreeExtension, check_batch, completed, overlay, totals_file
from headcount_ledger.effects import Effects, check_head
from headcount_ledger.head import Head, load_head, mark_published, swap_head
from headcount_ledger.history import check_published, checkpoint_path, previous_checkpoint
from headcount_ledger.leaves import Leaves, Selection
from headcount_ledger.pending import PendingBatch, Plan
from headcount_ledger.storage import CHECKPOINT, Storage, find
from headcount_ledger.store import LockedStore
from headcount_spec.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from headcount_spec.errors import CorruptionError, ProtocolError, UnavailableError
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tile import TileReader

# From a checkpoint that we have signed to the same with cosignatures; UnavailableError without a quorum.
Cosign = Callable[[bytes], bytes]

log = logging.getLogger("headcount.ledger")


def no_witnesses(checkpoint: bytes) -> bytes:
    """The checkpoint as it is: the ledger's policy names no witness."""
    return checkpoint


def hint_path(scope: ScopeId) -> str:
    """Where the leaf indices of a scope's notices are listed; unauthenticated."""
    return f"scopes/{scope.hex()}"


class Sequencer:
    """The one writer of batches: its store holds the ledger's lock."""

    def __init__(
        self,
        store: LockedStore,
        storage: Storage,
        pending: PendingBatch,
        key: SigningKey,
        cosign: Cosign = no_witnesses,
    ) -> None:
        self._store = store
        self._storage = storage
        self._pending = pending
        self._key = key
        self._cosign = cosign

    def seal(self, day: int) -> Batch | None:
        """One tick on this UTC day: a batch of what may join one, None if that is nothing.

        Raises:
            CorruptionError: stored bytes disagree with each other or with a witness; nothing more is signed.
            UnavailableError: try again on the next tick. A batch that is committed and waits for its
                witnesses is published before another is begun.
            SystemExit: it is not known what is durable; start again.
        """
        head = self.recover()
        selection = self.select(head, day)
        if selection is None:
            return None
        self._cosign(head.checkpoint)  # see consult: without a quorum nothing is committed
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
            head = load_head(tx)
        check_published(self._storage, head, self._key.verification_key)
        if head.published is None:
            head = self.finish(head, self._pending.load(head.batches - 1))
        else:
            self._pending.clear()
        return head

    def consult(self, head: Head) -> None:
        """Hear from the witnesses about the published head, before anything is signed after it.

        One that has seen more stops us. That too few answer does not: entries are accepted all the same,
        and each batch asks again before it is committed, so that none waits long between its day and
        its cosignatures.

        Raises:
            CorruptionError: a witness has a checkpoint of ours that does not agree with the database.
        """
        try:
            self._cosign(head.checkpoint)
        except UnavailableError as exc:
            log.warning("no quorum of witnesses at present: %s", exc)

    # Step 2

    def select(self, head: Head, day: int) -> Selection | None:
        """Decide what joins and mark it, durably; scopes that close accept nothing from here on."""
        day = max(day, head.day)  # a batch's day never falls
        batch = head.batches
        with self._store.write() as tx:
            staged.settle(tx)  # from here on who comes is late
            terms = sealed.manifests(tx)
            waiting = taking.waiting(tx)
            taking.check(tx, terms.keys(), waiting.keys())
            open_scopes = sealed.open_scopes(tx)
            sealed.stop_accepting(tx, [scope for scope in open_scopes if terms[scope].closes < day])
            closing = sealed.closing_scopes(tx)
            # Had the clock gone back after these stopped accepting, they would still close on a later day.
            day = max([day, *(terms[scope].closes + 1 for scope in closing)])
            joining = [
                scope
                for scope, number in waiting.items()
                if scope in closing or (number >= terms[scope].min_batch and terms[scope].opens <= day)
            ]
            takes_any = taking.plan(tx, batch, joining)
        if not takes_any and not closing:
            return None
        return Selection(batch, day, tuple(closing))

    def build(self, head: Head, selection: Selection) -> Batch:
        """Sort, make the leaves and write the batch's objects into the pending file."""
        with self._pending.writer() as objects, self._store.read() as tx:
            extension = TreeExtension(head, self._storage.read, objects)
            leaves = Leaves(tx, head, selection, self._key)
            for entries, hashes in leaves.blocks():
                extension.extend(entries, hashes)
            totals = sealed.totals(tx)
            changed = leaves.changed(totals)
            options = sealed.options(tx)
            changed_options = leaves.changed_options(options)
            totals_object = totals_file(
                selection.batch, {**totals, **changed}, {**options, **changed_options}
            )
            objects.add(*totals_object)
            seal = Seal(
                batch=selection.batch,
                first_index=head.size,
                pledges_in_batch=leaves.pledges,
                pledges_total=head.pledges + leaves.pledges,
                day=selection.day,
                prev_seal=head.seal,
                prev_root=head.prev_root,
                prev_checkpoint=previous_checkpoint(self._storage, head),
                totals=hashlib.sha256(totals_object[1]).digest(),
                chain=extension.chain,
            ).to_bytes()
            seal_hash = leaf_hash(seal)
            extension.extend([seal], [seal_hash])
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
            options=changed_options,
            closed=selection.closing,
        )

    # Step 3

    def check(self, head: Head, batch: Batch) -> None:
        """Read back what is about to be signed and hash it again, and what is about to be stored with it."""
        objects = self._pending.objects()
        last = check_head(head, self._key.name, self._storage.read)
        with self._store.read() as tx:
            effects = Effects(tx, last, batch, self._storage.read)
            check_batch(head, batch, objects, self._storage.read, effects)
            effects.finish(objects)

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
            if not swap_head(tx, head, new):
                raise CorruptionError("another sequencer has moved the head")
            if taking.spend(tx, batch.number) != (batch.pledges, batch.revisions):
                raise CorruptionError("the staged rows are not those of the batch")
            for scope, manifest in batch.manifests.items():
                sealed.add_scope(tx, scope, manifest)
            sealed.add_notices(tx, batch.notices)
            sealed.set_totals(tx, batch.totals)
            sealed.set_options(tx, batch.options)
            sealed.close_scopes(tx, batch.closed, batch.number)
            taking.unstage(tx, batch.number)
        return new

    # Steps 6 to 9

    def finish(self, head: Head, plan: Plan) -> Head:
        """Publish the committed batch; done again from the start after a crash."""
        self.write_tiles(plan)
        raw = self.cosign(head)
        self.publish(head, raw)
        self.collect(plan)
        return self.clean_up(head, raw)

    def write_tiles(self, plan: Plan) -> None:
        """Write the batch's files; those that exist must be identical."""
        self._store.check()
        self._storage.create(self._pending.objects())
        # KNOWN: a sequencer that stands still in this loop while another takes over may write a hint over a
        # newer one. It lacks the newest notices until the next batch that has one of the same scope.
        self._store.check()
        for scope in plan.hints:
            with self._store.read() as tx:
                indices = sealed.notice_indices(tx, scope)
            self._storage.put(hint_path(scope), "".join(f"{index}\n" for index in indices).encode())

    def cosign(self, head: Head) -> bytes:
        """The head's checkpoint with cosignatures; what was archived before a crash stands."""
        archived = find(self._storage, checkpoint_path(head.batches - 1))
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
        previous = check_published(self._storage, head, self._key.verification_key)
        self._storage.create([(checkpoint_path(head.batches - 1), raw)])
        self._storage.swap(CHECKPOINT, raw, previous)

    def collect(self, plan: Plan) -> None:
        """Remove the partial files of what the batch has made full (c2sp.org/tlog-tiles, Partial Tiles)."""
        for part in completed(plan.old_size, plan.size):
            self._storage.collect(part.path)

    def clean_up(self, head: Head, raw: bytes) -> Head:
        """Note the publication, wipe what tells when an entry came, remove the pending files."""
        digest = hashlib.sha256(raw).digest()
        with self._store.write() as tx:
            if not mark_published(tx, head.batches, digest):
                raise CorruptionError("another sequencer has moved the head")
            taking.rewrite(tx)
        if not self._store.wipe():
            log.warning("a reader keeps deleted rows from being wiped; the next batch tries again")
        self._pending.clear()
        with self._store.read() as tx:
            return load_head(tx)
