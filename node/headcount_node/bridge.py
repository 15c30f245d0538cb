"""A WSGI app inside an ASGI server: for the cold routes, which Flask answers in a thread.

Bodies are read whole and bounded before a thread is taken, and answers are handed back whole: a slow
client holds memory, never a thread. PEP 3333; ASGI 3.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from headcount_ledger.exchange import Answer
from headcount_node.hot import Receive, Scope, Send, body, respond
from headcount_spec.errors import ProtocolError, TooLargeError, UnavailableError
from headcount_spec.problem import problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MAX_BODY_BYTES = 1 << 16  # more than any cold route takes
_WAITING = 8  # requests that wait for each thread


class Bridge:
    """The ASGI app that answers by a WSGI app in so many threads."""

    def __init__(self, app: WSGIApplication, threads: int, *, tells_peer: bool = False) -> None:
        """tells_peer: the app is told the network address of who asks; it must not keep it."""
        self._app = app
        self._tells_peer = tells_peer
        self._pool = ThreadPoolExecutor(threads, "cold")
        self._most = threads * _WAITING
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served")
        try:
            values = environ(scope, await body(receive, MAX_BODY_BYTES, _too_long))
            if self._tells_peer and scope.get("client"):
                values["REMOTE_ADDR"] = scope["client"][0]
            answer = await self._run(values)
        except ProtocolError as error:
            document = problem(error)
            answer = Answer(document.status, document.headers, document.body)
        await respond(answer, send)

    async def _run(self, environ: dict[str, Any]) -> Answer:
        if self._waiting >= self._most:
            raise UnavailableError("too many requests wait")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, self._app, environ)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads finish."""
        self._pool.shutdown()


def environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The WSGI environment of an ASGI scope; the client's address is left out: most need it not."""
    server = scope.get("server") or ("localhost", 80)
    values: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        values[key] = f"{values[key]},{text}" if key in values else text
    values.pop("HTTP_TRANSFER_ENCODING", None)  # the body is whole
    values["CONTENT_LENGTH"] = str(len(body))
    return values


def call(app: WSGIApplication, environ: dict[str, Any]) -> Answer:
    """What a WSGI app answers."""
    begun: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        begun[:] = [(int(status[:3]), headers)]

    chunks: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = begun[0]
    return Answer(status, dict(headers), body)


def _too_long() -> TooLargeError:
    return TooLargeError(f"the body is longer than {MAX_BODY_BYTES} bytes")
