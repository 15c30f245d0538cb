"""The blocks of a log in order: packed by a worker, or read here, settled, and what is wrong named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from headcount_ledger.audit.block import NO_HASH, Block, is_over, settle
from headcount_ledger.audit.bundle import EMPTY_SCAN, VALID, BundleScan, Leaf, look, scan_bundle
from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.recount import Slot
from headcount_ledger.audit.spool import MAX_GAPS
from headcount_ledger.audit.strangers import Differences
from headcount_ledger.audit.survey import cut
from headcount_ledger.audit.tree import TreeRecount
from headcount_ledger.audit.unit import PackedBlock
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import UnavailableError
from headcount_spec.merkle import HASH_BYTES, LeafHash, RootHash
from headcount_spec.tile import TILE_WIDTH, Bundle

Read = tuple[Block, BundleScan, bytes | None]


class BlockReader:
    """Reads and settles blocks; the tree grows while the caller takes them."""

    def __init__(self, files: Files, tree: TreeRecount, differences: Differences, faults: FaultList) -> None:
        self._files = files
        self._tree = tree
        self._differences = differences
        self._faults = faults
        self._last: tuple[int, list[bytes]] = (-1, [])  # the bundle that was read again last
        self.is_whole = True  # every block could be read

    def read(
        self, checkpoint: Checkpoint, start: int, packed: Iterator[PackedBlock | None]
    ) -> Iterator[PackedBlock | Read]:
        """The blocks in order, from that of entry start on."""
        size = checkpoint.size
        gaps = 0
        for number in range(start // TILE_WIDTH, -(-size // TILE_WIDTH)):
            ready = next(packed, None)
            if ready is not None:
                gaps = 0
                yield ready
                continue
            first = number * TILE_WIDTH
            width = min(TILE_WIDTH, size - first)
            data = self._read_bundle(number, width)
            scan = EMPTY_SCAN if data is None else scan_bundle(data, width)
            tile = self._tree.served_hashes(number, width)
            gaps = gaps + 1 if data is None and tile is None else 0
            if gaps == MAX_GAPS:
                self.is_whole = False
                self._faults.add("unreadable-file", f"the files of entries {first} to {size - 1} are missing")
                return
            if first + width == size:
                accept = self._leads_to(checkpoint.root)
            else:
                accept = is_over(self._tree.parent(number))
            block = settle(first, width, scan, tile, accept)
            self._judge_block(block, scan, tile is None, data, number)
            yield block, scan, data

    def entry(self, packed: PackedBlock, place: int) -> tuple[Slot, Leaf]:
        """Read a pledge of a packed block again; it is the one that was verified.

        Raises:
            UnavailableError: it has changed meanwhile.
        """
        if self._last[0] != packed.number:
            data = self._files.find(Bundle(packed.number, packed.width).path)
            self._last = (packed.number, [] if data is None else list(cut(data)))
        entries = self._last[1]
        if place < len(entries):
            offset = sum(2 + len(entry) for entry in entries[:place])
            leaf = replace(look(entries[place], offset), verdict=VALID)
            if leaf.hash == packed.hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]:
                return Slot(packed.number * TILE_WIDTH + place, LeafHash(leaf.hash), leaf), leaf
        raise UnavailableError("its files change while they are read")

    def _leads_to(self, root: RootHash) -> Callable[[Sequence[bytes]], bool]:
        return lambda hashes: self._tree.root_with(hashes) == root

    def _read_bundle(self, number: int, width: int) -> bytes | None:
        """The bundle, cut to the entries of this size if only the full one is left."""
        part, full = Bundle(number, width), Bundle(number)
        data = self._files.find(part.path)
        if data is None and not part.is_full:
            data = self._files.find(full.path)
            if data is not None:
                scan = scan_bundle(data, TILE_WIDTH)
                data = data[: scan.ends[width - 1]] if len(scan.ends) >= width else data
        if data is None:
            self._faults.add("unreadable-file", f"{part.path} is missing", index=number * TILE_WIDTH)
        return data

    def _judge_block(
        self, block: Block, scan: BundleScan, is_tile_missing: bool, data: bytes | None, number: int
    ) -> None:
        if block.tile_is_wrong:
            self._faults.add(
                "broken-tile", f"the tile of level 0 with number {number} is not over its entries"
            )
        if NO_HASH in block.hashes:
            self.is_whole = False
        if data is None:
            return
        is_cut_well = scan.problem_offset == len(data) and (scan.ends[-1:] or (0,)) == (len(data),)
        if scan.problem and (not is_cut_well or is_tile_missing):
            self._faults.add(
                "malformed-bundle",
                f"bundle {number}: {scan.problem}",
                index=block.first,
                offset=scan.problem_offset,
            )
        if block.misplaced is not None:
            place = block.misplaced - block.first
            leaf = block.leaves[place]
            self._faults.add(
                "reordered-batch",
                "the entry is served at another place than it has in the tree",
                index=block.misplaced,
                offset=None if leaf is None else leaf.offset,
            )
        if not is_tile_missing:
            self._differences.add(block, len(data))
