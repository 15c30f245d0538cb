from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from headcount_ledger.exchange import Answer
from headcount_node import protocol
from headcount_node.config import Listen
from headcount_node.hot import Receive, Request, Scope, Send, respond
from headcount_node.public import answer, listen, new_server
from headcount_spec.errors import TooLargeError
from headcount_spec.problem import problem
from ports import free_ports

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Scenario = Callable[[Callable[[], Awaitable[Client]]], Awaitable[None]]

GET = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path; a body has ten bytes at most; /large is large."""
    try:
        await Request(scope["headers"], receive).body(10, lambda most: TooLargeError("too long"))
        body = bytes(1 << 24) if scope["path"] == "/large" else scope["path"].encode()
        await respond(Answer(200, {}, body), send)
    except TooLargeError as error:
        document = problem(error)
        await respond(Answer(document.status, document.headers, document.body), send)


def play(scenario: Scenario) -> None:
    (port,) = free_ports(0)

    async def connect() -> Client:
        return await asyncio.open_connection("127.0.0.1", port)

    async def run() -> None:
        server = new_server(app)
        listener = listen(Listen("127.0.0.1", port))
        serving = asyncio.create_task(answer(server, listener))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            await asyncio.wait_for(scenario(connect), 30)
        finally:
            server.should_exit = True
            await serving
            listener.close()

    asyncio.run(run())


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes before the end, however the connection ends."""
    data = b""
    try:
        while chunk := await reader.read(1 << 16):
            data += chunk
    except ConnectionError:
        pass
    return data


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return int(head[9:12]), await reader.readexactly(int(length.split()[1]))


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.3)
    monkeypatch.setattr(protocol, "WRITE_S", 0.3)
    monkeypatch.setattr(protocol, "SWEEP_S", 0.05)


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: local", POST % 5 + b"ab"],
    ids=["nothing", "a-line", "half-a-header", "half-a-body"],
)
def test_a_request_that_does_not_end_in_time_is_cut(hurry: None, begun: bytes) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(begun)
        assert await closed(reader) == b""
        writer.close()

    play(scenario)


def test_a_byte_now_and_then_does_not_help(hurry: None) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        ended = asyncio.create_task(closed(reader))
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(100):
            if ended.done():
                break
            writer.write(b"y")
            await asyncio.sleep(0.02)
        assert await ended == b""
        writer.close()

    play(scenario)


def test_a_reader_that_never_reads_is_cut(hurry: None) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(1)
        assert len(await closed(reader)) < 1 << 24
        writer.close()

    play(scenario)


def test_an_idle_connection_may_stay_for_a_while(hurry: None) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        for number in range(2):
            writer.write(GET % number)
            assert await answered(reader) == (200, b"/%d" % number)
            await asyncio.sleep(0.6)
        writer.close()

    play(scenario)


@pytest.mark.parametrize("name", [b"X", b""], ids=["one-header", "many-headers"])
def test_an_endless_header_is_cut(name: bytes) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + (b"X: " if name else b""))
        sent, ended = 0, asyncio.create_task(closed(reader))
        while not ended.done() and sent < 1 << 24:
            writer.write(b"y" * 8192 if name else b"A: b\r\n" * 1000)
            sent += 8192
            await asyncio.sleep(0.001)
        await ended
        assert sent < 1 << 20
        writer.close()

    play(scenario)


def test_a_body_that_is_too_long_is_answered_and_then_cut() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(POST % (1 << 30) + b"y" * 11)
        status, body = await answered(reader)
        assert (status, json.loads(body)["code"]) == (413, "too-large")
        sent, ended = 0, asyncio.create_task(closed(reader))
        while not ended.done() and sent < 1 << 26:
            writer.write(b"y" * 65536)
            sent += 65536
            await asyncio.sleep(0)
        await ended
        assert sent < 1 << 24
        writer.close()

    play(scenario)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(b"".join(GET % number for number in range(50)))
        for number in range(50):
            assert await answered(reader) == (200, b"/%d" % number)
        writer.close()

    play(scenario)


def test_too_many_pipelined_requests_are_cut() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(b"".join(GET % number for number in range(5000)))
        assert (await closed(reader)).count(b"HTTP/1.1 200") <= protocol.MAX_PIPELINED + 1
        writer.close()

    play(scenario)


def test_one_connection_too_many_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 2)

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        clients = [await connect() for _ in range(2)]
        await asyncio.sleep(0.1)
        reader, writer = await connect()
        data = await closed(reader)
        assert data.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in data
        for other_reader, other in clients:
            other.write(GET % 1)
            assert await answered(other_reader) == (200, b"/1")
            other.close()
        writer.close()

    play(scenario)


def test_what_is_no_http_is_answered_400() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        assert (await closed(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()

    play(scenario)
