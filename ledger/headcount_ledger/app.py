"""The ledger over HTTP: entries in, static files out."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from headcount_ledger.ledger import Ledger
from headcount_ledger.published import kind
from headcount_ledger.ticker import wall_clock
from headcount_spec.entry import MAX_ENTRY_BYTES, MEDIA_TYPE
from headcount_spec.errors import (
    MethodRefusedError,
    ProtocolError,
    TooLargeError,
    WrongTypeError,
)
from headcount_spec.jcs import canonicalise
from headcount_spec.problem import from_status, problem
from headcount_spec.promise import Promise
from headcount_spec.text import day_of

PROMISE_TYPE = "application/vnd.headcount.promise"

ENTRIES = "entries"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def ledger_blueprint(ledger: Ledger, clock: Callable[[], int] = wall_clock) -> Blueprint:
    """The ledger's routes, to be mounted at the ledger's prefix."""
    blueprint = Blueprint("ledger", __name__)
    blueprint.register_error_handler(ProtocolError, _problem)

    def everything(path: str = "") -> Response:
        if path == ENTRIES:
            if request.method != "POST":
                raise MethodRefusedError("entries are sent by POST")
            return _answer(ledger.accept(_body(), day_of(clock())))
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


def _body() -> bytes:
    """The request's body: one entry, by type and size."""
    if request.mimetype != MEDIA_TYPE:
        raise WrongTypeError(f"an entry is sent as {MEDIA_TYPE}")
    if (request.content_length or 0) > MAX_ENTRY_BYTES:
        raise TooLargeError(f"an entry has at most {MAX_ENTRY_BYTES} bytes")
    data = request.stream.read(MAX_ENTRY_BYTES + 1)
    if len(data) > MAX_ENTRY_BYTES:
        raise TooLargeError(f"an entry has at most {MAX_ENTRY_BYTES} bytes")
    return data


def _answer(accepted: Promise | bytes) -> Response:
    if isinstance(accepted, Promise):
        response = Response(accepted.to_bytes(), content_type=PROMISE_TYPE)
    else:
        response = Response(canonicalise({"leaf_hash": accepted.hex()}), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _problem(error: ProtocolError) -> Response:
    answer = problem(error)
    response = Response(answer.body, answer.status, dict(answer.headers))
    if isinstance(error, MethodRefusedError):
        response.headers["Allow"] = "POST" if request.path.endswith(f"/{ENTRIES}") else "GET, HEAD"
    return response
