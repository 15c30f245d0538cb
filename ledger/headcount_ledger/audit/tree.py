"""The hash tiles of every level and every published size, against the entries' own hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_spec.errors import NotFoundError
from headcount_spec.merkle import HASH_BYTES, CompactRange, RootHash
from headcount_spec.tile import TILE_WIDTH, Bundle, Tile, TileBuilder


class TreeRecount:
    """Builds the tree again from leaf hashes and compares each tile as it is completed."""

    def __init__(self, files: Files, size: int, faults: FaultList) -> None:
        self._files = files
        self.final_size = size  # of the checkpoint
        self._faults = faults
        # Blocks and what is above them; below, the hashes of the block that is not full yet.
        self._builder = TileBuilder()
        self._blocks = CompactRange()
        self._hashes = bytearray()
        self._below = CompactRange()
        self._parents: tuple[int, bytes] = (-1, b"")  # the level 1 tile that was read last
        self._stale: set[tuple[str, int]] = set()  # places whose older partial files are faulted

    def to_state(self) -> dict[str, Any]:
        """The right edge of the tree so far, as JSON."""
        return {
            "blocks": self._blocks.size,
            "range": [h.hex() for h in self._blocks.hashes],
            "hashes": self._hashes.hex(),
            "tiles": {tile.path: data.hex() for tile, data in self._builder.partial_tiles()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there; nothing may have been added yet.

        Raises:
            ProtocolError: the parts do not fit each other.
        """
        tiles = {path: bytes.fromhex(data) for path, data in state["tiles"].items()}

        def fetch(path: str) -> bytes:
            if path not in tiles:
                raise NotFoundError(path)
            return tiles[path]

        self._blocks = CompactRange.from_hashes(state["blocks"], [bytes.fromhex(h) for h in state["range"]])
        self._builder = TileBuilder(state["blocks"], fetch)
        self.extend(bytes.fromhex(state["hashes"]))

    @property
    def open_hashes(self) -> bytes:
        """The leaf hashes of the block that is not full."""
        return bytes(self._hashes)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._blocks.size * TILE_WIDTH + self._below.size

    def root(self) -> RootHash:
        """The root hash of the leaves so far."""
        return self._whole().root()

    def root_with(self, hashes: Sequence[bytes]) -> RootHash:
        """The root hash if these came next."""
        ahead = self._whole()
        ahead.extend(hashes)
        return ahead.root()

    def _whole(self) -> CompactRange:
        return CompactRange.from_hashes(self.size, [*self._blocks.hashes, *self._below.hashes])

    def served_hashes(self, index: int, width: int) -> list[bytes] | None:
        """The leaf hashes that a tile of level 0 says; a tile that is none is a fault."""
        data = self.read_tile(Tile(0, index, width))
        return None if data is None else _hashes(data)

    def parent(self, index: int) -> bytes | None:
        """What the tile of level 1 says about a full tile of level 0."""
        tile, place = divmod(index, TILE_WIDTH)
        if self._parents[0] != tile:
            width = min(TILE_WIDTH, (self.final_size >> 8) - tile * TILE_WIDTH)
            # Its own faults are found when it is completed.
            data = self._files.find(Tile(1, tile, width).path) if width > 0 else None
            self._parents = (tile, data or b"")
        found = self._parents[1][place * HASH_BYTES : (place + 1) * HASH_BYTES]
        return found if len(found) == HASH_BYTES else None

    def extend(self, packed: bytes) -> None:
        """Add leaf hashes, 32 bytes each; full tiles above level 0 are compared."""
        while packed:
            room = TILE_WIDTH * HASH_BYTES - len(self._hashes)
            now, packed = packed[:room], packed[room:]
            self._hashes += now
            self._below.extend(_hashes(now))
            if len(now) == room:
                (block_root,) = self._below.hashes
                self._hashes.clear()
                self._below = CompactRange()
                self.extend_block(block_root)

    def extend_block(self, block_root: bytes) -> None:
        """Add a whole block where one begins, of which the root is known."""
        self._blocks.append(block_root)
        for tile, data in self._builder.extend((block_root,)):
            self._compare(Tile(tile.level + 1, tile.index), data)

    def _partial_tiles(self) -> list[tuple[Tile, bytes]]:
        above = [
            (Tile(tile.level + 1, tile.index, tile.width), data)
            for tile, data in self._builder.partial_tiles()
        ]
        width = self._below.size
        return [(Tile(0, self._blocks.size, width), bytes(self._hashes)), *above] if width else above

    def check_partials(self, bundle: bytes | None) -> None:
        """Compare the partial tiles of a size that a checkpoint was published for.

        bundle is what the partial entry bundle of this size must be, None if that is not known.
        C2SP tlog-tiles: partial tiles may be deleted once the full tile exists.
        """
        for tile, data in self._partial_tiles():
            self._compare_partial(tile.path, data, str(tile.level), tile.index)
        width = self.size % TILE_WIDTH
        if width and bundle is not None:
            part = Bundle(self.size // TILE_WIDTH, width)
            self._compare_partial(part.path, bundle, "entries", part.index)

    def finish(self) -> None:
        """Compare the partial tiles above level 0 of the whole tree."""
        for tile, data in self._partial_tiles():
            if tile.level:
                self._compare(tile, data)

    def read_tile(self, tile: Tile) -> bytes | None:
        """The bytes of a tile of the right length; anything else is a fault."""
        data = None if tile.is_full else self._files.find(tile.path)
        if data is None:
            full = Tile(tile.level, tile.index)
            data = self._files.find(full.path)
            if data is not None and not tile.is_full:
                data = data[: tile.size_bytes]
        if data is None:
            self._faults.add("unreadable-file", f"{tile.path} is missing")
        elif len(data) != tile.size_bytes:
            self._faults.add(
                "broken-tile",
                f"{tile.path} has {len(data)} bytes instead of {tile.size_bytes}",
                offset=min(len(data), tile.size_bytes),
            )
            data = None
        return data

    def _compare(self, tile: Tile, expected: bytes) -> None:
        data = self.read_tile(tile)
        if data is not None and data != expected:
            self._differs(tile.path, data, expected)

    def _compare_partial(self, path: str, expected: bytes, level: str, index: int) -> None:
        data = self._files.find(path)
        if data == expected or (level, index) in self._stale:
            return
        if data is not None:
            self._stale.add((level, index))
            self._differs(path, data, expected)
        elif (self.final_size >> (8 * int(level) if level != "entries" else 0)) // TILE_WIDTH <= index:
            # The full tile does not exist yet.
            self._stale.add((level, index))
            self._faults.add("unreadable-file", f"{path} is missing")

    def _differs(self, path: str, data: bytes, expected: bytes) -> None:
        at = first_difference(data, expected)
        self._faults.add("broken-tile", f"{path} is not what the entries give from byte {at} on", offset=at)


def first_difference(one: bytes, other: bytes) -> int:
    """The offset of the first byte in which two byte strings differ."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _hashes(data: bytes) -> list[bytes]:
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]
