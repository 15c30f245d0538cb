"""The writer process as an event loop reaches it: works out over one Unix socket, results back by number.

How many wait is bounded; what finds the queue full is told to come again, and nothing of it was kept.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any, cast

from headcount_ledger.channel import Frames, request, result
from headcount_ledger.work import Work
from headcount_ledger.writer import RETRY_AFTER_S
from headcount_spec.errors import MalformedError, ProtocolError, UnavailableError


class WriterClient:
    """Runs works in the writer process. Belongs to one event loop."""

    def __init__(self, path: Path, max_waiting: int) -> None:
        self._path = path
        self._max_waiting = max_waiting
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None

    async def run(self, work: Work) -> Any:
        """The work's result, once it is durable.

        Raises:
            UnavailableError: too many wait, or the writer does not answer: it is not known whether the
                work was done, and the same again does no harm.
            ProtocolError: what the work raises.
        """
        connection = self._connection
        if connection is None or connection.is_lost:
            connection = await self._connect()
        if len(connection.waiting) >= self._max_waiting:
            raise UnavailableError("too many requests wait for the ledger", RETRY_AFTER_S)
        return await connection.ask(work)

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                loop = asyncio.get_running_loop()
                try:
                    _, self._connection = await loop.create_unix_connection(_Connection, str(self._path))
                except OSError as exc:
                    raise UnavailableError("the ledger's writer does not run", RETRY_AFTER_S) from exc
            return self._connection

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.is_lost = False
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.cycle(range(1 << 32))
        self._frames = Frames()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        waiting, self.waiting = self.waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(UnavailableError("the ledger's writer stopped", RETRY_AFTER_S))

    def data_received(self, data: bytes) -> None:
        try:
            for number, payload in self._frames.take(data):
                future = self.waiting.pop(number, None)
                if future is None or future.done():
                    continue
                try:
                    future.set_result(result(payload))
                except ProtocolError as exc:
                    future.set_exception(exc)
        except MalformedError:
            self.close()

    def ask(self, work: Work) -> asyncio.Future[Any]:
        """The future result of a work."""
        number = next(self._numbers)
        future = self.waiting[number] = self._loop.create_future()
        if not self._unsent:  # what this turn of the loop asks for leaves in one write
            self._loop.call_soon(self._send)
        self._unsent.append(request(number, work))
        return future

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        if self._transport is not None and not self.is_lost:
            self._transport.write(data)
