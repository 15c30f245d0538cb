"""A batch in the making: its leaves become bundles, tiles and totals, and are checked before they are signed.

The check takes another way than the building: it reads the bytes that will be published back from
the disk and hashes them again. A flipped bit must never get under a signed root (it has ended logs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import lt
from typing import Protocol

from headcount_ledger.head import Head
from headcount_ledger.pending import NewObjects, PendingObjects
from headcount_ledger.sealed import PlacedNotice
from headcount_spec import merkle, pledge
from headcount_spec.batch import PLEDGE_RANK, Key, check_keys, sort_key
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import CorruptionError, MalformedError, NotFoundError
from headcount_spec.merkle import LeafHash, RootHash, leaf_hash
from headcount_spec.pledge import Nullifier, read_nullifier
from headcount_spec.quotas import option_rows
from headcount_spec.scope import MAX_OPTIONS, ScopeId
from headcount_spec.seal import Seal, chain_extend, chain_over
from headcount_spec.tile import (
    TILE_WIDTH,
    Bundle,
    Fetch,
    Tile,
    TileBuilder,
    TileReader,
    decode_bundle,
    encode_bundle,
    new_bundles,
    new_tiles,
)
from headcount_spec.totals import encode_totals, totals_path


@dataclass(frozen=True, slots=True)
class Batch:
    """A built batch: what the commit writes into the database."""

    number: int
    day: int
    old_size: int
    size: int  # the seal included
    root: RootHash
    seal: LeafHash
    chain: bytes  # over every leaf, the seal included
    pledges: int
    revisions: int
    objects: bytes  # SHA-256 of the file of objects
    manifests: Mapping[ScopeId, bytes] = field(repr=False)
    notices: tuple[PlacedNotice, ...] = field(repr=False)
    totals: Mapping[ScopeId, tuple[int, int]] = field(repr=False)  # of the scopes that changed
    options: Mapping[tuple[ScopeId, int], int] = field(repr=False)  # live at the options that changed
    closed: tuple[ScopeId, ...] = field(repr=False)


class TreeExtension:
    """Adds entries to the published tree and writes the objects that are new."""

    def __init__(self, head: Head, fetch: Fetch, objects: NewObjects) -> None:
        full, partial = divmod(head.size, TILE_WIDTH)
        try:
            reader = TileReader(fetch, head.size)
            if reader.root() != head.root:
                raise CorruptionError("the published tiles do not lead to the root of the head")
            self._builder = TileBuilder(head.size, fetch)
            self._entries = list(reader.bundle(full)) if partial else []
        except (MalformedError, NotFoundError) as exc:
            raise CorruptionError(f"the published tree is damaged: {exc}") from exc
        self._objects = objects
        self.size = head.size
        self.chain = head.chain

    def extend(self, entries: Sequence[bytes], hashes: Sequence[LeafHash]) -> None:
        """Add entries with their leaf hashes, as many of the one as of the other."""
        first = self.size - len(self._entries)  # index of the first that is in no bundle yet
        self._entries += entries
        self.size += len(entries)
        self.chain = chain_over(self.chain, hashes)
        whole = len(self._entries) - len(self._entries) % TILE_WIDTH
        for at in range(0, whole, TILE_WIDTH):
            bundle = encode_bundle(self._entries[at : at + TILE_WIDTH])
            self._objects.add(Bundle((first + at) // TILE_WIDTH).path, bundle)
        del self._entries[:whole]
        for tile, data in self._builder.extend(hashes):
            self._objects.add(tile.path, data)

    def finish(self) -> None:
        """Write the partial tiles and the partial bundle at the right edge."""
        for tile, data in self._builder.partial_tiles():
            self._objects.add(tile.path, data)
        if self._entries:
            width = len(self._entries)
            self._objects.add(Bundle(self.size // TILE_WIDTH, width).path, encode_bundle(self._entries))


def overlay(objects: PendingObjects, fetch: Fetch) -> Fetch:
    """The tree with the batch's objects: from the pending file, else from what is published."""

    def read(path: str) -> bytes:
        return objects.read(path) if path in objects else fetch(path)

    return read


class Follower(Protocol):
    """Is shown every new entry while the batch is checked, in their order."""

    def take_pledges(self, entries: Sequence[bytes], nullifiers: Sequence[Nullifier]) -> None:
        """The next pledges, and the nullifier of each."""
        ...

    def take(self, entry: Entry, hash: LeafHash, index: int) -> None:
        """The next entry that is no pledge, its hash and its leaf index."""
        ...


def check_batch(head: Head, batch: Batch, objects: PendingObjects, fetch: Fetch, follower: Follower) -> None:
    """Hash the bytes that are about to be published again, and compare everything with what was built.

    Raises:
        CorruptionError: something differs; nothing may be signed.
    """
    if objects.digest() != batch.objects:
        raise CorruptionError("the batch's file reads back with other bytes")
    try:
        hashes = _check_entries(head, batch, objects, fetch, follower)
        if TileReader(fetch, head.size).root() != head.root:
            raise CorruptionError("the published tiles do not lead to the root of the head")
        _check_tiles(batch, objects, fetch, hashes)
        # Every new hash of these tiles was made again just now, from the entries up.
        root = TileReader(overlay(objects, fetch), batch.size).root()
    except (MalformedError, NotFoundError) as exc:
        raise CorruptionError(f"the built batch is damaged: {exc}") from exc
    if batch.old_size + len(hashes) != batch.size or root != batch.root:
        raise CorruptionError("the built tiles lead to another root than the entries")


def _check_entries(
    head: Head, batch: Batch, objects: PendingObjects, fetch: Fetch, follower: Follower
) -> list[LeafHash]:
    """The leaf hashes of the batch's entries, hashed from the bundles."""
    published = TileReader(fetch, batch.old_size)
    check = _EntryCheck(head, follower)
    hashes: list[LeafHash] = []
    for bundle in new_bundles(batch.old_size, batch.size):
        entries = decode_bundle(objects.read(bundle.path), bundle.width)
        known = max(0, batch.old_size - bundle.index * TILE_WIDTH)
        if known and b"".join(map(leaf_hash, entries[:known])) != published.tile(0, bundle.index):
            raise CorruptionError("the partial bundle does not repeat the entries that are published")
        fresh = entries[known:]
        fresh_hashes = [leaf_hash(entry) for entry in fresh]
        check.take(fresh, fresh_hashes)
        hashes += fresh_hashes
    check.finish(batch, objects.read(totals_path(batch.number)))
    return hashes


class _EntryCheck:
    """Follows the entries of one batch as they stand in the bundles."""

    def __init__(self, head: Head, follower: Follower) -> None:
        self._head = head
        self._follower = follower
        self._index = head.size
        self._chain = self._before_last = head.chain
        self._pledges = 0
        self._last: Entry | None = None
        self._last_key: Key = (0, b"", 0)
        self._last_hash = LeafHash(bytes(32))

    def take(self, entries: list[bytes], hashes: list[LeafHash]) -> None:
        """The next entries and their hashes."""
        nullifiers = self._take_pledges(entries)
        for entry, hash in zip(entries[len(nullifiers) :], hashes[len(nullifiers) :], strict=True):
            self._last = parse_entry(entry)
            key = sort_key(self._last)
            if check_keys([self._last_key, key]) is not None:
                raise CorruptionError("the batch is not in order")
            self._last_key = key
            self._follower.take(self._last, hash, self._index)
            self._index += 1
        self._before_last = chain_over(self._chain, hashes[:-1])
        self._chain, self._last_hash = chain_extend(self._before_last, hashes[-1]), hashes[-1]

    def _take_pledges(self, entries: list[bytes]) -> list[Nullifier]:
        """The nullifiers of the pledges that stand before everything else."""
        nullifiers = []
        for entry in entries:
            if entry[:2] != pledge.HEADER:
                break
            nullifiers.append(read_nullifier(entry))
        if nullifiers:
            first: Key = (PLEDGE_RANK, nullifiers[0], 0)
            if check_keys([self._last_key, first]) is not None:
                raise CorruptionError("the batch is not in order")
            # In order, so that a nullifier that stands twice stands beside itself.
            if first == self._last_key or not all(map(lt, nullifiers, nullifiers[1:])):
                twice = first == self._last_key or len(set(nullifiers)) < len(nullifiers)
                fault = "a nullifier stands twice in the batch" if twice else "the batch is not in order"
                raise CorruptionError(fault)
            self._last, self._last_key = None, (PLEDGE_RANK, nullifiers[-1], 0)
            self._follower.take_pledges(entries[: len(nullifiers)], nullifiers)
            self._pledges += len(nullifiers)
            self._index += len(nullifiers)
        return nullifiers

    def finish(self, batch: Batch, totals: bytes) -> None:
        """Compare the seal with the entries before it."""
        head = self._head
        expected = Seal(
            batch=head.batches,
            first_index=head.size,
            pledges_in_batch=self._pledges,
            pledges_total=head.pledges + self._pledges,
            day=batch.day,
            prev_seal=head.seal,
            prev_root=head.prev_root,
            prev_checkpoint=head.published or b"",
            totals=hashlib.sha256(totals).digest(),
            chain=self._before_last,
        )
        if self._last != expected or batch.pledges != self._pledges or batch.day < head.day:
            raise CorruptionError("the seal does not fit the batch")
        if self._last_hash != batch.seal or self._chain != batch.chain:
            raise CorruptionError("the chain does not fit the batch")


def _check_tiles(batch: Batch, objects: PendingObjects, fetch: Fetch, hashes: list[LeafHash]) -> None:
    """Every hash of every new tile: from the entries at level 0, from the tiles below above it."""
    published = TileReader(fetch, batch.old_size)
    extended = TileReader(overlay(objects, fetch), batch.size)
    for tile in new_tiles(batch.old_size, batch.size):
        first = tile.index * TILE_WIDTH
        known = max(0, (batch.old_size >> 8 * tile.level) - first)
        expected: list[bytes] = [published.tile(tile.level, tile.index)] if known else []
        if tile.level == 0:
            expected += hashes[first + known - batch.old_size : first + tile.width - batch.old_size]
        else:
            for index in range(first + known, first + tile.width):
                below = extended.tile(tile.level - 1, index)
                expected.append(merkle.root([below[i : i + 32] for i in range(0, len(below), 32)]))
        if objects.read(tile.path) != b"".join(expected):
            raise CorruptionError(f"{tile.path} does not fit what is below it")


def completed(old_size: int, new_size: int) -> list[Tile | Bundle]:
    """The full tiles and bundles of the new size of which the old size had partial ones."""
    parts: list[Tile | Bundle] = [*new_tiles(old_size, new_size), *new_bundles(old_size, new_size)]
    return [
        part
        for part in parts
        if part.is_full
        and part.index * TILE_WIDTH < old_size >> 8 * (part.level if isinstance(part, Tile) else 0)
    ]


def totals_file(
    batch: int, totals: Mapping[ScopeId, tuple[int, int]], options: Mapping[tuple[ScopeId, int], int]
) -> tuple[str, bytes]:
    """Path and bytes of the file of counts: the scopes that have pledges, the options that have live ones.

    Raises:
        CorruptionError: a stored choice or count is none.
    """
    if any(live < 0 or not 1 <= option <= MAX_OPTIONS for (_, option), live in options.items()):
        raise CorruptionError("the stored counts of options are damaged")
    rows = {scope: counts for scope, counts in totals.items() if counts[0]}
    for (scope, option), live in options.items():
        rows.update(option_rows(scope, {option: live}))
    return totals_path(batch), encode_totals(rows)
