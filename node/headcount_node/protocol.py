"""HTTP/1.1 of the public origin: uvicorn's, with bounds on what one connection may hold and how long.

uvicorn limits neither the time nor the bytes of a header, nor the time of a body, nor a reader that
never reads. One sweep a second looks at all connections, which costs a request nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from headcount_ledger.exchange import MAX_BUNDLE_BYTES
from headcount_node.hot import WHOLE
from headcount_spec.errors import UnavailableError
from headcount_spec.problem import problem

MAX_CONNECTIONS = 4096  # of one process
MAX_HEAD_BYTES = 1 << 15
MAX_BODY_BYTES = MAX_BUNDLE_BYTES + (1 << 16)  # chunked coding included
MAX_PIPELINED = 64  # requests that one connection sends ahead of the answers
REQUEST_S = 20  # from the first byte, or the connection's beginning, to the last byte
WRITE_S = 60  # for a reader that lets answers pile up
KEEP_ALIVE_S = 20
SWEEP_S = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _begun_at: float | None = None  # of the request that is arriving
    _blocked_at: float | None = None  # since when the peer does not read
    _received = 0  # bytes of it
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or tell it to come again."""
        super().connection_made(transport)
        self._begun_at = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_BUSY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a request that has not ended."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._received > (MAX_HEAD_BYTES if self._in_head else MAX_BODY_BYTES) + len(data):
            self.transport.abort()
            return
        super().data_received(data)
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._begun_at, self._received, self._in_head = self.loop.time(), 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The header has ended."""
        self._received, self._in_head = 0, False
        super().on_headers_complete()
        # The app runs in a task that has not begun, so that this is there in time.
        cast(dict[str, Any], self.scope)[WHOLE] = partial(self.send_whole, self.cycle)

    def send_whole(self, cycle: RequestResponseCycle, head: bytes, body: bytes) -> None:
        """Answer in one write: status line and headers but for the server's own, and the body.

        uvicorn writes them one after the other, and looks at every header again: 20 µs a request.
        """
        if cycle.disconnected or cycle.response_started:
            return
        own = b"".join(b"%s: %s\r\n" % header for header in cycle.default_headers)
        if not cycle.keep_alive:
            own += b"connection: close\r\n"
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"%s%scontent-length: %d\r\n\r\n%s" % (head, own, len(body), body))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._begun_at, self._received, self._in_head = None, 0, True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._blocked_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._blocked_at = None
        super().resume_writing()

    def check(self, now: float) -> None:
        """Cut a connection that takes too long."""
        late = self._begun_at is not None and now - self._begun_at > REQUEST_S
        if late or (self._blocked_at is not None and now - self._blocked_at > WRITE_S):
            self.transport.abort()


async def sweep(connections: Iterable[Any]) -> None:
    """Check all connections, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        now = loop.time()
        for connection in list(connections):
            connection.check(now)


def _busy() -> bytes:
    document = problem(UnavailableError("too many connections"))
    headers = {**document.headers, "Content-Length": str(len(document.body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 503 Service Unavailable\r\n{lines}\r\n".encode("ascii") + document.body


_BUSY = _busy()
