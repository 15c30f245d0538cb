"""The writer process as an event loop reaches it: works out over one Unix socket, results back by number.

How many wait is bounded; what finds the queue full is told to come again, and nothing of it was kept.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

from headcount_ledger.channel import Frames, request, result
from headcount_ledger.work import Work
from headcount_ledger.writer import RETRY_AFTER_S
from headcount_spec.errors import MalformedError, ProtocolError, UnavailableError

log = logging.getLogger("headcount.ledger")

# Called once, with the work's result when it is durable, or with the error that it ended in.
Done = Callable[[bool | ProtocolError], None]


def _tell(done: Done, came: bool | ProtocolError) -> None:
    """What one request does with its result must harm neither the others nor the connection."""
    try:
        done(came)
    except Exception:
        log.exception("an answer could not be handed on")


class WriterClient:
    """Has works run in the writer process. Belongs to one event loop."""

    def __init__(self, path: Path, max_waiting: int) -> None:
        self._path = path
        self._max_waiting = max_waiting
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._unsent: list[tuple[Work, Done]] = []  # until there is a connection

    def ask(self, work: Work, done: Done) -> None:
        """Have a work run. An UnavailableError in the answer: the writer does not answer, it is not known
        whether the work was done, and the same again does no harm.

        Raises:
            UnavailableError: too many wait; nothing was asked.
        """
        connection = self._connection
        if connection is None or connection.is_lost:
            self._connect(work, done)
        elif len(connection.waiting) >= self._max_waiting:
            raise UnavailableError("too many requests wait for the ledger", RETRY_AFTER_S)
        else:
            connection.ask(work, done)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _connect(self, work: Work, done: Done) -> None:
        if len(self._unsent) >= self._max_waiting:
            raise UnavailableError("too many requests wait for the ledger", RETRY_AFTER_S)
        self._unsent.append((work, done))
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, self._connection = await loop.create_unix_connection(_Connection, str(self._path))
        except OSError:
            self._connection = None
        self._connecting = None
        unsent, self._unsent = self._unsent, []
        for work, done in unsent:
            if self._connection is None:
                _tell(done, UnavailableError("the ledger's writer does not run", RETRY_AFTER_S))
            else:
                self._connection.ask(work, done)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.waiting: dict[int, Done] = {}
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
        for done in waiting.values():
            _tell(done, UnavailableError("the ledger's writer stopped", RETRY_AFTER_S))

    def data_received(self, data: bytes) -> None:
        try:
            for number, payload in self._frames.take(data):
                done = self.waiting.pop(number, None)
                if done is None:
                    continue
                try:
                    came: bool | ProtocolError = result(payload)
                except ProtocolError as exc:
                    came = exc
                _tell(done, came)
        except MalformedError:
            self.close()

    def ask(self, work: Work, done: Done) -> None:
        """Send a work."""
        if self.is_lost:
            _tell(done, UnavailableError("the ledger's writer stopped", RETRY_AFTER_S))
            return
        number = next(self._numbers)
        self.waiting[number] = done
        if not self._unsent:  # what this turn of the loop asks for leaves in one write
            self._loop.call_soon(self._send)
        self._unsent.append(request(number, work))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        if self._transport is not None and not self.is_lost:
            self._transport.write(data)
