"""Large valid ledgers in a folder, sealed by the specification alone; and sealing on from any batch of one.

The main scope and its pledges are those of bench/factory.py. A second one with two issuers, options, changes
and a closing runs beside it, so that every rule of the audit has something to look at.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "bench"))

import factory

import ledgers
import manifests
from headcount_ledger.reader.fetch import directory_fetch
from headcount_spec import batch as batches
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.entry import Entry
from headcount_spec.merkle import CompactRange, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Log, Policy
from headcount_spec.revision import Revision, revision_message
from headcount_spec.scope import NO_SEALED_HASH, WITHDRAWN, Manifest, ScopeId
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_start
from headcount_spec.signature import sign
from headcount_spec.text import format_day
from headcount_spec.tile import TILE_WIDTH, Bundle, TileBuilder, TileReader, encode_bundle
from headcount_spec.totals import decode_totals, encode_totals

KEY: SigningKey = manifests.LEDGER_KEY
DAY = 20_000  # of the terms
BATCHES = 20  # of pledges, two a day
SPARE = 64  # pledges that are kept out, for who needs a valid one more
CLOSING = 17  # batch that closes the second scope
ISSUANCES = (6, 12, 18)  # batches with a number of every issuer

Totals = dict[ScopeId, tuple[int, int]]


def day_of(batch: int) -> int:
    return DAY if batch == 0 else DAY + 1 + (batch - 1) // 2


def main() -> Manifest:
    manifest: Manifest = factory.manifest()
    return manifest


@cache
def second() -> Manifest:
    return manifests.manifest(
        kind="round",
        title=manifests.both("Where to", "Où aller"),
        issuers=[manifests.issuer(0, token_key=2), manifests.issuer(1, token_key=3)],
        options=manifests.options("Here", "There"),
        opens=format_day(DAY + 2),
        freezes=format_day(DAY + 6),
        closes=format_day(DAY + 8),
        max_hold=0,
        tiers=None,
        action=None,
        threshold=20,
    )


def second_pledge(i: int) -> Pledge:
    pledge: Pledge = manifests.pledge(second(), 100 + i, 1 + i % 2)
    return pledge


def second_revision(i: int, serial: int = 1, choice: int = WITHDRAWN) -> Revision:
    revision: Revision = manifests.revision(second_pledge(i), 100 + i, serial, choice)
    return revision


def main_revision(i: int, pledge: Pledge, serial: int = 1, choice: int = WITHDRAWN) -> Revision:
    """Of the factory's pledge number i."""
    message = revision_message(pledge.scope_id, pledge.nullifier, serial, choice, NO_SEALED_HASH)
    seed = hashlib.sha256(b"bench %d" % i).digest()
    return Revision(pledge.scope_id, pledge.nullifier, serial, choice, NO_SEALED_HASH, sign(seed, message))


def policy() -> Policy:
    return Policy(logs=(Log(KEY.verification_key),))


class Writer:
    """Entries into bundles and tiles, from the first or from any size of a base whose files are there."""

    def __init__(self, folder: Path, base: Base | None = None, size: int = 0) -> None:
        self.folder = folder
        self.tree = CompactRange()
        self.builder = TileBuilder()
        self.open: list[bytes] = []  # entries of the last, partial bundle
        if base is not None and size:
            self.tree = base.range_at(size)
            self.builder = TileBuilder(size, base.fetch)
            full = size // TILE_WIDTH
            self.open = base.reader.bundle(full)[: size % TILE_WIDTH] if size % TILE_WIDTH else []

    def append(self, entry: bytes, leaf: bytes) -> None:
        self.tree.append(leaf)
        self.open.append(entry)
        if len(self.open) == TILE_WIDTH:
            self._put_full(Bundle(self.tree.size // TILE_WIDTH - 1).path, encode_bundle(self.open))
            self.open = []
        for tile, data in self.builder.extend((leaf,)):
            self._put_full(tile.path, data)

    def write_partials(self) -> None:
        """Those of the tree so far; a ledger keeps them until the full ones are there."""
        for tile, data in self.builder.partial_tiles():
            put(self.folder, tile.path, data)
        size = self.tree.size
        if size % TILE_WIDTH:
            put(self.folder, Bundle(size // TILE_WIDTH, size % TILE_WIDTH).path, encode_bundle(self.open))

    def _put_full(self, path: str, data: bytes) -> None:
        shutil.rmtree(self.folder / f"{path}.p", ignore_errors=True)
        put(self.folder, path, data)


class Sealer(Writer):
    """Seals batches into a folder, from the first or behind those that are there."""

    def __init__(self, folder: Path, base: Base | None = None, batch: int = 0) -> None:
        super().__init__(folder, base, base.first(batch) if base is not None else 0)
        self.batch = batch
        self.chain = chain_start(KEY.name)
        self.prev_seal = self.prev_checkpoint = GENESIS
        self.pledges = 0
        if base is not None and batch:
            seal = base.seal(batch - 1)
            self.prev_seal = leaf_hash(seal.to_bytes())
            self.chain = chain_extend(seal.chain, self.prev_seal)
            self.prev_checkpoint = hashlib.sha256(base.read(f"checkpoints/{batch - 1}")).digest()
            self.pledges = seal.pledges_total

    def close(
        self,
        entries: Sequence[bytes],
        day: int,
        totals: Totals,
        edit_seal: Callable[[Seal], Seal] = lambda seal: seal,
    ) -> None:
        first, root = self.tree.size, self.tree.root()
        in_batch = sum(entry[:1] == b"\x01" for entry in entries)
        self.pledges += in_batch
        for entry in entries:
            leaf = leaf_hash(entry)
            self.chain = chain_extend(self.chain, leaf)
            self.append(entry, leaf)
        data = encode_totals(totals)
        seal = edit_seal(
            Seal(
                self.batch,
                first,
                in_batch,
                self.pledges,
                day,
                self.prev_seal,
                bytes(root) if first else GENESIS,
                self.prev_checkpoint,
                hashlib.sha256(data).digest(),
                self.chain,
            )
        ).to_bytes()
        self.prev_seal = leaf_hash(seal)
        self.chain = chain_extend(self.chain, self.prev_seal)
        self.append(seal, self.prev_seal)
        self.write_partials()
        signed = sign_checkpoint(Checkpoint(KEY.name, self.tree.size, self.tree.root()), KEY)
        self.prev_checkpoint = hashlib.sha256(signed).digest()
        put(self.folder, f"totals/{self.batch}", data)
        put(self.folder, f"checkpoints/{self.batch}", signed)
        put(self.folder, "checkpoint", signed)
        self.batch += 1


def put(folder: Path, path: str, data: bytes) -> None:
    """Replace a file, which may be one file with that of another ledger."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(data)


def put_hints(folder: Path, size: int) -> None:
    reader = TileReader(directory_fetch(folder), size)
    places: dict[str, list[int]] = {}
    for number in range(-(-size // TILE_WIDTH)):
        for offset, data in enumerate(reader.bundle(number)):
            if data[:1] == b"\x04" and isinstance(entry := ledgers.parsed(data), Notice):
                path = f"scopes/{entry.statement.scope.hex()}"
                places.setdefault(path, []).append(number * TILE_WIDTH + offset)
    for path, indices in places.items():
        put(folder, path, "".join(f"{index}\n" for index in indices).encode())


@dataclass(frozen=True)
class Base:
    """A valid ledger in a folder, read as its files are needed."""

    folder: Path
    given: tuple[bytes, ...]  # pledges of the main scope, by the factory's number
    spare: tuple[bytes, ...]  # valid pledges of the main scope that are not in it

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def fetch(self, path: str) -> bytes:
        """A file; of a partial tile that was never published, the beginning of a wider one."""
        partial = self.folder / path
        if partial.parent.suffix == ".p" and not partial.exists() and partial.parent.is_dir():
            widths = [int(item.name) for item in partial.parent.iterdir()]
            wider = [width for width in widths if width > int(partial.name)]
            if wider and not path.startswith("tile/entries"):
                return (partial.parent / str(wider[0])).read_bytes()[: 32 * int(partial.name)]
        return directory_fetch(self.folder)(path)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return parse_checkpoint(self.read("checkpoint")).checkpoint

    @cached_property
    def reader(self) -> TileReader:
        return TileReader(self.fetch, self.checkpoint.size)

    @cached_property
    def ends(self) -> list[int]:
        """Size of the tree after each batch."""
        paths = (self.folder / "checkpoints").iterdir()
        return sorted(parse_checkpoint(path.read_bytes()).checkpoint.size for path in paths)

    def first(self, batch: int) -> int:
        return self.ends[batch - 1] if batch else 0

    def entry(self, index: int) -> bytes:
        return self.reader.entry(index)

    def entries(self, start: int, end: int | None = None) -> Iterator[bytes]:
        end = self.checkpoint.size if end is None else end
        for number in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            bundle = self.reader.bundle(number)
            at = number * TILE_WIDTH
            yield from bundle[max(0, start - at) : end - at]

    def batch(self, number: int) -> list[bytes]:
        """Its entries, without the seal."""
        return list(self.entries(self.first(number), self.ends[number] - 1))

    def seal(self, number: int) -> Seal:
        return Seal.from_bytes(self.entry(self.ends[number] - 1))

    def totals(self, number: int) -> Totals:
        return decode_totals(self.read(f"totals/{number}"))

    def range_at(self, size: int) -> CompactRange:
        hashes, at = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                hashes.append(self.reader.hash(level, at >> level))
                at += 1 << level
        return CompactRange.from_hashes(size, hashes)


def build(folder: Path, number: int, made: Sequence[bytes]) -> Base:
    """A ledger of so many pledges of the main scope, the first of those that were made."""
    given, spare = made[:number], tuple(made[number : number + SPARE])
    sealer = Sealer(folder)
    count = Counting()
    one, two = main(), second()
    terms = [manifests.manifest_notice(one), manifests.manifest_notice(two)]
    texts = [*manifests.text_notices(one, terms[0]), *manifests.text_notices(two, terms[1])]
    last = {
        (scope, i): manifests.opening(scope, i) for scope in (one, two) for i in range(len(scope.issuers))
    }
    per_batch = -(-number // BATCHES)
    contents: list[list[Entry]] = [[*terms, *texts, *last.values()]]
    for k in range(1, BATCHES + 1):
        start = (k - 1) * per_batch
        entries: list[Entry] = [Pledge.from_bytes(data) for data in given[start : start + per_batch]]
        if k >= 2:
            entries += [
                main_revision(i, Pledge.from_bytes(given[i])) for i in range(start - per_batch, start)[:5]
            ]
        if k in (4, 8):
            i = (k - 3) * per_batch  # withdrawn in the batch before, and back again
            entries.append(main_revision(i, Pledge.from_bytes(given[i]), 2, 0))
        if k % 2 == 0 and 4 <= k <= 12:
            entries += [second_pledge(i) for i in range(3 * k, 3 * k + 6)]
        if k in (5, 7, 9):
            entries += [second_revision(3 * (k - 1)), second_revision(3 * (k - 1) + 1, 1, 1)]
        if k == CLOSING:
            entries += [second_pledge(90), manifests.closing(two, day_of(k))]
        if k in ISSUANCES:
            for (scope, i), before in last.items():
                issued = -(-(count.gross[scope.scope_id] + len(entries) + 160) // 16) * 16
                notice = manifests.issuance(scope, day_of(k), issued, before, i)
                last[scope, i] = notice
                entries.append(notice)
        contents.append(entries)
        count.take(entries)
    count = Counting()
    for k, entries in enumerate(contents):
        count.take(entries)
        sealer.close([entry.to_bytes() for entry in batches.order(entries)], day_of(k), count.totals())
    put_hints(folder, sealer.tree.size)
    return Base(folder, tuple(given), spare)


def make(number: int) -> list[bytes]:
    """So many pledges of the main scope with real signatures, made here; factory.read_pledges keeps them."""
    return [factory._pledge(i) for i in range(number + SPARE)]


class Counting:
    """Counts as an operator would who asks no questions."""

    def __init__(self) -> None:
        self.gross: Counter[ScopeId] = Counter()
        self.withdrawn: Counter[ScopeId] = Counter()
        self._out: set[bytes] = set()

    def take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Pledge):
                self.gross[entry.scope_id] += 1
            elif isinstance(entry, Revision):
                is_out = entry.choice == WITHDRAWN
                self.withdrawn[entry.scope_id] += is_out - (entry.nullifier in self._out)
                (self._out.add if is_out else self._out.discard)(entry.nullifier)

    def totals(self) -> Totals:
        return {scope: (gross, gross - self.withdrawn[scope]) for scope, gross in self.gross.items()}
