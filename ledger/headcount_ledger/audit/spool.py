"""Bundles and hash tiles of a ledger that is read over a network: fetched once, kept while it is audited.

Workers then read them as files. What cannot be fetched is left out: the recount asks for it again and
names what is wrong.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from headcount_ledger.audit.files import MAX_STALLS
from headcount_ledger.reader.fetch import Folder
from headcount_spec.errors import NotFoundError, ProtocolError, UnavailableError
from headcount_spec.tile import TILE_WIDTH, Bundle, Fetch, Tile

MEMORY_BYTES = 16 * 2**20  # more goes to a temporary folder
MAX_GAPS = 16  # blocks in a row without any file: the rest is not there either


@dataclass(frozen=True, slots=True)
class Memory:
    """A few files, to be sent along."""

    files: dict[str, bytes]

    def __call__(self, path: str) -> bytes:
        """The bytes of a file."""
        try:
            return self.files[path]
        except KeyError as exc:
            raise NotFoundError(f"the ledger has no {path}") from exc


class Spool:
    """A Fetch in front of another one, with the bundles and level 0 tiles that it has read before."""

    def __init__(self, fetch: Fetch, connections: int = 1) -> None:
        self._fetch = fetch
        self._connections = connections
        self._memory: dict[str, bytes] = {}
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._disk = Folder("")

    def __call__(self, path: str) -> bytes:
        """The bytes that were read before, else those that the ledger answers now."""
        if path in self._memory:
            return self._memory[path]
        if self._folder is not None and path.startswith("tile/"):
            try:
                return self._disk(path)
            except NotFoundError:
                pass
        return self._fetch(path)

    def fill(self, start: int, size: int, progress: Callable[[int, int], None] | None = None) -> Fetch:
        """Fetch the files of the entries from start on; the result reads them in any process.

        Raises:
            UnavailableError: they cannot be kept here.
        """
        numbers = iter(range(start // TILE_WIDTH, -(-size // TILE_WIDTH)))
        stalls = gaps = 0
        with ThreadPoolExecutor(self._connections, "audit-fetch") as pool:
            while some := list(islice(numbers, 4 * self._connections)):
                tasks = [(number, min(TILE_WIDTH, size - number * TILE_WIDTH)) for number in some]
                for number, found, stalled in (
                    pool.map(self._get, tasks) if self._connections > 1 else map(self._get, tasks)
                ):
                    gaps = 0 if found else gaps + 1
                    stalls = stalls + stalled if stalled else 0
                    self._keep(found)
                    if gaps >= MAX_GAPS or stalls >= MAX_STALLS:
                        return self._source()
                    if progress is not None:
                        progress(min(size, (number + 1) * TILE_WIDTH) - start, size - start)
        return self._source()

    def _source(self) -> Fetch:
        return Memory(self._memory) if self._folder is None else self._disk

    def _get(self, block: tuple[int, int]) -> tuple[int, list[tuple[str, bytes]], int]:
        number, width = block
        found, stalls = [], 0
        for path in (Bundle(number, width).path, Tile(0, number, width).path):
            try:
                found.append((path, self._fetch(path)))
            except UnavailableError:
                stalls += 1
            except ProtocolError:
                continue
        return number, found, stalls

    def _keep(self, found: Iterable[tuple[str, bytes]]) -> None:
        for path, data in found:
            self._memory[path] = data
            self._bytes += len(data)
        if self._folder is None and self._bytes > MEMORY_BYTES:
            self._folder = tempfile.TemporaryDirectory(prefix="headcount-audit-")
            self._disk = Folder(self._folder.name)
        if self._folder is not None:
            for path, data in self._memory.items():
                self._write(os.path.join(self._folder.name, path), data)
            self._memory.clear()

    def _write(self, path: str, data: bytes) -> None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        except OSError as exc:
            raise UnavailableError(f"the ledger's files cannot be kept here: {exc.strerror}") from exc

    def close(self) -> None:
        """Remove what was kept."""
        if self._folder is not None:
            self._folder.cleanup()
