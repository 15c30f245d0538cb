"""The issuer's hot route: POST /token-request. All else goes to Flask.

A signature takes a quarter of a millisecond of a core and a durable write; nobody waits for either in a
thread of their own (headcount_issuer.signing). What is checked and answered is what the Flask route does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from http import HTTPStatus

from headcount_issuer.app import MAX_REQUEST_BYTES, REQUEST_TYPE, RESPONSE_TYPE, bearer_of, places
from headcount_issuer.directory import REQUEST_PATH
from headcount_issuer.issuer import Issuer
from headcount_issuer.signing import Order
from headcount_ledger.exchange import Answer
from headcount_node.hot import AsgiApp, HotApp, Reply, Request
from headcount_spec.errors import ProtocolError, TooLargeError, UnavailableError, WrongTypeError
from headcount_spec.problem import from_status, problem

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_SIGNED = {**_HEADERS, "Content-Type": RESPONSE_TYPE}

_log = logging.getLogger(__name__)


class _RefusedPageError(Exception):
    """A refusal of a request that a page has sent, which is to be told why."""

    def __init__(self, error: Exception, origin: str) -> None:
        super().__init__()
        self.error = error
        self.origin = origin


class TokenRoute:
    """POST /token-request."""

    max_bytes = MAX_REQUEST_BYTES

    def __init__(self, issuer: Issuer) -> None:
        self._issuance = issuer.issuance
        self._signers = self._issuance.signers(self._deliver)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Order, tuple[Request, Reply]] = {}

    def close(self) -> None:
        """Finish what is being signed."""
        self._signers.close()

    def check(self, request: Request) -> None:
        """As the blueprint."""
        try:
            media_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
            if media_type != REQUEST_TYPE:
                raise WrongTypeError(f"the body must be {REQUEST_TYPE}")
            if (request.length or 0) > MAX_REQUEST_BYTES:
                raise self.too_long()
        except ProtocolError as exc:
            raise _told(exc, request) from exc

    def too_long(self) -> ProtocolError:
        """As the blueprint."""
        return TooLargeError(f"the body has more than {MAX_REQUEST_BYTES} bytes")

    def take(self, request: Request, data: bytes, reply: Reply) -> None:
        """Order the signature."""
        try:
            bearer = bearer_of(request.header(b"authorization") or "")
            order = self._issuance.order(bearer, data, request.header(b"origin"))
            self._loop = asyncio.get_running_loop()
            self._waiting[order] = (request, reply)
            try:
                self._signers.submit(order)
            except UnavailableError:
                del self._waiting[order]
                raise
        except ProtocolError as exc:
            raise _told(exc, request) from exc

    def refuse(self, error: Exception) -> Answer:
        """As the blueprint."""
        if isinstance(error, _RefusedPageError):
            answer = self.refuse(error.error)
            return Answer(answer.status, {**answer.headers, **self._cross_origin(error.origin)}, answer.body)
        if isinstance(error, ProtocolError):
            if error.status >= 500 and not isinstance(error, UnavailableError):
                _log.error("%s: %s", error.code, error)
            document = problem(error)
        else:
            _log.error("a request failed: %s", places(error))
            document = problem(from_status(500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase))
        return Answer(document.status, {**_HEADERS, **document.headers}, document.body)

    def _deliver(self, orders: Sequence[Order]) -> None:
        """In a thread of the signers: one wake-up of the loop for the whole group."""
        assert self._loop is not None  # noqa: S101 - there are no orders before
        with contextlib.suppress(RuntimeError):  # closed: the server has stopped, and nobody waits
            self._loop.call_soon_threadsafe(self._answer, orders)

    def _answer(self, orders: Sequence[Order]) -> None:
        for order in orders:
            request, reply = self._waiting.pop(order)
            if order.error is not None:
                reply(self.refuse(_told(order.error, request)))
                continue
            assert order.blind_sig is not None  # noqa: S101
            origin = request.header(b"origin")
            headers = _SIGNED if origin is None else {**_SIGNED, **self._cross_origin(origin)}
            reply(Answer(200, headers, order.blind_sig))

    def _cross_origin(self, origin: str) -> dict[str, str]:
        allowed = {"Access-Control-Allow-Origin": origin} if self._issuance.may_ask(origin) else {}
        return {"Vary": "Origin", **allowed}


class HotIssuer(HotApp):
    """The ASGI app of the issuer's origin. Belongs to one event loop."""

    def __init__(self, issuer: Issuer, cold: AsgiApp) -> None:
        self._route = TokenRoute(issuer)
        super().__init__({REQUEST_PATH: self._route}, cold)

    def close(self) -> None:
        """Finish what is being signed."""
        self._route.close()


def _told(error: Exception, request: Request) -> Exception:
    origin = request.header(b"origin")
    return error if origin is None else _RefusedPageError(error, origin)
