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
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from headcount_ledger.audit.scopes import CountedPledge
from headcount_ledger.audit.unit import PREFIX_BYTES
from headcount_spec.pledge import Nullifier

Prefixes = NDArray[np.uint64]
Indices = NDArray[np.int64]

FLUSH_BYTES = 2**20
MAX_REPEATED = 100_000  # beyond them a ledger is bad enough, and not all of them are kept in full
SORT_ROWS = 2**21  # prefixes sorted at once: 16 MiB, and the same again while sorting
NO_PREFIXES: Prefixes = np.empty(0, np.uint64)
NO_INDICES: Indices = np.empty(0, np.int64)


def prefixes_of(data: bytes | bytearray) -> Prefixes:
    """Packed prefixes as numbers in the same order."""
    return np.frombuffer(data, ">u8").astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Before:
    """The pledges that counted up to where an earlier run ended, by ascending prefix."""

    prefixes: Prefixes
    indices: Indices

    def find(self, prefix: int) -> list[int]:
        """The indices in the log of those with this prefix."""
        wanted = np.uint64(prefix)
        low, high = (int(np.searchsorted(self.prefixes, wanted, side)) for side in ("left", "right"))
        return [int(index) for index in self.indices[low:high]]


class Spent:
    """The nullifiers of the pledges that count."""

    def __init__(
        self, watch: Prefixes, nullifier_at: Callable[[int], Nullifier | None], before: Before | None = None
    ) -> None:
        """Watch these prefixes, sorted and each once; nullifier_at reads a pledge of the log again.

        before are those of an earlier run. Of these, ``watched_before`` must be restored first.
        """
        self._watch = watch
        self._before = before or Before(NO_PREFIXES, NO_INDICES)
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

    def watched_before(self) -> list[int]:
        """The indices of the pledges of the earlier run that this one watches."""
        return [index for prefix in self._watch for index in self._before.find(int(prefix))]

    def put_before(self, nullifier: Nullifier, pledge: CountedPledge) -> None:
        """One of the earlier run's pledges, to be kept in full."""
        self._watched[nullifier] = pledge

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
        if any(self._nullifier_at(index) == nullifier for index in self._before.find(wanted)):
            return True
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
        """The prefixes that stand twice and are not watched; MAX_REPEATED are enough for a verdict."""
        found: set[int] = set()
        old = self._before.prefixes
        for low, high in self._ranges(self._rows):
            part = self._within(low, high)
            part.sort()
            found.update(int(prefix) for prefix in part[1:][part[1:] == part[:-1]])
            if len(old) and len(part):
                at = np.searchsorted(old, part)
                at[at == len(old)] = 0
                found.update(int(prefix) for prefix in part[old[at] == part])
            if len(found) >= MAX_REPEATED:
                break
        return found

    def placed(self) -> Iterator[tuple[Prefixes, Indices]]:
        """All pledges that count, ascending by prefix, with their indices: a range at a time."""
        watched = [
            (int.from_bytes(nullifier[:PREFIX_BYTES], "big"), pledge.index)
            for nullifier, pledge in self._watched.items()
        ]
        kept = np.array([prefix for prefix, _ in watched], np.uint64)
        places = np.array([index for _, index in watched], np.int64)
        firsts, starts = np.array(self._firsts, np.int64), np.array(self._indices, np.int64)
        old = self._before
        for low, high in self._ranges(self._rows + len(old.prefixes)):
            rows = np.concatenate([NO_INDICES, *self._rows_within(low, high)])
            run = np.searchsorted(firsts, rows, "right") - 1
            a, b = _span(old.prefixes, low, high)
            mine = _inside(kept, low, high) & ~np.isin(places, old.indices[a:b])
            prefixes = np.concatenate([self._within(low, high), kept[mine], old.prefixes[a:b]])
            fresh = starts[run] + rows - firsts[run] if len(rows) else rows
            indices = np.concatenate([fresh, places[mine], old.indices[a:b]])
            order = np.argsort(prefixes, kind="stable")
            yield prefixes[order], indices[order].astype(np.int64)

    @staticmethod
    def _ranges(rows: int) -> Iterator[tuple[int, int]]:
        """Ranges of prefixes that hold some SORT_ROWS each, so that sorting needs little memory."""
        number = max(1, -(-rows // SORT_ROWS))
        for i in range(number):
            yield (i << 64) // number, ((i + 1) << 64) // number

    def _within(self, low: int, high: int) -> Prefixes:
        return np.concatenate([NO_PREFIXES, *(c[_inside(c, low, high)] for c in self._chunks())])

    def _rows_within(self, low: int, high: int) -> Iterator[Indices]:
        at = 0
        for chunk in self._chunks():
            yield np.nonzero(_inside(chunk, low, high))[0] + at
            at += len(chunk)

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


def _inside(prefixes: Prefixes, low: int, high: int) -> NDArray[np.bool_]:
    found = prefixes >= np.uint64(low)
    return found if high >= 2**64 else found & (prefixes < np.uint64(high))


def _span(ascending: Prefixes, low: int, high: int) -> tuple[int, int]:
    end = len(ascending) if high >= 2**64 else int(np.searchsorted(ascending, np.uint64(high)))
    return int(np.searchsorted(ascending, np.uint64(low))), end
