"""The blocks of a log, read in order: bundle and hash tile, settled, and what is wrong with either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from headcount_ledger.audit.block import NO_HASH, Block, is_over, settle
from headcount_ledger.audit.bundle import EMPTY_SCAN, BundleScan, ScopeJudge, scan_bundle
from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.strangers import Differences
from headcount_ledger.audit.tree import TreeRecount
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.merkle import RootHash
from headcount_spec.scope import ScopeId
from headcount_spec.tile import TILE_WIDTH, Bundle

MAX_GAPS = 16  # blocks in a row without any file: the rest is not there either


class BlockReader:
    """Reads and settles blocks; the tree and the judges grow while the caller takes them."""

    def __init__(
        self,
        files: Files,
        tree: TreeRecount,
        judges: Mapping[ScopeId, ScopeJudge],
        differences: Differences,
        faults: FaultList,
    ) -> None:
        self._files = files
        self._tree = tree
        self._judges = judges
        self._differences = differences
        self._faults = faults
        self.is_whole = True  # every block could be read

    def read(self, checkpoint: Checkpoint) -> Iterator[tuple[Block, BundleScan, bytes | None]]:
        """Read and settle the blocks in order."""
        size = checkpoint.size
        gaps = 0
        for number in range(-(-size // TILE_WIDTH)):
            first = number * TILE_WIDTH
            width = min(TILE_WIDTH, size - first)
            data = self._read_bundle(number, width)
            scan = EMPTY_SCAN if data is None else scan_bundle(data, width, self._judges)
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

    def _leads_to(self, root: RootHash) -> Callable[[Sequence[bytes]], bool]:
        return lambda hashes: self._tree.root_with(hashes) == root

    def _read_bundle(self, number: int, width: int) -> bytes | None:
        """The bundle, cut to the entries of this size if only the full one is left."""
        part, full = Bundle(number, width), Bundle(number)
        data = self._files.find(part.path)
        if data is None and not part.is_full:
            data = self._files.find(full.path)
            if data is not None:
                scan = scan_bundle(data, TILE_WIDTH, {})
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
