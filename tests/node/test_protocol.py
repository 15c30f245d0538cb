from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from headcount_ledger.config import LedgerConfig
from headcount_ledger.exchange import Answer
from headcount_ledger.refusals import Refusals
from headcount_node import protocol
from headcount_node.bodies import Bodies
from headcount_node.config import Listen
from headcount_node.hot import AsgiApp, HotRoutes, Receive, Reply, Request, Scope, Send, body, respond
from headcount_node.public import answer, listen, new_server
from headcount_spec.errors import ProtocolError, TooLargeError, WrongTypeError
from headcount_spec.problem import problem
from ports import free_ports

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Scenario = Callable[[Callable[[], Awaitable[Client]]], Awaitable[None]]

GET = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOT = b"POST /hot HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s"
BODIES = Bodies()
POST = b"POST /0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path; a body has ten bytes at most; /large is large."""
    try:
        await body(receive, 10, lambda: TooLargeError("too long"), BODIES.hold())
        data = bytes(1 << 24) if scope["path"] == "/large" else scope["path"].encode()
        await respond(Answer(200, {}, data), send)
    except TooLargeError as error:
        document = problem(error)
        await respond(Answer(document.status, document.headers, document.body), send)


class Echo:
    """A hot route: answers a body of ten bytes at most after as many hundredths of a second as it says."""

    max_bytes = 10

    def check(self, request: Request) -> None:
        if request.header(b"content-type") == "refused":
            raise WrongTypeError("refused")

    def too_long(self) -> ProtocolError:
        return TooLargeError("too long")

    def take(self, request: Request, data: bytes, reply: Reply) -> None:
        if data == b"bug":
            raise RuntimeError("a bug")
        loop = asyncio.get_running_loop()
        told = b"hot " + data + (request.header(b"authorization") or "").encode("latin-1")
        loop.call_later(int(data or b"0") / 100, reply, Answer(200, {}, told))

    def refuse(self, error: Exception) -> Answer:
        if isinstance(error, ProtocolError):
            document = problem(error)
            return Answer(document.status, document.headers, document.body)
        return Answer(500, {}, b"")


def hot_app() -> HotRoutes:
    routes = HotRoutes(None, None, app, "/ledger", Refusals(LedgerConfig(Path())))  # type: ignore[arg-type]  # no route of theirs is asked
    routes.routes = {"/hot": Echo()}
    return routes


def play(scenario: Scenario, app: AsgiApp = app) -> None:
    (port,) = free_ports(0)

    async def connect() -> Client:
        return await asyncio.open_connection("127.0.0.1", port)

    broken: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context))
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

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    assert not broken


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
    monkeypatch.setattr(protocol, "KEEP_ALIVE_S", 1.0)


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
        while not (ended.done() or writer.is_closing()) and sent < 1 << 24:
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
        while not (ended.done() or writer.is_closing()) and sent < 1 << 26:
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


def hot(data: bytes, *headers: bytes) -> bytes:
    return HOT % (b"".join(line + b"\r\n" for line in headers), len(data), data)


def test_pipelined_answers_of_both_kinds_keep_their_order() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(hot(b"20") + GET % 1 + hot(b"1") + hot(b"0") + GET % 2)
        wanted = [b"hot 20", b"/1", b"hot 1", b"hot 0", b"/2"]
        assert [await answered(reader) for _ in wanted] == [(200, one) for one in wanted]
        writer.write(hot(b"3"))
        assert await answered(reader) == (200, b"hot 3")
        writer.close()

    play(scenario, hot_app())


@pytest.mark.parametrize("pause", [0, 0.05])
def test_a_hot_request_in_pieces_is_answered_whole(pause: float) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        data = hot(b"00001", b"X: y") * 2
        for at in range(0, len(data), 7):
            writer.write(data[at : at + 7])
            await asyncio.sleep(pause / 10)
        assert [await answered(reader) for _ in range(2)] == [(200, b"hot 00001")] * 2
        writer.close()

    play(scenario, hot_app())


def test_a_header_that_is_known_changes_no_answer() -> None:
    whole = [hot(b"0"), hot(b"1"), hot(b"2"), hot(b"00"), hot(b"0", b"X: y"), hot(b"3", b"X: y"), hot(b"bug")]
    whole += [hot(b"0", b"Content-Type: refused"), hot(b"12345678901"), GET % 1, b"\r\n" + hot(b"4")]
    # Other credentials in a known header, and what only looks like them
    whole += [
        hot(b"1", line)
        for line in (
            b"Authorization: Bearer aaaa",
            b"Authorization: Bearer b-_=",
            b"authorization: Bearer aaaa",
            b"Authorization: Bearer  aaa",
            b"Authorization: refused aaa",
            b"Authorization:  Bearer bbb",
            b"Proxy-Authorization: Bearer aaaa",
            b"Authorization: Bearer aaaa\r\nAuthorization: Bearer bbbb",
        )
    ]
    chunked = HOT.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
    whole.append(chunked.replace(b"%s\r\n\r\n", b"\r\n\r\n", 1) % (b"", b"1\r\n5\r\n0\r\n\r\n"))
    random = Random(1)

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        wanted = {}
        for sent in whole:
            reader, writer = await connect()
            writer.write(sent)
            wanted[sent] = await answered(reader)
            writer.close()
        assert len({status for status, _ in wanted.values()}) == 4
        for _ in range(40):
            reader, writer = await connect()
            asked = random.choices(whole, k=random.choice((2, 3))) * 4
            data = b"".join(asked)
            cuts = {sum(map(len, asked[:i])) for i in range(len(asked)) if random.random() < 0.7}
            cuts |= {random.randrange(len(data)) for _ in range(random.choice((0, 0, 3)))}
            told: list[tuple[int, bytes]] = []
            for start, end in itertools.pairwise([0, *sorted(cuts - {0}), len(data)]):
                writer.write(data[start:end])
                if random.random() < 0.7:
                    await asyncio.sleep(0.002)
            told += [await answered(reader) for _ in asked]
            assert told == [wanted[sent] for sent in asked]
            writer.close()

    play(scenario, hot_app())


@pytest.mark.parametrize(
    "value", [b"Bearer a\rX:", b"Bearer a\n:b", b"Bearer a\0aa", b"Bearer \r\n\r\n", b"Bearer a\x7faa"]
)
def test_what_is_no_value_is_refused_behind_a_known_header(value: bytes) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        broken = hot(b"1", b"Authorization: " + value)
        told = []
        for before in ([], [hot(b"1", b"Authorization: Bearer aaaa")] * 2):
            reader, writer = await connect()
            for known in before:
                writer.write(known)
                assert await answered(reader) == (200, b"hot 1Bearer aaaa")
            writer.write(broken)
            told.append(await closed(reader))
            writer.close()
        assert told[0] == told[1]
        assert told[0].startswith(b"HTTP/1.1 400")

    play(scenario, hot_app())


def test_other_credentials_in_a_known_header_are_seen() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        for i in range(20):
            line = b"Authorization: Bearer %02d" % (i // 2)
            writer.write(hot(b"1", line, b"X: y"))
            assert await answered(reader) == (200, b"hot 1Bearer %02d" % (i // 2))
        writer.close()

    play(scenario, hot_app())


def test_a_known_header_in_another_place_is_none() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        known = hot(b"1")
        reader, writer = await connect()
        for _ in range(2):
            writer.write(known)
            assert await answered(reader) == (200, b"hot 1")
        writer.write(POST % len(known))  # as its body
        await asyncio.sleep(0.05)
        writer.write(known)
        assert (await answered(reader))[0] == 413
        writer.write(known)
        assert await answered(reader) == (200, b"hot 1")
        for data in (b"20", b"20", b"01"):  # before the answer to the one before
            writer.write(hot(data))
            await asyncio.sleep(0.05)
        assert [await answered(reader) for _ in range(3)] == [(200, b"hot 20")] * 2 + [(200, b"hot 01")]
        refused = hot(b"2", b"Content-Type: refused")
        for _ in range(2):  # behind another, in one piece with it
            writer.write(refused + known)
            assert (await answered(reader))[0] == 415
            assert await answered(reader) == (200, b"hot 1")
        writer.close()

    play(scenario, hot_app())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (hot(b"1", b"Content-Type: refused"), 415),
        (hot(b"12345678901"), 413),
        (hot(b"bug"), 500),
        (hot(b"", b"Expect: 100-continue"), 100),
    ],
)
def test_what_a_hot_route_refuses_leaves_the_connection_whole(sent: bytes, status: int) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(sent)
        if status == 100:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            assert await answered(reader) == (200, b"hot ")
        else:
            assert (await answered(reader))[0] == status
        writer.write(hot(b"1"))
        assert await answered(reader) == (200, b"hot 1")
        writer.close()

    play(scenario, hot_app())


def test_a_hot_answer_closes_the_connection_when_asked() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        for sent in (hot(b"1", b"Connection: close"), hot(b"1").replace(b"HTTP/1.1", b"HTTP/1.0")):
            reader, writer = await connect()
            writer.write(sent)
            data = await closed(reader)
            assert data.endswith(b"hot 1")
            assert b"connection: close" in data
            writer.close()

    play(scenario, hot_app())


def test_who_goes_away_before_a_hot_answer_harms_nobody() -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        for _ in range(5):
            _, writer = await connect()
            writer.write(hot(b"10"))
            await asyncio.sleep(0.01)
            writer.transport.abort()
        await asyncio.sleep(0.15)
        reader, writer = await connect()
        writer.write(hot(b"1"))
        assert await answered(reader) == (200, b"hot 1")
        writer.close()

    play(scenario, hot_app())


def test_a_connection_that_waits_too_long_after_a_hot_answer_is_closed(hurry: None) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(hot(b"1"))
        assert await answered(reader) == (200, b"hot 1")
        writer.write(hot(b"50"))  # waits longer for its answer than a connection may for a request
        assert await answered(reader) == (200, b"hot 50")
        assert await closed(reader) == b""
        writer.close()

    play(scenario, hot_app())


@pytest.mark.parametrize("behind", [GET % 1 * 70, GET % 1 + b"\0 garbage"])
def test_a_connection_that_is_cut_before_a_hot_answer_breaks_nothing(behind: bytes) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(hot(b"10") + behind)
        await asyncio.sleep(0.2)
        await closed(reader)
        writer.close()

    play(scenario, hot_app())


@pytest.mark.parametrize(
    ("sent", "later"),
    [
        (hot(b"1", b"Content-Type: refused")[:-1], b"1"),
        (hot(b"1"), b"\r\n"),
        (GET % 1, b"\r\n"),
    ],
)
def test_bytes_that_begin_no_request_keep_no_connection(hurry: None, sent: bytes, later: bytes) -> None:
    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(sent)
        await answered(reader)
        writer.write(later)
        assert await closed(reader) == b""
        writer.close()

    play(scenario, hot_app())


def test_a_body_of_many_small_chunks_costs_what_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Echo, "max_bytes", 1 << 19)
    monkeypatch.setattr(
        Echo, "take", lambda self, request, data, reply: reply(Answer(200, {}, b"%d" % len(data)))
    )

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        reader, writer = await connect()
        writer.write(b"POST /hot HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        began = time.process_time()
        writer.write(b"1\r\ny\r\n" * 100_000 + b"0\r\n\r\n")
        assert await answered(reader) == (200, b"100000")
        assert time.process_time() - began < 2
        writer.close()

    play(scenario, hot_app())


def test_the_bodies_of_all_connections_together_are_bounded() -> None:
    app = hot_app()
    app.bodies = Bodies(25)

    async def scenario(connect: Callable[[], Awaitable[Client]]) -> None:
        waiting = []
        for _ in range(2):
            reader, writer = await connect()
            writer.write(HOT % (b"", 10, b"000000000"))
            waiting.append((reader, writer))
        while app.bodies.held < 18:
            await asyncio.sleep(0.01)
        # Pipelined behind another, so that it comes by ASGI; and by itself.
        for head in (b"", HOT % (b"", 1, b"0")):
            reader, writer = await connect()
            writer.write(head + HOT % (b"", 10, b"0000000007"))
            if head:
                assert await answered(reader) == (200, b"hot 0")
            blob = await reader.readuntil(b"\r\n\r\n")
            assert blob.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 2\r\n" in blob.lower()
            assert app.bodies.held == 18
            writer.close()
        # Those that had begun go on, and what they held is free again, however they end.
        waiting[0][1].write(b"1")
        assert await answered(waiting[0][0]) == (200, b"hot 0000000001")
        for _, writer in waiting:
            writer.close()
        while app.bodies.held:
            await asyncio.sleep(0.01)
        reader, writer = await connect()
        writer.write(HOT % (b"", 10, b"0000000002"))
        assert await answered(reader) == (200, b"hot 0000000002")
        writer.close()

    play(scenario, app)
