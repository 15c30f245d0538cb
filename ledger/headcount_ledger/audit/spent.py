"""Which nullifiers have counted: eight bytes of each in a file, and in full only where it matters.

The first look at a ledger (``survey``) says which nullifiers revisions name. Those are *watched*: their
pledges are kept whole. Of all others only the first 64 bits are kept. If two of them are alike at the
end, the recount is run again with those watched too, so that equality is decided on all 32 bytes.
"""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from headcount_ledger.audit.scopes import CountedPledge
from headcount_ledger.audit.unit import PREFIX_BYTES
from headcount_spec.pledge import Nullifier

Prefixes = NDArray[np.uint64]

FLUSH_BYTES = 2**20
SORT_ROWS = 2**21  # prefixes sorted at once: 16 MiB, and the same again while sorting
NO_PREFIXES: Prefixes = np.empty(0, np.uint64)


def prefixes_of(data: bytes | bytearray) -> Prefixes:
    """Packed prefixes as numbers in the same order."""
    return np.frombuffer(data, ">u8").astype(np.uint64)


class Spent:
    """The nullifiers of the pledges that count."""

    def __init__(self, watch: Prefixes, nullifier_at: Callable[[int], Nullifier | None]) -> None:
        """Watch these prefixes, sorted and each once; nullifier_at reads a pledge of the log again."""
        self._watch = watch
        self._nullifier_at = nullifier_at
        self._watched: dict[Nullifier, CountedPledge] = {}
        self._uncounted: set[Nullifier] = set()  # of invalid pledges, each faulted
        self.unwatched: set[int] = set()  # prefixes that a revision names and nobody watched
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None
        self._rows = 0
        self._firsts = array("q")  # row of the first prefix of each run
        self._indices = array("q")  # and its index in the log

    def __len__(self) -> int:
        return self._rows

    def hits(self, prefixes: bytes) -> list[int]:
        """Which of these must be looked at in full: their positions."""
        if not len(self._watch):
            return []
        found = prefixes_of(prefixes)
        at = np.searchsorted(self._watch, found)
        at[at == len(self._watch)] = 0
        return [int(i) for i in np.nonzero(self._watch[at] == found)[0]]

    def watches(self, nullifier: bytes) -> bool:
        """Whether this one is kept in full."""
        return bool(self.hits(nullifier[:PREFIX_BYTES]))

    def get(self, nullifier: Nullifier) -> CountedPledge | None:
        """The pledge that has counted, if its nullifier is watched."""
        return self._watched.get(nullifier)

    def revised(self, nullifier: Nullifier) -> CountedPledge | None:
        """The pledge that a revision names. One that nobody watches must be looked for in another run."""
        if not self.watches(nullifier):
            self.unwatched.add(int.from_bytes(nullifier[:PREFIX_BYTES], "big"))
        return self._watched.get(nullifier)

    def pledges(self) -> Iterator[tuple[Nullifier, CountedPledge]]:
        """Those that are kept in full."""
        return iter(self._watched.items())

    def put(self, nullifier: Nullifier, pledge: CountedPledge) -> None:
        """One has counted."""
        if self.watches(nullifier):
            self._watched[nullifier] = pledge
        else:
            self.put_run(nullifier[:PREFIX_BYTES], pledge.index)

    def put_run(self, prefixes: bytes, index: int) -> None:
        """Pledges side by side have counted, none of them watched; the first stands at index."""
        self._firsts.append(self._rows)
        self._indices.append(index)
        self._rows += len(prefixes) // PREFIX_BYTES
        self._buffer += prefixes
        if len(self._buffer) >= FLUSH_BYTES:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
            self._file.seek(0, 2)
            self._file.write(self._buffer)
            self._buffer.clear()

    def refuse(self, nullifier: Nullifier) -> None:
        """One stands there and does not count."""
        if self.watches(nullifier):
            self._uncounted.add(nullifier)

    def is_refused(self, nullifier: Nullifier) -> bool:
        """Whether one stands there that does not count."""
        return nullifier in self._uncounted

    def has(self, nullifier: Nullifier) -> bool:
        """Whether it has counted, decided on all 32 bytes. Reads all prefixes: for few questions."""
        if nullifier in self._watched:
            return True
        wanted = int.from_bytes(nullifier[:PREFIX_BYTES], "big")
        at = 0
        for chunk in self._chunks():
            for row in np.nonzero(chunk == np.uint64(wanted))[0]:
                if self._nullifier_at(self.index_of(at + int(row))) == nullifier:
                    return True
            at += len(chunk)
        return False

    def index_of(self, row: int) -> int:
        """The index in the log of a row of the prefixes."""
        run = bisect_right(self._firsts, row) - 1
        return self._indices[run] + row - self._firsts[run]

    def repeated(self) -> set[int]:
        """The prefixes that stand twice."""
        found: set[int] = set()
        for part in self.sorted_parts():
            alike = part[1:][part[1:] == part[:-1]]
            found.update(int(prefix) for prefix in alike)
        return found

    def sorted_parts(self) -> Iterator[Prefixes]:
        """All prefixes in ascending order, a range at a time, so that sorting needs little memory."""
        ranges = max(1, -(-self._rows // SORT_ROWS))
        edges = [(number << 64) // ranges for number in range(1, ranges)]
        for low, high in zip([0, *edges], [*edges, 2**64], strict=True):
            parts = []
            for chunk in self._chunks():
                inside = chunk >= np.uint64(low)
                if high < 2**64:
                    inside &= chunk < np.uint64(high)
                parts.append(chunk[inside])
            part = np.concatenate(parts) if parts else NO_PREFIXES
            part.sort()
            yield part

    def _chunks(self) -> Iterator[Prefixes]:
        """The prefixes in the order of the log."""
        if self._file is not None:
            self._file.seek(0)
            while data := self._file.read(4 * FLUSH_BYTES):
                yield prefixes_of(data)
        if self._buffer:
            yield prefixes_of(self._buffer)

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()


def watch_list(packed: Iterable[bytes], more: Iterable[int] = ()) -> Prefixes:
    """What Spent watches, from packed prefixes and numbers."""
    found = prefixes_of(b"".join(packed))
    return np.unique(np.concatenate([found, np.fromiter(more, np.uint64)]))
