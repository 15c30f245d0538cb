from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import fakes
import witnessing
from headcount_ledger.witness.app import create_app, from_environment
from headcount_ledger.witness.buffered import Buffered
from headcount_spec.tlog_witness import MAX_REQUEST_BYTES, monitoring_path
from witnessing import LOG, request

Environ = dict[str, Any]


def echo(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode(), b" ", environ["wsgi.input"].read()]


def ask(app: Buffered, method: str, path: str, body: bytes = b"") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://witness") as http:
            return await http.request(method, path, content=body)

    return asyncio.run(send())


def converse(app: Buffered, *messages: dict[str, Any] | float) -> list[dict[str, Any]]:
    """What the application sends while these come in, numbers being seconds of silence."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        while left and isinstance(left[0], float):
            await asyncio.sleep(float(left.pop(0)))  # type: ignore[arg-type]
        return left.pop(0)  # type: ignore[return-value]

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_witness_answers_through_it(tmp_path: Path) -> None:
    with witnessing.new_witness(tmp_path / "w", fakes.FakeClock()) as witness:
        app = Buffered(create_app(witness), MAX_REQUEST_BYTES)
        assert ask(app, "GET", "/" + monitoring_path(LOG.name)).status_code == 404
        assert ask(app, "POST", "/add-checkpoint", request(0, 5)).status_code == 200
        stale = ask(app, "POST", "/add-checkpoint", request(0, 5))
        assert (stale.status_code, stale.content) == (409, b"5\n")
        assert stale.headers["content-type"] == "text/x.tlog.size"
        shown = ask(app, "GET", "/" + monitoring_path(LOG.name))
        assert shown.status_code == 200
        assert int(shown.headers["content-length"]) == len(shown.content)
        assert ask(app, "POST", "/add-checkpoint", b"x" * (MAX_REQUEST_BYTES + 9)).status_code == 413
        assert ask(app, "GET", "/%ff%00/checkpoint").status_code == 404


def test_a_request_in_parts_is_put_together() -> None:
    start, body = converse(Buffered(echo, 10), part(b"old"), 0.01, part(b" 5", more=False))
    assert start["status"] == 200
    assert body["body"] == b"POST old 5"


def test_of_a_long_request_only_so_much_is_read() -> None:
    endless = [part(b"x" * 8) for _ in range(3)]
    _, body = converse(Buffered(echo, 10), *endless)
    assert body["body"] == b"POST " + b"x" * 11


def test_a_slow_request_is_given_up_and_reaches_no_thread() -> None:
    reached: list[Environ] = []
    app = Buffered(lambda environ, _start: reached.append(environ) or [], 10, timeout_s=0.05)  # type: ignore[func-returns-value]
    (start, _) = converse(app, part(b"o"), 0.02, part(b"l"), 5.0)
    assert start["status"] == 408
    assert reached == []


def test_who_leaves_gets_no_answer() -> None:
    assert converse(Buffered(echo, 10), part(b"o"), {"type": "http.disconnect"}) == []


def test_the_application_is_not_told_who_asks() -> None:
    seen: list[Environ] = []

    def look(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(environ)
        return echo(environ, start_response)

    ask(Buffered(look, 10), "POST", "/x?y=z", b"b")
    assert not any("REMOTE" in name or name.startswith("HTTP_") for name in seen[0])
    assert "127.0.0.1" not in str(seen)


def test_it_starts_and_stops_with_the_server() -> None:
    sent: list[str] = []
    coming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(Buffered(echo, 10)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_worker_finds_its_witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witnessing.new_witness(tmp_path / "w", fakes.FakeClock()).close()
    monkeypatch.setattr("headcount_ledger.witness.app.end_with_parent", lambda: None)
    monkeypatch.setenv("HEADCOUNT_CONFIG", str(tmp_path / "w"))
    app = from_environment()
    assert ask(app, "POST", "/add-checkpoint", request(0, 5)).status_code == 200
