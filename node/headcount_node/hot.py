"""The hot routes as bare ASGI: accepting a pledge, an entry, a bundle of them. All else goes to Flask.

    POST /pledges           verify as the verifier, accept as the ledger; verified once
    POST /ledger/entries    accept as the ledger
    POST /ledger/bundles    the same for up to 1,000 entries

What is checked and answered is that of the blueprints: this module only carries it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

from headcount_ledger import exchange as ledger_exchange
from headcount_ledger.exchange import Answer
from headcount_ledger.gate import Gate
from headcount_ledger.ticker import wall_clock
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import MalformedError, ProtocolError
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

WHOLE = "headcount.whole"  # our server's own way to answer, in the scope
SLICE = 16  # entries of a bundle that are verified before others get their turn: 2 ms


_log = logging.getLogger(__name__)


class Request:
    """A request whose header has arrived."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> None:
        self._headers = dict(headers)
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def length(self) -> int | None:
        """What Content-Length says; the server has checked that it is a number."""
        value = self._headers.get(b"content-length")
        return None if value is None else int(value)

    async def body(self, max_bytes: int, too_long: Callable[[int], ProtocolError]) -> bytes:
        """The whole body.

        Raises:
            TooLargeError: it goes on after max_bytes.
            MalformedError: the client went away.
        """
        message = await self._receive()
        data: bytes = message.get("body", b"")
        while message.get("more_body") and len(data) <= max_bytes:
            message = await self._receive()
            data += message.get("body", b"")
        if message["type"] != "http.request":
            raise MalformedError("the request is not complete")
        if len(data) > max_bytes:
            raise too_long(max_bytes)
        return data


class HotRoutes:
    """The ASGI app of the public origin. Belongs to one event loop."""

    def __init__(
        self,
        gate: Gate,
        redeemer: Redeemer | None,
        cold: AsgiApp,
        prefix: str,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        """Accept through the gate; cold answers everything else."""
        self._gate = gate
        self._redeemer = redeemer
        self._cold = cold
        self._clock = clock
        self._routes: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            f"{prefix}/{ledger_exchange.ENTRIES}": self._entry,
            f"{prefix}/{ledger_exchange.BUNDLES}": self._bundle,
        }
        if redeemer is not None:
            self._routes["/pledges"] = self._pledge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        route = None
        if scope["type"] == "http" and scope["method"] == "POST":
            route = self._routes.get(scope["path"])
        if route is None:
            await self._cold(scope, receive, send)
            return
        try:
            answer = await route(Request(scope["headers"], receive))
        except Exception:  # noqa: BLE001 as the Flask apps: a bug is logged, and answered without a word about it
            _log.exception("a request failed")
            answer = ledger_exchange.refused(from_status(500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase))
            if route == self._pledge:
                answer = _protected(answer)
        whole = scope.get(WHOLE)
        if whole is None:
            await respond(answer, send)
        else:
            whole(head(answer), answer.body)

    async def _pledge(self, request: Request) -> Answer:
        redeemer = self._redeemer
        assert redeemer is not None  # noqa: S101 - the route exists only with one
        try:
            verifier_exchange.check_head(
                request.header(b"content-type"),
                request.header(b"content-encoding") is not None,
                request.length,
                MAX_PLEDGE_BYTES,
            )
            data = await request.body(MAX_PLEDGE_BYTES, verifier_exchange.too_long)
        except ProtocolError as error:
            return _protected(verifier_exchange.refused(error))
        try:
            verifier_exchange.check_origin(redeemer, data, request.header(b"origin"))
            verified = redeemer.verify(data)
            if verified.manifest.ledger.key != self._gate.ledger_key:
                # The scope counts in another ledger, which is reached over HTTP.
                loop = asyncio.get_running_loop()
                promised = await loop.run_in_executor(None, redeemer.redeem, data)
                return _protected(verifier_exchange.promised(promised))
            promise = await self._gate.accept(verified, self._day())
            # Made in this process under the ledger's key: there is no signature to doubt.
            assert isinstance(promise, Promise)  # noqa: S101 - the answer to every pledge
            return Answer(200, _PROMISED, promise.to_bytes())
        except ProtocolError as error:
            return _protected(verifier_exchange.refused(error, redeemer, data))

    async def _entry(self, request: Request) -> Answer:
        try:
            ledger_exchange.check_entry_head(request.header(b"content-type"), request.length)
            data = await request.body(MAX_ENTRY_BYTES, ledger_exchange.entry_too_long)
            return ledger_exchange.accepted(await self._gate.accept(data, self._day()))
        except ProtocolError as error:
            return ledger_exchange.refused(error)

    async def _bundle(self, request: Request) -> Answer:
        try:
            ledger_exchange.check_bundle_head(request.header(b"content-type"), request.length)
            data = await request.body(ledger_exchange.MAX_BUNDLE_BYTES, ledger_exchange.bundle_too_long)
            entries = ledger_exchange.open_bundle(data)
        except ProtocolError as error:
            return ledger_exchange.refused(error)
        day, answers = self._day(), []
        tasks = []
        for at in range(0, len(entries), SLICE):
            tasks += [asyncio.create_task(self._one(entry, day)) for entry in entries[at : at + SLICE]]
            await asyncio.sleep(0)  # each runs until it waits for the writer
        answers = await asyncio.gather(*tasks)
        return ledger_exchange.answered(answers)

    async def _one(self, entry: bytes, day: int) -> Answer:
        try:
            return ledger_exchange.accepted(await self._gate.accept(entry, day))
        except ProtocolError as error:
            return ledger_exchange.refused(error)

    def _day(self) -> int:
        return day_of(self._clock())


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


def _protected(answer: Answer) -> Answer:
    headers: Mapping[str, str] = {**answer.headers, **PROTECTION}
    return Answer(answer.status, headers, answer.body)


_PROMISED = _protected(verifier_exchange.promised(b"")).headers
