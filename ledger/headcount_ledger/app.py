"""The ledger over HTTP: entries in, static files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from headcount_ledger.exchange import (
    BUNDLES,
    ENTRIES,
    MAX_BUNDLE_BYTES,
    Accepted,
    Answer,
    accepted,
    answered,
    bundle_too_long,
    check_bundle_head,
    check_entry_head,
    entry_too_long,
    open_bundle,
    refused,
)
from headcount_ledger.ledger import Ledger
from headcount_ledger.published import kind
from headcount_ledger.refusals import Refusals, Sender
from headcount_ledger.ticker import wall_clock
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import (
    MethodRefusedError,
    ProtocolError,
)
from headcount_spec.problem import from_status
from headcount_spec.text import day_of

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def ledger_blueprint(ledger: Ledger, clock: Callable[[], int] = wall_clock) -> Blueprint:
    """The ledger's routes, to be mounted at the ledger's prefix."""
    blueprint = Blueprint("ledger", __name__)
    blueprint.register_error_handler(ProtocolError, _problem)
    refusals = Refusals(ledger.config)

    def everything(path: str = "") -> Response:
        take = _TAKERS.get(path)
        if take is not None:
            if request.method != "POST":
                raise MethodRefusedError("entries are sent by POST")
            now, header = clock(), refusals.proxy_header
            sender = Sender(request.remote_addr, request.headers.get(header) if header else None)

            def accept(entries: Sequence[bytes]) -> list[Accepted | ProtocolError]:
                for entry in entries:
                    refusals.check(sender, now, entry)
                outcomes = ledger.accept_all(entries, day_of(now))
                for entry, outcome in zip(entries, outcomes, strict=True):
                    refusals.count(sender, now, entry, outcome)
                return outcomes

            return _respond(take(accept))
        content_type, caching = kind(path)
        if request.method not in ("GET", "HEAD"):
            raise MethodRefusedError("the published files are read by GET")
        response = Response(ledger.storage.read(path), content_type=content_type)
        response.headers["Cache-Control"] = caching
        response.headers["Access-Control-Allow-Origin"] = "*"  # anybody's page may audit
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    # One view for all, so that a wrong path or method here is answered here, as a problem document.
    for rule in ("/", "/<path:path>"):
        blueprint.add_url_rule(rule, view_func=everything, methods=_METHODS, provide_automatic_options=False)
    return blueprint


def create_app(ledger: Ledger, clock: Callable[[], int] = wall_clock, prefix: str = "/ledger") -> Flask:
    """A site that is nothing but a ledger."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # another path is not found, and not redirected
    app.register_blueprint(ledger_blueprint(ledger, clock), url_prefix=prefix)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _problem(from_status(error.code or 500, error.name))

    return app


Accept = Callable[[Sequence[bytes]], list[Accepted | ProtocolError]]


def _take(accept: Accept) -> Answer:
    check_entry_head(request.content_type, request.content_length)
    (outcome,) = accept([_body(MAX_ENTRY_BYTES, entry_too_long)])
    if isinstance(outcome, ProtocolError):
        raise outcome
    return accepted(outcome)


def _take_bundle(accept: Accept) -> Answer:
    check_bundle_head(request.content_type, request.content_length)
    outcomes = accept(open_bundle(_body(MAX_BUNDLE_BYTES, bundle_too_long)))
    return answered([refused(one) if isinstance(one, ProtocolError) else accepted(one) for one in outcomes])


def _body(most: int, too_long: Callable[[int], ProtocolError]) -> bytes:
    """The request's body, which may not have said how long it is."""
    data = request.stream.read(most + 1)
    if len(data) > most:
        raise too_long(most)
    return data


def _respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _problem(error: ProtocolError) -> Response:
    posts = request.path.endswith((f"/{ENTRIES}", f"/{BUNDLES}"))
    return _respond(refused(error, "POST" if posts else "GET, HEAD"))


_TAKERS = {ENTRIES: _take, BUNDLES: _take_bundle}
