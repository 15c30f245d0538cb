"""HTTP/1.1 of the public origin: uvicorn's, with bounds on what one connection may hold and how long.

uvicorn limits neither the time nor the bytes of a header, nor the time of a body, nor a reader that
never reads. One sweep a second looks at all connections, which costs a request nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headcount_ledger.exchange import MAX_BUNDLE_BYTES, Answer
from headcount_node.hot import HotApp, Request, Route, head
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
    _idle_at: float | None = None  # since when nothing has come, after a hot route's answer
    _blocked_at: float | None = None  # since when the peer does not read
    _received = 0  # bytes of it
    _requests = 0  # that the parser has seen begin
    _in_head = True
    _hot: _HotCycle | None = None  # the request to a hot route that is arriving
    _known: _Known | None = None  # the last one, if it came in one piece and nothing has come since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or tell it to come again."""
        super().connection_made(transport)
        self._begun_at = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for an answer any more."""
        if self._hot is not None:
            self._hot.drop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a request that has not ended."""
        if self.transport.is_closing():
            return
        # Between two requests the parser gives for the same bytes what it gave for them before.
        known = self._known
        if known is not None and self.cycle.response_complete:
            request = known.request(data)
            if request is not None:
                self._repeat(known, request, data)
                return
        is_between = self._begun_at is None and self._received == 0 and not self.pipeline
        self._received += len(data)
        if self._received > (MAX_HEAD_BYTES if self._in_head else MAX_BODY_BYTES) + len(data):
            self.transport.abort()
            return
        before = self._requests
        super().data_received(data)
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
        is_whole = is_between and self._begun_at is None and self._received == 0
        self._known = _known(self.cycle, data) if is_whole and self._requests == before + 1 else None

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._idle_at = None
        self._requests += 1
        self._begun_at, self._received, self._in_head = self.loop.time(), 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The header has ended: a hot route answers without uvicorn's cycle and its task."""
        self._received, self._in_head, self._idle_at = 0, False, None
        if self.transport.is_closing():
            self.cycle = _Ended()  # type: ignore[assignment]
            return
        found = self._hot_route()
        if found is None:
            super().on_headers_complete()
            return
        app, route = found
        request = Request(self.headers, self.client[0] if self.client else None)
        parser: Any = self.parser  # None only when the connection is lost
        keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self._hot = self.cycle = _HotCycle(self, app, route, request, keep_alive)  # type: ignore[assignment]
        self._hot.check()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._hot is None:
            super().on_body(body)
        else:
            self._hot.take(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._begun_at, self._received, self._in_head = None, 0, True
        if self._hot is None:
            super().on_message_complete()
        else:
            hot, self._hot = self._hot, None
            hot.finish()

    def on_response_complete(self) -> None:
        """uvicorn has answered; the sweep looks after what its timer forgets, such as a byte that begins
        no request."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._idle_at = self.loop.time()

    def answered(self) -> None:
        """A hot route has answered: go on with what is pipelined, or wait for the next request.

        The sweep ends the waiting; a timer for each answer, as uvicorn has, costs 3 µs a request.
        """
        if self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle_at = self.loop.time()

    def _repeat(self, known: _Known, request: Request, data: bytes) -> None:
        """Take a request whose header is that of the one before, but for credentials: it needs no parser."""
        self._unset_keepalive_if_required()
        self._idle_at = None
        cycle = known.cycle.again(request)
        self.cycle = cycle  # type: ignore[assignment]
        cycle.check()
        cycle.take(data[known.head_bytes :])
        cycle.finish()

    def _hot_route(self) -> tuple[HotApp, Route] | None:
        """The app and the hot route of the request whose header has come, if it comes as such requests do.

        What is pipelined behind another, expects an interim answer or spells its path in another way is
        answered by the same route through ASGI.
        """
        parser: Any = self.parser  # None only when the connection is lost
        app = self.app
        if not isinstance(app, HotApp) or parser.get_method() != b"POST":
            return None
        route = app.routes.get(self.url.decode("latin-1"))
        if (
            route is None
            or self.expect_100_continue
            or parser.should_upgrade()
            or not (self.cycle is None or self.cycle.response_complete)
        ):
            return None
        return app, route

    def pause_writing(self) -> None:
        """The peer does not read: nor do we, so that no answers pile up."""
        self._blocked_at = self.loop.time()
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._blocked_at = None
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def check(self, now: float) -> None:
        """Cut a connection that takes too long."""
        if self._idle_at is not None and now - self._idle_at > KEEP_ALIVE_S:
            self.transport.close()
        late = self._begun_at is not None and now - self._begun_at > REQUEST_S
        if late or (self._blocked_at is not None and now - self._blocked_at > WRITE_S):
            self.transport.abort()


class _Nobody:
    """In the place of the event that wakes a cycle's task."""

    def set(self) -> None:
        """Wake nobody."""


class _Ended:
    """A request that came behind the last answer of its connection: nobody takes it."""

    message_event = _Nobody()
    response_complete = True
    keep_alive = False


class _HotCycle:
    """A request to a hot route, in the place of uvicorn's cycle: what is pipelined behind it waits."""

    message_event = _Nobody()
    __slots__ = (
        "_app",
        "_body",
        "_held",
        "_protocol",
        "_route",
        "disconnected",
        "keep_alive",
        "request",
        "response_complete",
    )

    def __init__(
        self, protocol: BoundedProtocol, app: HotApp, route: Route, request: Request, keep_alive: bool
    ) -> None:
        self._protocol = protocol
        self._app = app
        self._route = route
        self._body: bytes | bytearray = b""
        self._held = app.bodies.hold()
        self.request = request
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False

    def again(self, request: Request) -> _HotCycle:
        """The next request, with the same header or the same but for credentials."""
        return _HotCycle(self._protocol, self._app, self._route, request, self.keep_alive)

    def check(self) -> None:
        """The header is there."""
        try:
            self._route.check(self.request)
        except Exception as exc:  # noqa: BLE001 a bug is answered without a word about it
            self._reply(self._route.refuse(exc))

    def take(self, body: bytes) -> None:
        """A part of the body."""
        if self.response_complete:
            return
        try:
            self._held.take(len(body))
        except UnavailableError as exc:
            self._reply(self._route.refuse(exc))
            return
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = bytearray(self._body) + body
        else:
            self._body += body
        if len(self._body) > self._route.max_bytes:
            self._reply(self._route.refuse(self._route.too_long()))

    def drop(self) -> None:
        """The rest of the body will not come."""
        self._body = b""
        self._held.release()

    def finish(self) -> None:
        """The request is complete."""
        if self.response_complete:
            return
        try:
            self._route.take(self.request, bytes(self._body), self._reply)
        except Exception as exc:  # noqa: BLE001 a bug is answered without a word about it
            self._reply(self._route.refuse(exc))

    def _reply(self, answer: Answer) -> None:
        """Answer in one write: status line and headers, uvicorn's own, and the body."""
        if self.response_complete:
            return
        self.response_complete = True
        self.drop()
        protocol = self._protocol
        # uvicorn marks only the last cycle as disconnected, and uvloop raises on a closed transport.
        if self.disconnected or protocol.transport.is_closing():
            return
        own = _lines(protocol.server_state.default_headers)
        if not self.keep_alive:
            own += b"connection: close\r\n"
        data = b"%s%scontent-length: %d\r\n\r\n%s" % (head(answer), own, len(answer.body), answer.body)
        protocol.transport.write(data)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.answered()


_last_lines: tuple[object, bytes] = ((), b"")  # of the list that uvicorn makes anew each second


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    global _last_lines
    if _last_lines[0] is not headers:
        _last_lines = (headers, b"".join(b"%s: %s\r\n" % header for header in headers))
    return _last_lines[1]


class _Known:
    """A request to a hot route that came in one piece."""

    __slots__ = ("_after", "_at", "_before", "_end", "_size", "cycle", "head_bytes")

    def __init__(self, cycle: _HotCycle, head: bytes, size: int) -> None:
        self.cycle = cycle
        self._size = size  # bytes of the whole request
        self.head_bytes = len(head)
        self._at, self._end = _credentials(head)
        self._before, self._after = head[: self._at], head[self._end :]

    def request(self, data: bytes) -> Request | None:
        """The header of this data, if it is a whole request whose header differs in credentials at most.

        Its body is then as long as that of the request before.
        """
        at, end = self._at, self._end
        if len(data) != self._size or not data.startswith(self._before):
            return None
        if at == end:
            return self.cycle.request
        if not data.startswith(self._after, end):
            return None
        value = data[at:end]
        # What the parser takes for a value as it stands: no blank at an end, and no control character.
        if _CREDENTIALS.fullmatch(value) is None:
            return None
        return self.cycle.request.having(_AUTHORIZATION, value)


_AUTHORIZATION = b"authorization"
_CREDENTIALS = re.compile(rb"[A-Za-z]{1,16} [A-Za-z0-9._~+/-]{1,256}={0,2}")  # RFC 6750, Section 2.1
_CREDENTIALS_LINE = re.compile(rb"\r\n%s: (%s)\r\n" % (_AUTHORIZATION, _CREDENTIALS.pattern), re.IGNORECASE)


def _credentials(head: bytes) -> tuple[int, int]:
    """Where the credentials stand in a header; at its end, and empty, if there are none or several."""
    found = _CREDENTIALS_LINE.search(head)
    if found is None or head.lower().count(_AUTHORIZATION) != 1:
        return len(head), len(head)
    return found.span(1)


def _known(cycle: Any, data: bytes) -> _Known | None:
    """What is to be known of a request that these bytes were, and nothing else."""
    if isinstance(cycle, _HotCycle) and cycle.keep_alive:
        length = cycle.request.length  # None with a chunked body
        if length is not None:
            return _Known(cycle, data[: len(data) - length], len(data))
    return None


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
