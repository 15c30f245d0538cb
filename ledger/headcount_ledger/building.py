"""A batch in the making: its leaves become bundles, tiles and totals, and are checked before they are signed.

The check takes another way than the building: it reads the bytes that will be published back from
the disk and hashes them again. A flipped bit must never get under a signed root (it has ended logs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from headcount_ledger.head import Head
from headcount_ledger.pending import NewObjects, PendingObjects
from headcount_ledger.sealed import PlacedNotice
from headcount_spec import merkle
from headcount_spec.batch import PLEDGE_RANK, Key, check_keys, sort_key
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import CorruptionError, MalformedError, NotFoundError
from headcount_spec.merkle import CompactRange, LeafHash, RootHash, leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.quotas import option_rows
from headcount_spec.scope import MAX_OPTIONS, ScopeId
from headcount_spec.seal import Seal, chain_extend
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

    def extend(self, entries: Iterable[tuple[bytes, LeafHash]]) -> None:
        """Add entries with their leaf hashes."""
        for tile, data in self._builder.extend(self._leaves(entries)):
            self._objects.add(tile.path, data)

    def _leaves(self, entries: Iterable[tuple[bytes, LeafHash]]) -> Iterator[LeafHash]:
        for entry, hash in entries:
            self._entries.append(entry)
            self.size += 1
            if len(self._entries) == TILE_WIDTH:
                self._objects.add(Bundle(self.size // TILE_WIDTH - 1).path, encode_bundle(self._entries))
                self._entries.clear()
            self.chain = chain_extend(self.chain, hash)
            yield hash

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


def check_batch(head: Head, batch: Batch, objects: PendingObjects, fetch: Fetch) -> None:
    """Hash the bytes that are about to be published again, and compare everything with what was built.

    Raises:
        CorruptionError: something differs; nothing may be signed.
    """
    if objects.digest() != batch.objects:
        raise CorruptionError("the batch's file reads back with other bytes")
    try:
        hashes = _check_entries(head, batch, objects, fetch)
        _check_tiles(batch, objects, fetch, hashes)
        tree = _range(fetch, head.size)
    except (MalformedError, NotFoundError) as exc:
        raise CorruptionError(f"the built batch is damaged: {exc}") from exc
    if tree.root() != head.root:
        raise CorruptionError("the published tiles do not lead to the root of the head")
    tree.extend(hashes)
    if tree.size != batch.size or tree.root() != batch.root:
        raise CorruptionError("the built tiles lead to another root than the entries")


def _range(fetch: Fetch, size: int) -> CompactRange:
    """The compact range of the published tree."""
    reader = TileReader(fetch, size)
    hashes, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            hashes.append(reader.hash(level, start >> level))
            start += 1 << level
    return CompactRange.from_hashes(size, hashes)


def _check_entries(head: Head, batch: Batch, objects: PendingObjects, fetch: Fetch) -> list[LeafHash]:
    """The leaf hashes of the batch's entries, hashed from the bundles."""
    published = TileReader(fetch, batch.old_size)
    check = _EntryCheck(head)
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

    def __init__(self, head: Head) -> None:
        self._head = head
        self._chain = self._before_last = head.chain
        self._pledges = 0
        self._last: list[Entry] = []
        self._last_keys: list[Key] = []
        self._last_hash = LeafHash(bytes(32))

    def take(self, entries: list[bytes], hashes: list[LeafHash]) -> None:
        """The next entries and their hashes."""
        parsed = [parse_entry(entry) for entry in entries]
        keys = self._last_keys + [sort_key(entry) for entry in parsed]
        if check_keys(keys) is not None:
            raise CorruptionError("the batch is not in order")
        # In order, so that a nullifier that stands twice stands beside itself.
        if any(one == next_ and one[0] == PLEDGE_RANK for one, next_ in pairwise(keys)):
            raise CorruptionError("a nullifier stands twice in the batch")
        self._pledges += sum(isinstance(entry, Pledge) for entry in parsed)
        for hash in hashes:
            self._before_last, self._chain = self._chain, chain_extend(self._chain, hash)
        self._last, self._last_keys, self._last_hash = parsed[-1:], keys[-1:], hashes[-1]

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
        if self._last != [expected] or batch.pledges != self._pledges or batch.day < head.day:
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
        expected = published.tile(tile.level, tile.index) if known else b""
        for index in range(first + known, first + tile.width):
            if tile.level == 0:
                expected += hashes[index - batch.old_size]
            else:
                below = extended.tile(tile.level - 1, index)
                expected += merkle.root([below[i : i + 32] for i in range(0, len(below), 32)])
        if objects.read(tile.path) != expected:
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
