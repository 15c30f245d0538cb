"""The published resources of the ledger: hash tiles and entry bundles, c2sp.org/tlog-tiles.

A tile holds 256 hashes of one level, a bundle 256 entries; at the right edge of the tree they are
partial. Names and bytes are here; reading and writing files is up to the caller.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from headcount_spec import wire
from headcount_spec.errors import MalformedError, NotFoundError
from headcount_spec.merkle import (
    HASH_BYTES,
    MAX_SIZE,
    LeafHash,
    RootHash,
    consistency_path,
    inclusion_path,
    root,
    root_from_subtrees,
)

TILE_WIDTH = 256  # tlog-tiles: the height is fixed at 8
TILE_BYTES = TILE_WIDTH * HASH_BYTES
MAX_LEVEL = 63  # tlog-tiles; a tree of 2^63 - 1 leaves has levels 0 to 7
MAX_ENTRY_BYTES = 65535
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)

# From a path below the ledger's prefix to its bytes; raises NotFoundError.
Fetch = Callable[[str], bytes]

_PATH = re.compile(
    r"\Atile/(?P<level>entries|0|[1-9][0-9]?)"
    r"/(?P<index>(?!x000)(?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?\Z",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A hash tile: hashes [256 index, 256 index + width) of a level.

    >>> Tile(0, 1234067, 17).path
    'tile/0/x001/x234/067.p/17'
    """

    level: int  # 0 to 63; entry i of level L is the root of the full tile i of level L - 1
    index: int
    width: int = TILE_WIDTH  # 1 to 256 hashes; 256 is a full tile

    def __post_init__(self) -> None:
        if not 0 <= self.level <= MAX_LEVEL:
            raise ValueError("no such level")
        _check_place(self.index, self.width)

    @property
    def path(self) -> str:
        """The path below the ledger's prefix."""
        return f"tile/{self.level}/{_index_path(self.index)}{_suffix(self.width)}"

    @property
    def size_bytes(self) -> int:
        """Length of the tile."""
        return self.width * HASH_BYTES

    @property
    def is_full(self) -> bool:
        """Whether the tile never grows any more."""
        return self.width == TILE_WIDTH


@dataclass(frozen=True, slots=True, order=True)
class Bundle:
    """An entry bundle: entries [256 index, 256 index + width).

    >>> Bundle(273, 112).path
    'tile/entries/273.p/112'
    """

    index: int
    width: int = TILE_WIDTH  # 1 to 256 entries; 256 is a full bundle

    def __post_init__(self) -> None:
        _check_place(self.index, self.width)

    @property
    def path(self) -> str:
        """The path below the ledger's prefix."""
        return f"tile/entries/{_index_path(self.index)}{_suffix(self.width)}"

    @property
    def is_full(self) -> bool:
        """Whether the bundle never grows any more."""
        return self.width == TILE_WIDTH


def _check_place(index: int, width: int) -> None:
    if not 0 <= index <= MAX_SIZE // TILE_WIDTH:
        raise ValueError("no such index")
    if not 1 <= width <= TILE_WIDTH:
        raise ValueError("a tile is 1 to 256 wide")


def _index_path(index: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def _suffix(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"


def parse_path(path: str) -> Tile | Bundle:
    """The tile or bundle of a path below the ledger's prefix.

    Raises:
        MalformedError: any other path, and any other spelling of a tile's path.
    """
    match = _PATH.match(path)
    if not match:
        raise MalformedError("not a path of a tile")
    index = int(match["index"].replace("/", "").replace("x", ""))
    width = int(match["width"] or TILE_WIDTH)
    if match["width"] and width >= TILE_WIDTH:
        raise MalformedError("a partial tile is 1 to 255 wide")
    if index > MAX_SIZE // TILE_WIDTH:
        raise MalformedError("tile index out of range")
    if match["level"] == "entries":
        return Bundle(index, width)
    if int(match["level"]) > MAX_LEVEL:
        raise MalformedError("tile level out of range")
    return Tile(int(match["level"]), index, width)


def new_tiles(old_size: int, new_size: int) -> list[Tile]:
    """The tiles of the tree of new_size leaves that the tree of old_size leaves does not have."""
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ValueError("a tree only grows")
    tiles = []
    level = 0
    while new_size:
        if new_size != old_size:
            tiles += [Tile(level, i, w) for i, w in _places(old_size, new_size)]
        old_size //= TILE_WIDTH
        new_size //= TILE_WIDTH
        level += 1
    return tiles


def new_bundles(old_size: int, new_size: int) -> list[Bundle]:
    """The bundles of the tree of new_size entries that the tree of old_size entries does not have."""
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise ValueError("a tree only grows")
    if old_size == new_size:
        return []
    return [Bundle(i, w) for i, w in _places(old_size, new_size)]


def tiles_for(size: int) -> list[Tile]:
    """All tiles of the tree of size leaves, by level and index."""
    return new_tiles(0, size)


def bundles_for(size: int) -> list[Bundle]:
    """All bundles of the tree of size entries, by index."""
    return new_bundles(0, size)


def _places(old: int, new: int) -> Iterator[tuple[int, int]]:
    full, partial = divmod(new, TILE_WIDTH)
    for index in range(old // TILE_WIDTH, full):
        yield index, TILE_WIDTH
    if partial:
        yield full, partial


# Entry bundle (c2sp.org/tlog-tiles, "Log entries"):
#   struct { opaque entry<0..2^16-1>; } entries[width];
def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of a bundle of 1 to 256 entries of at most 65,535 bytes."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise ValueError("a bundle is 1 to 256 wide")
    if len(set(map(len, entries))) == 1:  # as in almost every bundle: in one go
        prefix = wire.u16(len(entries[0]))
        return prefix + prefix.join(entries)
    return b"".join(map(wire.opaque16, entries))


def common_stride(data: bytes, width: int) -> int | None:
    """From one entry of a bundle to the next, in bytes, if all are equally long; None for any other bytes."""
    stride = 2 + int.from_bytes(data[:2], "big")
    if len(data) != stride * width or any(data[at::stride] != data[at : at + 1] * width for at in (0, 1)):
        return None
    return stride


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle that must hold exactly width of them.

    Raises:
        MalformedError: fewer or more entries, a truncated entry, trailing bytes.
    """
    if stride := common_stride(data, width):
        return [data[at + 2 : at + stride] for at in range(0, len(data), stride)]
    # wire.Reader would cost an audit as much as the hashing.
    entries: list[bytes] = []
    start, end = 0, len(data)
    for _ in range(width):
        stop = start + 2
        if stop > end:
            raise MalformedError(f"bundle ends after {len(entries)} of {width} entries")
        stop += data[start] << 8 | data[start + 1]
        if stop > end:
            raise MalformedError(f"truncated entry {len(entries)} of the bundle")
        entries.append(data[start + 2 : stop])
        start = stop
    if start != end:
        raise MalformedError(f"{end - start} trailing bytes after the bundle's entries")
    return entries


class TileReader:
    """Hashes, proofs and entries of a published tree of a given size, from its tiles.

    Lengths are checked and nothing is authenticated: compare ``root()`` with a signed checkpoint, and
    verify the proofs. Keeps the last 1,024 tiles (8 MiB) and 4 bundles. Not for several threads at once.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        if not 0 <= size <= MAX_SIZE:
            raise ValueError("no such tree")
        self.size = size
        self._fetch = fetch
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, concatenated: as many as the tree of this size has there.

        Raises:
            NotFoundError: neither the partial nor the full tile is there.
            MalformedError: it has another length.
        """
        data = self._tiles.get((level, index))
        if data is None:
            tile = Tile(level, index, _width(self.size >> 8 * level, index))
            data = self._fetch_tile(tile)
            self._tiles[level, index] = data
            if len(self._tiles) > 1024:
                self._tiles.popitem(last=False)
        else:
            self._tiles.move_to_end((level, index))
        return data

    def _fetch_tile(self, tile: Tile) -> bytes:
        if not tile.is_full:
            try:
                return _check_tile(tile, self._fetch(tile.path))
            except NotFoundError:
                pass  # tlog-tiles: a partial tile may be deleted once the full one exists
        full = Tile(tile.level, tile.index)
        return _check_tile(full, self._fetch(full.path))[: tile.size_bytes]

    def bundle(self, index: int) -> list[bytes]:
        """The entries of a bundle: as many as the tree of this size has there.

        Raises:
            NotFoundError: neither the partial nor the full bundle is there.
            MalformedError: it holds another number of entries.
        """
        entries = self._bundles.get(index)
        if entries is None:
            entries = self._fetch_bundle(Bundle(index, _width(self.size, index)))
            self._bundles[index] = entries
            if len(self._bundles) > 4:
                self._bundles.popitem(last=False)
        else:
            self._bundles.move_to_end(index)
        return entries

    def _fetch_bundle(self, bundle: Bundle) -> list[bytes]:
        if not bundle.is_full:
            try:
                return _check_bundle(bundle, self._fetch(bundle.path))
            except NotFoundError:
                pass
        full = Bundle(bundle.index)
        return _check_bundle(full, self._fetch(full.path))[: bundle.width]

    def entry(self, index: int) -> bytes:
        """The entry at a leaf index."""
        if not 0 <= index < self.size:
            raise ValueError("no such entry")
        return self.bundle(index // TILE_WIDTH)[index % TILE_WIDTH]

    def leaf_hash(self, index: int) -> LeafHash:
        """The leaf hash at a leaf index."""
        return LeafHash(self.hash(0, index))

    def hash(self, level: int, index: int) -> bytes:
        """The hash of the perfect subtree over leaves [index << level, (index + 1) << level).

        The level counts doublings: the hashes of tile level L are at level 8 L.
        """
        if not 0 <= index < self.size >> level:
            raise ValueError("no such perfect subtree")
        tile_level, doublings = divmod(level, 8)
        first = index << doublings
        start = first % TILE_WIDTH * HASH_BYTES
        data = self.tile(tile_level, first // TILE_WIDTH)
        return root(_hashes(data[start : start + (HASH_BYTES << doublings)]))

    def root(self) -> RootHash:
        """The root hash of the tree."""
        return self.root_at(self.size)

    def root_at(self, size: int) -> RootHash:
        """The root hash of the tree when it had size leaves."""
        if not 0 <= size <= self.size:
            raise ValueError("no such tree")
        return root_from_subtrees(self.hash, size)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The inclusion proof of a leaf in this tree, or in the tree when it had size leaves."""
        return inclusion_path(self.hash, index, self.size if size is None else size)

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """The consistency proof from the tree of old_size leaves to this one, or to that of size leaves."""
        return consistency_path(self.hash, old_size, self.size if size is None else size)


class TileBuilder:
    """Turns leaf hashes into tiles, keeping only the right edge of the tree in memory.

    The ledger writes what it gives, an auditor compares it with what is published.
    """

    def __init__(self, size: int = 0, fetch: Fetch | None = None) -> None:
        """Start from the tree of size leaves, whose right edge is read through fetch."""
        self._size = size
        self._levels: list[bytearray] = []
        if size:
            if fetch is None:
                raise ValueError("a tree that exists is read through fetch")
            reader = TileReader(fetch, size)
            for level in range(((size.bit_length() - 1) // 8) + 1):
                full, partial = divmod(size >> 8 * level, TILE_WIDTH)
                self._levels.append(bytearray(reader.tile(level, full) if partial else b""))

    @property
    def size(self) -> int:
        """Number of leaves so far."""
        return self._size

    def extend(self, leaf_hashes: Iterable[bytes]) -> Iterator[tuple[Tile, bytes]]:
        """Add leaf hashes and give the full tiles that they complete, each after those below it.

        Lazy: leaf hashes are added when the iterator has passed the tile that they complete, the last
        ones at its end.
        """
        leaves = iter(leaf_hashes)
        while chunk := list(islice(leaves, TILE_WIDTH - self._size % TILE_WIDTH)):
            self._size += len(chunk)
            nodes = b"".join(chunk)
            level = 0
            while True:
                if level == len(self._levels):
                    self._levels.append(bytearray())
                hashes = self._levels[level]
                hashes += nodes
                if len(hashes) < TILE_BYTES:
                    break
                data = bytes(hashes)
                hashes.clear()
                yield Tile(level, (self._size >> 8 * (level + 1)) - 1), data
                nodes = root(_hashes(data))
                level += 1

    def partial_tiles(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles of the tree so far, by level."""
        return [
            (Tile(level, self._size >> 8 * (level + 1), len(hashes) // HASH_BYTES), bytes(hashes))
            for level, hashes in enumerate(self._levels)
            if hashes
        ]


def _width(hashes: int, index: int) -> int:
    """How many of a level's hashes are in its tile number index."""
    width = min(TILE_WIDTH, hashes - index * TILE_WIDTH)
    if index < 0 or width < 1:
        raise ValueError("no such tile in this tree")
    return width


def _hashes(data: bytes) -> list[bytes]:
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def _check_tile(tile: Tile, data: bytes) -> bytes:
    if len(data) != tile.size_bytes:
        raise MalformedError(f"{tile.path} has {len(data)} bytes instead of {tile.size_bytes}")
    return data


def _check_bundle(bundle: Bundle, data: bytes) -> list[bytes]:
    try:
        return decode_bundle(data, bundle.width)
    except MalformedError as exc:
        raise MalformedError(f"{bundle.path}: {exc}") from exc
