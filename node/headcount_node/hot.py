"""The hot routes: accepting a pledge, an entry, a bundle of them. All else goes to Flask.

    POST /pledges           verify as the verifier, accept as the ledger; verified once
    POST /ledger/entries    accept as the ledger
    POST /ledger/bundles    the same for up to 1,000 entries

What is checked and answered is that of the blueprints: this module only carries it. A route takes a body
and is given a function for its answer, so that our protocol class needs no task for a request;
``HotApp`` is the same as an ASGI app, for requests that come otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from headcount_ledger import exchange as ledger_exchange
from headcount_ledger.exchange import Answer
from headcount_ledger.gate import Asked, Gate
from headcount_ledger.intake import Accepted
from headcount_ledger.refusals import Refusals, Sender
from headcount_ledger.ticker import wall_clock
from headcount_node.bodies import Bodies, Held
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import MalformedError, ProtocolError, RateLimitedError
from headcount_spec.problem import from_status
from headcount_spec.promise import Promise
from headcount_spec.text import day_of
from headcount_verifier import Redeemer
from headcount_verifier import exchange as verifier_exchange
from headcount_verifier.exchange import MAX_PLEDGE_BYTES, PROTECTION

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Reply = Callable[[Answer], None]

SLICE = 16  # entries of a bundle that are verified before others get their turn: half a millisecond


_log = logging.getLogger(__name__)


class Request:
    """The header of a request."""

    __slots__ = ("_headers", "peer")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], peer: str | None) -> None:
        self._headers = dict(headers)
        self.peer = peer  # address of the connection

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def having(self, name: bytes, value: bytes) -> Request:
        """The same with another value of a header, by its lower-case name."""
        other = Request((), self.peer)
        other._headers = {**self._headers, name: value}
        return other

    @property
    def length(self) -> int | None:
        """What Content-Length says; the server has checked that it is a number."""
        value = self._headers.get(b"content-length")
        return None if value is None else int(value)


class Route(Protocol):
    """One resource that takes a body and answers it."""

    max_bytes: int  # of a body

    def check(self, request: Request) -> None:
        """Raises ProtocolError for what no body can mend."""
        ...

    def too_long(self) -> ProtocolError:
        """The error of a body that goes on after max_bytes."""
        ...

    def take(self, request: Request, data: bytes, reply: Reply) -> None:
        """Answer a body, by and by; what this raises is the answer too."""
        ...

    def refuse(self, error: Exception) -> Answer:
        """The answer that tells an error."""
        ...


class Guard:
    """Counts what is refused, by the clock."""

    def __init__(self, refusals: Refusals, clock: Callable[[], int]) -> None:
        self._refusals = refusals
        self._clock = clock
        header = refusals.proxy_header
        self._proxy_header = header.lower().encode("latin-1") if header else None

    @property
    def today(self) -> int:
        """The UTC day."""
        return day_of(self._clock())

    def check(self, request: Request, entry: bytes) -> None:
        """Raises RateLimitedError: too many such entries of its network were refused."""
        self._refusals.check(self._sender(request), self._clock(), entry)

    def count(self, request: Request, entry: bytes, came: object) -> None:
        """Note what came of an entry."""
        if isinstance(came, Exception):
            self._refusals.count(self._sender(request), self._clock(), entry, came)

    def _sender(self, request: Request) -> Sender:
        header = self._proxy_header
        return Sender(request.peer, request.header(header) if header else None)


class PledgeRoute:
    """POST /pledges."""

    max_bytes = MAX_PLEDGE_BYTES

    def __init__(self, gate: Gate, redeemer: Redeemer, guard: Guard) -> None:
        self._gate = gate
        self._redeemer = redeemer
        self._guard = guard

    def check(self, request: Request) -> None:
        """As the blueprint."""
        verifier_exchange.check_head(
            request.header(b"content-type"),
            request.header(b"content-encoding") is not None,
            request.length,
            MAX_PLEDGE_BYTES,
        )

    def too_long(self) -> ProtocolError:
        """As the blueprint."""
        return verifier_exchange.too_long(MAX_PLEDGE_BYTES)

    def take(self, request: Request, data: bytes, reply: Reply) -> None:
        """Verify here, accept through the gate."""

        def done(came: Accepted | Exception) -> None:
            if isinstance(came, Promise):
                # Made in this process under the ledger's key: there is no signature to doubt.
                reply(Answer(200, _PROMISED, came.to_bytes()))
            else:
                self._guard.count(request, data, came)
                reply(self._refuse(came, data))

        redeemer = self._redeemer
        try:
            self._guard.check(request, data)
            verifier_exchange.check_origin(redeemer, data, request.header(b"origin"))
            verified = redeemer.verify(data)
        except ProtocolError as exc:
            done(exc)
            return
        if verified.manifest.ledger.key == self._gate.ledger_key:
            self._gate.accept(verified, self._guard.today, done)
            return

        # The scope counts in another ledger, which is reached over HTTP.
        def relayed(future: asyncio.Future[bytes]) -> None:
            error = future.exception()
            if error is None:
                reply(Answer(200, _PROMISED, future.result()))
            else:
                reply(self._refuse(error, data))

        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, redeemer.redeem, data).add_done_callback(relayed)

    def refuse(self, error: Exception) -> Answer:
        """As the blueprint."""
        return self._refuse(error)

    def _refuse(self, error: object, data: bytes = b"") -> Answer:
        if isinstance(error, ProtocolError):
            return _protected(verifier_exchange.refused(error, self._redeemer if data else None, data))
        return _protected(_failed(error))


class EntryRoute:
    """POST /ledger/entries."""

    max_bytes = MAX_ENTRY_BYTES

    def __init__(self, gate: Gate, guard: Guard) -> None:
        self._gate = gate
        self._guard = guard

    def check(self, request: Request) -> None:
        """As the blueprint."""
        ledger_exchange.check_entry_head(request.header(b"content-type"), request.length)

    def too_long(self) -> ProtocolError:
        """As the blueprint."""
        return ledger_exchange.entry_too_long(MAX_ENTRY_BYTES)

    def take(self, request: Request, data: bytes, reply: Reply) -> None:
        """Accept through the gate."""

        def done(came: Accepted | Exception) -> None:
            self._guard.count(request, data, came)
            reply(_answer(came))

        self._guard.check(request, data)
        self._gate.accept(data, self._guard.today, done)

    def refuse(self, error: Exception) -> Answer:
        """As the blueprint."""
        return _answer(error)


class BundleRoute:
    """POST /ledger/bundles."""

    max_bytes = ledger_exchange.MAX_BUNDLE_BYTES

    def __init__(self, gate: Gate, guard: Guard) -> None:
        self._gate = gate
        self._guard = guard

    def check(self, request: Request) -> None:
        """As the blueprint."""
        ledger_exchange.check_bundle_head(request.header(b"content-type"), request.length)

    def too_long(self) -> ProtocolError:
        """As the blueprint."""
        return ledger_exchange.bundle_too_long(self.max_bytes)

    def take(self, request: Request, data: bytes, reply: Reply) -> None:
        """Accept each through the gate: verify some at a turn of the loop, then write all at once."""
        entries = ledger_exchange.open_bundle(data)
        answers: dict[int, Answer] = {}
        asked: list[Asked] = []
        day, loop = self._guard.today, asyncio.get_running_loop()

        def put(place: int, came: Accepted | Exception) -> None:
            self._guard.count(request, entries[place], came)
            answers[place] = _answer(came)
            if len(answers) == len(entries):
                reply(ledger_exchange.answered([answers[i] for i in range(len(entries))]))

        def turn(first: int) -> None:
            for place in range(first, min(first + SLICE, len(entries))):
                try:
                    self._guard.check(request, entries[place])
                except RateLimitedError as exc:
                    put(place, exc)
                else:
                    self._gate.accept(entries[place], day, partial(put, place), asked)
            if first + SLICE < len(entries):
                loop.call_soon(turn, first + SLICE)
            else:
                self._gate.send(asked)

        turn(0)

    def refuse(self, error: Exception) -> Answer:
        """As the blueprint."""
        return _answer(error)


class HotApp:
    """An ASGI app of hot routes; cold answers everything else. Belongs to one event loop."""

    def __init__(self, routes: Mapping[str, Route], cold: AsgiApp) -> None:
        """routes: by path, for POST."""
        self.routes = routes
        self.bodies = Bodies()
        self._cold = cold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        route = None
        if scope["type"] == "http" and scope["method"] == "POST":
            route = self.routes.get(scope["path"])
        if route is None:
            await self._cold(scope, receive, send)
            return
        client = scope.get("client")
        request = Request(scope["headers"], client[0] if client else None)
        held = self.bodies.hold()
        try:
            route.check(request)
            data = await body(receive, route.max_bytes, route.too_long, held)
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

            def reply(answer: Answer) -> None:
                if not future.done():  # the server may have given the request up
                    future.set_result(answer)

            route.take(request, data, reply)
            answer = await future
        except Exception as exc:  # noqa: BLE001 as the Flask apps: a bug is answered without a word about it
            answer = route.refuse(exc)
        finally:
            held.release()
        await respond(answer, send)


class HotRoutes(HotApp):
    """The app of the public origin."""

    def __init__(
        self,
        gate: Gate,
        redeemer: Redeemer | None,
        cold: AsgiApp,
        prefix: str,
        refusals: Refusals,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        """Accept through the gate; cold answers everything else."""
        guard = Guard(refusals, clock)
        routes: dict[str, Route] = {
            f"{prefix}/{ledger_exchange.ENTRIES}": EntryRoute(gate, guard),
            f"{prefix}/{ledger_exchange.BUNDLES}": BundleRoute(gate, guard),
        }
        if redeemer is not None:
            routes["/pledges"] = PledgeRoute(gate, redeemer, guard)
        super().__init__(routes, cold)


async def body(receive: Receive, max_bytes: int, too_long: Callable[[], ProtocolError], held: Held) -> bytes:
    """The whole body of a request; held counts it, and is the caller's to release.

    Raises:
        TooLargeError: it goes on after max_bytes.
        UnavailableError: the bodies of all requests together are too long.
        MalformedError: the client went away.
    """
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise MalformedError("the request is not complete")
        part = message.get("body", b"")
        held.take(len(part))
        data += part
        if len(data) > max_bytes:
            raise too_long()
        if not message.get("more_body"):
            return bytes(data)


_HEADS: dict[int, tuple[Mapping[str, str], bytes]] = {}  # of the answers that share their headers


def head(answer: Answer) -> bytes:
    """The status line and the headers as they are sent."""
    known = _HEADS.get(id(answer.headers))
    if known is not None and known[0] is answer.headers and answer.status == 200:
        return known[1]
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"]
    lines += [f"{name.lower()}: {value}\r\n" for name, value in answer.headers.items()]
    made = "".join(lines).encode("latin-1")
    if answer.status == 200 and len(_HEADS) < 16:
        _HEADS[id(answer.headers)] = (answer.headers, made)
    return made


async def respond(answer: Answer, send: Send) -> None:
    """Send an answer."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    if not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _answer(came: Accepted | Exception) -> Answer:
    if isinstance(came, ProtocolError):
        return ledger_exchange.refused(came)
    if isinstance(came, Exception):
        return _failed(came)
    return ledger_exchange.accepted(came)


def _failed(error: object) -> Answer:
    _log.error("a request failed", exc_info=error if isinstance(error, BaseException) else None)
    return ledger_exchange.refused(from_status(500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase))


def _protected(answer: Answer) -> Answer:
    headers: Mapping[str, str] = {**answer.headers, **PROTECTION}
    return Answer(answer.status, headers, answer.body)


_PROMISED = _protected(verifier_exchange.promised(b"")).headers
