"""Hands units of blocks to an executor and takes the results in the order of the log.

The result is the same whatever the executor is and however fast its workers are. If its processes die,
the rest of the work is done here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import TypeVar

from headcount_ledger.audit.scan import scan_unit
from headcount_ledger.audit.spool import MAX_GAPS
from headcount_ledger.audit.survey import Survey, survey
from headcount_ledger.audit.unit import Extent, PackedBlock, Unit
from headcount_spec.errors import ProtocolError
from headcount_spec.scope import scope_id
from headcount_spec.tile import TILE_WIDTH, Fetch

UNIT_BLOCKS = 16  # 4096 entries, a tenth of a second: at the end no worker waits longer for the last one
WINDOW = 64  # units that are under way or wait to be merged, 0.2 MiB each

_log = logging.getLogger(__name__)

T = TypeVar("T")
Call = tuple[object, ...]


class Work:
    """The entries of one log, from the block of one entry to the last."""

    def __init__(self, fetch: Fetch, start: int, size: int, executor: Executor | None) -> None:
        self._fetch = fetch
        self._start = start // TILE_WIDTH
        self._size = size
        self._executor = executor
        self._surveys: list[Survey] = []
        self._manifests: dict[bytes, bytes] = {}

    def survey(self) -> None:
        """Look through all bundles."""
        gaps = 0
        for found in self._in_order(survey, ((self._fetch, unit) for unit in self._units())):
            self._surveys.append(found)
            for raw in found.manifests:
                self._manifests.setdefault(scope_id(raw), raw)
            gaps = 0 if found.found else gaps + UNIT_BLOCKS
            if gaps >= MAX_GAPS:
                break

    @property
    def revised(self) -> list[bytes]:
        """The prefixes that revisions name, packed."""
        return [found.revised for found in self._surveys if found.revised]

    def learn(self, manifests: Iterable[tuple[bytes, bytes]]) -> None:
        """Terms by scope id that the entries are judged by, besides those that are found here."""
        self._manifests.update(manifests)

    def blocks(self, extent: Extent) -> Generator[PackedBlock | None, None, None]:
        """Each block as far as there are any, verified if nothing is unusual in it."""
        for blocks in self._in_order(scan_unit, self._calls(extent)):
            yield from blocks

    def _calls(self, extent: Extent) -> Iterator[Call]:
        for unit, found in zip(self._units(), self._surveys, strict=False):
            scopes = self._manifests if found.scopes is None else found.scopes
            needed = tuple(self._manifests[scope] for scope in sorted(scopes) if scope in self._manifests)
            yield self._fetch, unit, needed, extent

    def _units(self) -> Iterator[Unit]:
        end = -(-self._size // TILE_WIDTH)
        for first in range(self._start, end, UNIT_BLOCKS):
            yield Unit(first, min(UNIT_BLOCKS, end - first), self._size)

    def _in_order(self, function: Callable[..., T], calls: Iterator[Call]) -> Iterator[T]:
        waiting: deque[tuple[Call, Future[T] | None]] = deque()
        try:
            for call in calls:
                waiting.append((call, self._submit(function, call)))
                if self._executor is None or len(waiting) >= WINDOW:
                    yield self._result(function, *waiting.popleft())
            while waiting:
                yield self._result(function, *waiting.popleft())
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()

    def _submit(self, function: Callable[..., T], call: Call) -> Future[T] | None:
        if self._executor is None:
            return None
        try:
            return self._executor.submit(function, *call)
        except BrokenExecutor:
            self._executor = None
            return None

    def _result(self, function: Callable[..., T], call: Call, future: Future[T] | None) -> T:
        if future is not None:
            try:
                return future.result()
            except ProtocolError:
                raise
            except (Exception, CancelledError) as exc:  # noqa: BLE001 - see below
                # Whatever a pool or a cluster says of its dead workers: the call is made again here.
                _log.warning("the workers are lost (%s): this process goes on alone", type(exc).__name__)
                self._executor = None
        return function(*call)
