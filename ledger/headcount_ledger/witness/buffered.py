"""A WSGI application behind ASGI, for requests that are small and may come slowly.

Each request is read whole, within a time, before a thread works on it: who sends a byte a second holds
a socket, and no thread. The application is not told who asks.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

TIMEOUT_S = 10.0
THREADS = 8

_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class Buffered:
    """An ASGI 3 application."""

    def __init__(
        self, app: WsgiApplication, max_bytes: int, timeout_s: float = TIMEOUT_S, threads: int = THREADS
    ) -> None:
        """Of a longer body, max_bytes + 1 are passed on: enough for the application to refuse it."""
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(threads)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            body = await asyncio.wait_for(self._read(receive), self._timeout_s)
        except TimeoutError:
            answer: _Answer = (408, [(b"connection", b"close")], b"")
        else:
            if body is None:
                return
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._pool, self._call, _environ(scope, body))
        status, headers, data = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, None if the client has gone."""
        data = bytearray()
        while len(data) <= self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            data += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(data[: self._max_bytes + 1])

    def _call(self, environ: dict[str, Any]) -> _Answer:
        """Run the application; in a thread."""
        started: list[_Answer] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> None:
            named = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            started.append((int(status[:3]), named, b""))

        chunks = self._app(environ, start_response)
        try:
            data = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)  # PEP 3333
            if close is not None:
                close()
        status, headers, _ = started[-1]
        return status, headers, data

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._pool.shutdown()  # what was begun is finished
                await send({"type": "lifespan.shutdown.complete"})
                return


def _environ(scope: Message, body: bytes) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of a request, without the client's address."""
    return {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
