"""What the commit of a batch writes into the database, against the entries that will be published.

``building`` checks the bytes of a batch. Here the rows that go into the spent set, the counts and the
head are compared with those bytes, so that a bit which flipped in the database gets neither under a
signed seal nor into what later decides about a nullifier.

KNOWN: not every spent row is read again for every batch. One that changed is found by ``headcount
ledger fsck``, as is a tile that no longer stands at the right edge.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter

from sqlalchemy import Connection

from headcount_ledger import sealed, taking
from headcount_ledger.building import Batch
from headcount_ledger.head import Head
from headcount_ledger.pending import PendingObjects
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import CorruptionError, MalformedError, NotFoundError, UnknownKeyError
from headcount_spec.merkle import EMPTY_ROOT, LeafHash, leaf_hash
from headcount_spec.notice import Notice, author, manifest_of
from headcount_spec.pledge import Nullifier
from headcount_spec.quotas import option_id
from headcount_spec.revision import Revision
from headcount_spec.scope import MAX_OPTIONS, WITHDRAWN, ScopeId
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_start
from headcount_spec.tile import Fetch, TileReader
from headcount_spec.totals import decode_totals, totals_path

Totals = dict[ScopeId, tuple[int, int]]

# Of the fixed part of a pledge (headcount_spec.pledge): scope, choice, revision key.
_PLEDGE = struct.Struct(">2x32sH32s")
_SCOPE_AND_CHOICE = itemgetter(1, 2)


def check_head(head: Head, origin: str, fetch: Fetch) -> Seal | None:
    """The last published seal, which must say what the head row says; None before any batch.

    Raises:
        CorruptionError: it says something else, or is not there.
    """
    if head.batches == 0:
        empty = (0, EMPTY_ROOT, 0, 0, GENESIS, chain_start(origin))
        if (head.size, head.root, head.pledges, head.day, head.seal, head.chain) != empty:
            raise CorruptionError("the head of the empty ledger is damaged")
        return None
    try:
        entry = TileReader(fetch, head.size).entry(head.size - 1)
        seal = parse_entry(entry)
    except (MalformedError, NotFoundError, ValueError) as exc:
        raise CorruptionError("the last published seal cannot be read") from exc
    if not isinstance(seal, Seal) or leaf_hash(entry) != head.seal:
        raise CorruptionError("the last published entry is not the seal that the head names")
    said = (seal.batch + 1, seal.pledges_total, seal.day, chain_extend(seal.chain, head.seal))
    if said != (head.batches, head.pledges, head.day, head.chain):
        raise CorruptionError("the head says something else than the last published seal")
    return seal


def _totals_before(last: Seal | None, fetch: Fetch) -> Totals:
    if last is None:
        return {}
    data = fetch(totals_path(last.batch))
    if hashlib.sha256(data).digest() != last.totals:
        raise CorruptionError("the published totals are not those of the last seal")
    return decode_totals(data)


def _check_totals(expected: Totals, batch: Batch, objects: PendingObjects) -> None:
    if decode_totals(objects.read(totals_path(batch.number))) != expected:
        raise CorruptionError("the counts are not those of the last seal and the entries of the batch")
    stored = {option_id(scope, option): (live, live) for (scope, option), live in batch.options.items()}
    if any(expected.get(row, (0, 0)) != counts for row, counts in stored.items()):
        raise CorruptionError("the counts of options to be stored are not those to be published")
    if any(batch.totals[scope] != expected.get(scope) for scope in batch.totals):
        raise CorruptionError("the counts to be stored are not those to be published")


class Effects:
    """Compares what the commit will write with the entries of the built batch, while these are checked.

    A ``Follower`` of ``building.check_batch``: walks through the rows that the entries came from.

    Raises, as all its methods:
        CorruptionError: a staged row, a count or a scope's terms say something else than the entries.
    """

    def __init__(self, tx: Connection, last: Seal | None, batch: Batch, fetch: Fetch) -> None:
        """last is the seal that ``check_head`` gave."""
        self._tx = tx
        self._batch = batch
        try:
            self._totals = _totals_before(last, fetch)  # brought up to date on the way
        except (MalformedError, NotFoundError) as exc:
            raise CorruptionError(f"the published totals are damaged: {exc}") from exc
        self._gross: Counter[tuple[ScopeId, int]] = Counter()  # new pledges by scope and choice
        self._pledges = taking.spent_by(tx, batch.number)
        self._revisions = taking.revisions(tx, batch.number)
        self._notices = iter(batch.notices)
        self._has_quotas: dict[ScopeId, bool] = {}

    def take_pledges(self, entries: Sequence[bytes], nullifiers: Sequence[Nullifier]) -> None:
        """The next pledges."""
        fields = map(_PLEDGE.unpack_from, entries)
        said = [(name, *row) for name, row in zip(nullifiers, fields, strict=True)]
        if list(islice(self._pledges, len(said))) != said:
            raise CorruptionError("a staged pledge says something else than its entry")
        self._gross.update(map(_SCOPE_AND_CHOICE, said))

    def take(self, entry: Entry, hash: LeafHash, index: int) -> None:
        """The next of the other entries."""
        if isinstance(entry, Revision):
            self._take_revision(entry, hash)
        elif isinstance(entry, Notice):
            self._take_notice(entry, hash, index)

    def finish(self, objects: PendingObjects) -> None:
        """Nothing more comes: compare the counts."""
        try:
            for (scope, choice), number in self._gross.items():
                before = self._totals.get(scope, (0, 0))
                self._totals[scope] = before[0] + number, before[1] + number
                self._count_option(scope, choice, number)
            if any(next(rest, None) is not None for rest in (self._pledges, self._revisions, self._notices)):
                raise CorruptionError("the batch leaves out what was planned for it")
            _check_totals(self._totals, self._batch, objects)
        except (MalformedError, NotFoundError) as exc:
            raise CorruptionError(f"the built batch is damaged: {exc}") from exc

    def _count_option(self, scope: ScopeId, choice: int, number: int) -> None:
        if scope not in self._has_quotas:
            manifest = sealed.manifest(self._tx, scope)
            self._has_quotas[scope] = manifest is not None and manifest.quotas is not None
        if not self._has_quotas[scope]:
            return
        if not 1 <= choice <= MAX_OPTIONS:
            raise CorruptionError("a stored choice is no option")
        row = option_id(scope, choice)
        live = self._totals.pop(row, (0, 0))[1] + number
        if live:
            self._totals[row] = live, live

    def _take_revision(self, revision: Revision, hash: LeafHash) -> None:
        row = next(self._revisions, None)
        said = (revision.nullifier, revision.scope_id, hash, revision.choice, revision.serial)
        if row is None or (row.nullifier, row.scope, row.leaf_hash, row.choice, row.serial) != said:
            raise CorruptionError("a staged revision says something else than its entry")
        if row.serial_before != revision.serial - 1:
            raise CorruptionError("a staged revision is not the next one of its pledge")
        gross, live = self._totals.get(revision.scope_id, (0, 0))
        live += (row.before == WITHDRAWN) - (revision.choice == WITHDRAWN)
        self._totals[revision.scope_id] = gross, live
        for choice, number in ((row.before, -1), (revision.choice, 1)):
            if choice != WITHDRAWN:
                self._count_option(revision.scope_id, choice, number)

    def _take_notice(self, notice: Notice, hash: LeafHash, index: int) -> None:
        placed = next(self._notices, None)
        statement = notice.statement
        said = (statement.scope, statement.seq, statement.type, hash, index)
        if (
            placed is None
            or (placed.scope, placed.seq, placed.type, placed.leaf_hash, placed.leaf_index) != said
        ):
            raise CorruptionError("a staged notice says something else than its entry")
        raw = self._batch.manifests.get(statement.scope)
        if statement.type == "manifest" and manifest_of(statement).raw != raw:
            raise CorruptionError("the terms to be stored are not those to be published")
        manifest = sealed.manifest(self._tx, statement.scope) if raw is None else sealed.parse_manifest(raw)
        try:
            if manifest is None or author(notice, manifest) != placed.author:
                raise CorruptionError("a staged notice is under another author's name")
        except UnknownKeyError as exc:
            raise CorruptionError("a staged notice is signed by nobody whom the terms name") from exc
