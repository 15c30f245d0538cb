"""An ASGI app asked in memory, in an event loop of its own, with the interface of Flask's test client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

from werkzeug.wrappers import Response

from headcount_ledger.app import create_app
from headcount_ledger.gate import Gate
from headcount_ledger.ledger import Ledger
from headcount_ledger.refusals import Refusals
from headcount_node.bridge import Bridge
from headcount_node.hot import HotRoutes
from headcount_verifier import Redeemer

T = TypeVar("T")
CHUNK = 1000  # bytes of a body in one message


class AsgiClient:
    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def open(
        self,
        path: str,
        method: str = "GET",
        data: bytes = b"",
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        input_stream: BinaryIO | None = None,
        environ_overrides: Mapping[str, Any] | None = None,
    ) -> Response:
        given = dict(headers or {})
        if content_type:
            given["Content-Type"] = content_type
        if input_stream is not None:
            data = input_stream.read()
        elif method not in ("GET", "HEAD"):
            given["Content-Length"] = str(len(data))
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": unquote(path),
            "query_string": b"",
            "headers": raw,
            "scheme": "http",
            "server": ("localhost", 80),
            "client": ((environ_overrides or {}).get("REMOTE_ADDR", "127.0.0.1"), 50_000),
        }
        return self.run(self._ask(scope, data))

    async def _ask(self, scope: dict[str, Any], data: bytes) -> Response:
        messages = [
            {"type": "http.request", "body": data[at : at + CHUNK], "more_body": at + CHUNK < len(data)}
            for at in range(0, len(data) or 1, CHUNK)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = [(name.decode(), value.decode("latin-1")) for name, value in sent[0]["headers"]]
        body = b"".join(message["body"] for message in sent[1:])
        return Response([body], sent[0]["status"], headers)  # a list leaves the headers as they are

    def get(self, path: str, **options: Any) -> Response:
        return self.open(path, **options)

    def head(self, path: str, **options: Any) -> Response:
        return self.open(path, method="HEAD", **options)

    def post(self, path: str, **options: Any) -> Response:
        return self.open(path, method="POST", **options)


async def _close(gate: Gate) -> None:
    gate.close()
    await asyncio.sleep(0.01)  # the loop tells the connection that it is lost


@contextlib.contextmanager
def hot_client(
    ledger: Ledger, clock: Callable[[], int], redeemer: Redeemer | None = None
) -> Iterator[AsgiClient]:
    """The hot routes before a writer in a thread of this process."""
    server = ledger.writer_server()
    thread = threading.Thread(target=server.serve)
    thread.start()
    gate = Gate(ledger)
    cold = Bridge(create_app(ledger, clock), 2)
    client = AsgiClient(HotRoutes(gate, redeemer, cold, "/ledger", Refusals(ledger.config), clock))
    try:
        yield client
    finally:
        client.run(_close(gate))
        client.close()
        cold.close()
        server.stop()
        thread.join()
