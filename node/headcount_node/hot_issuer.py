"""The issuer's hot route as bare ASGI: POST /token-request. All else goes to Flask.

A signature takes a quarter of a millisecond of a core and a durable write; nobody waits for either in a
thread of their own (headcount_issuer.signing). What is checked and answered is what the Flask route does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus

from headcount_issuer.app import MAX_REQUEST_BYTES, REQUEST_TYPE, RESPONSE_TYPE, bearer_of
from headcount_issuer.directory import REQUEST_PATH
from headcount_issuer.issuer import Issuer
from headcount_issuer.signing import Order
from headcount_ledger.exchange import Answer
from headcount_node.hot import WHOLE, AsgiApp, Receive, Request, Scope, Send, head, respond
from headcount_spec.errors import ProtocolError, TooLargeError, UnavailableError, WrongTypeError
from headcount_spec.problem import Problem, from_status, problem

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_SIGNED = {**_HEADERS, "Content-Type": RESPONSE_TYPE}

_log = logging.getLogger(__name__)


class HotIssuer:
    """The ASGI app of the issuer's origin. Belongs to one event loop."""

    def __init__(self, issuer: Issuer, cold: AsgiApp, signers: int) -> None:
        """signers is the number of signing threads; cold answers everything else."""
        self._issuance = issuer.issuance
        self._cold = cold
        self._signers = self._issuance.signers(signers, self._deliver)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Order, asyncio.Future[Order]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        is_ours = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == REQUEST_PATH
        if not is_ours:
            await self._cold(scope, receive, send)
            return
        request = Request(scope["headers"], receive)
        origin = request.header(b"origin")
        try:
            answer = Answer(200, _SIGNED, await self._sign(request, origin))
        except ProtocolError as error:
            if error.status >= 500 and not isinstance(error, UnavailableError):
                _log.error("%s: %s", error.code, error)
            answer = _refused(problem(error))
        except Exception:  # noqa: BLE001 as Flask: a bug is logged, and answered without a word about it
            _log.exception("a request failed")
            answer = _refused(problem(from_status(500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase)))
        if origin is not None:
            answer = Answer(answer.status, {**answer.headers, **self._cross_origin(origin)}, answer.body)
        whole = scope.get(WHOLE)
        if whole is None:
            await respond(answer, send)
        else:
            whole(head(answer), answer.body)

    def close(self) -> None:
        """Finish what is being signed."""
        self._signers.close()

    async def _sign(self, request: Request, origin: str | None) -> bytes:
        media_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != REQUEST_TYPE:
            raise WrongTypeError(f"the body must be {REQUEST_TYPE}")
        if (request.length or 0) > MAX_REQUEST_BYTES:
            raise _too_long(MAX_REQUEST_BYTES)
        body = await request.body(MAX_REQUEST_BYTES, _too_long)
        bearer = bearer_of(request.header(b"authorization") or "")
        order = self._issuance.order(bearer, body, origin)
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Order] = loop.create_future()
        self._waiting[order] = future
        try:
            self._signers.submit(order)
            await future
        finally:
            del self._waiting[order]
        if order.error is not None:
            raise order.error
        assert order.blind_sig is not None  # noqa: S101
        return order.blind_sig

    def _deliver(self, orders: Sequence[Order]) -> None:
        """In a thread of the signers: one wake-up of the loop for the whole group."""
        assert self._loop is not None  # noqa: S101 - there are no orders before
        self._loop.call_soon_threadsafe(self._wake, orders)

    def _wake(self, orders: Sequence[Order]) -> None:
        for order in orders:
            future = self._waiting.get(order)
            if future is not None and not future.done():
                future.set_result(order)

    def _cross_origin(self, origin: str) -> dict[str, str]:
        allowed = {"Access-Control-Allow-Origin": origin} if self._issuance.may_ask(origin) else {}
        return {"Vary": "Origin", **allowed}


def _refused(document: Problem) -> Answer:
    return Answer(document.status, {**_HEADERS, **document.headers}, document.body)


def _too_long(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {max_bytes} bytes")
