"""The witness over HTTP, c2sp.org/tlog-witness.

    POST /add-checkpoint              old size, consistency proof, signed checkpoint → cosignature lines
    GET  /<hash of origin>/checkpoint the last checkpoint of a log, with our cosignature

Submission and monitoring have one prefix. An answer 409 is the size as text, as the specification wants
it; the other refusals are problem documents (RFC 9457). Nothing is logged about a request but that
a log-signed checkpoint was refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from headcount_ledger.clock import wall_clock
from headcount_ledger.lifeline import end_with_parent
from headcount_ledger.witness.buffered import Buffered
from headcount_ledger.witness.server import Cosigned, Witness
from headcount_ledger.writer import end_process
from headcount_spec.errors import (
    MalformedError,
    MethodRefusedError,
    NotFoundError,
    ProtocolError,
    TooLargeError,
    UnavailableError,
)
from headcount_spec.problem import problem
from headcount_spec.tlog_witness import (
    ADD_CHECKPOINT,
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    format_cosignatures,
    format_size,
)

DIRECTORY_VARIABLE = "HEADCOUNT_CONFIG"  # how a server's worker finds the witness's directory
TEXT_TYPE = "text/plain; charset=utf-8"


def create_app(witness: Witness, halt: Callable[[str], object] = end_process) -> Flask:
    """The WSGI application of an open witness; halt ends the process when its memory is in doubt."""
    app = Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False

    @app.post(f"/{ADD_CHECKPOINT}", provide_automatic_options=False)
    def add_checkpoint() -> Response:
        try:
            answer = witness.add_checkpoint(_body())
        except SystemExit as exc:
            halt(str(exc))
            raise UnavailableError("the witness stops") from exc
        if isinstance(answer, Cosigned):
            return Response(format_cosignatures(answer.signatures), content_type=TEXT_TYPE)
        return Response(format_size(answer.size), 409, content_type=SIZE_TYPE)

    @app.get("/<origin_hash>/checkpoint", provide_automatic_options=False)
    def last_checkpoint(origin_hash: str) -> Response:
        return Response(witness.last_checkpoint(f"{origin_hash}/checkpoint"), content_type=TEXT_TYPE)

    @app.errorhandler(ProtocolError)
    def refused(error: ProtocolError) -> Response:
        answer = problem(error)
        return Response(answer.body, answer.status, dict(answer.headers))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = refused(_translate(error))
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"  # the next answer has another time
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def from_environment() -> Buffered:
    """The ASGI application in a process that serves it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")  # no times
    end_with_parent()
    witness = Witness.open(Path(os.environ[DIRECTORY_VARIABLE]), wall_clock)
    return Buffered(create_app(witness), MAX_REQUEST_BYTES)


def _body() -> bytes:
    """The request's body, of any media type: the specification names none."""
    if (request.content_length or 0) > MAX_REQUEST_BYTES:
        raise TooLargeError(f"a request has at most {MAX_REQUEST_BYTES} bytes")
    data = request.stream.read(MAX_REQUEST_BYTES + 1)
    if len(data) > MAX_REQUEST_BYTES:
        raise TooLargeError(f"a request has at most {MAX_REQUEST_BYTES} bytes")
    return data


def _translate(error: HTTPException) -> ProtocolError:
    if isinstance(error, NotFound):
        return NotFoundError("a witness has no such resource")
    if isinstance(error, MethodNotAllowed):
        return MethodRefusedError("this resource does not take this method")
    if error.code is not None and error.code < 500:
        return MalformedError("not a request that a witness understands")
    return UnavailableError("something went wrong here; try again")
