"""The issuer over HTTP.

    GET  /.well-known/private-token-issuer-directory      RFC 9578, Section 4
    POST /sessions/challenge    JSON {scope, attester} → 200 what the first evidence must answer
    POST /sessions              JSON {scope, attester, evidence} → 201 {session, state, expires_in_s}
    POST /sessions/evidence     Bearer, JSON → 200 {state}
    POST /sessions/next         Bearer, JSON {attester, evidence} → 200 {state}
    POST /sessions/account      Bearer, JSON {check} → 200 {state, page}: open an account, to come back with
    DELETE /sessions/account    Bearer, JSON {check} → 204: end it
    POST /token-request         Bearer, RFC 9578, Section 6
    /prove/…, /account          pages for people: modules pages and account_pages

Nothing is changed by GET, nothing is remembered by cookie, nothing is logged about a request. Pages may
ask only from the origins of the manifests (CORS), and in each scope only from that manifest's.
"""

from __future__ import annotations

import re

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from headcount_issuer import account_pages, directory, pages
from headcount_issuer.issuance import Progress
from headcount_issuer.issuer import Issuer
from headcount_spec.errors import (
    NotEligibleError,
    ProtocolError,
    TooLargeError,
    UnavailableError,
    WrongTypeError,
)
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.level import NAME as ATTESTER
from headcount_spec.members import Members
from headcount_spec.problem import from_status, problem
from headcount_spec.scope import ScopeId

JSON_TYPE = "application/json"
REQUEST_TYPE = "application/private-token-request"  # RFC 9578, Section 8.3
RESPONSE_TYPE = "application/private-token-response"
MAX_JSON_BYTES = 16384  # evidence of later attesters (passkeys) is some kilobytes
MAX_REQUEST_BYTES = 1024  # a token request has 259
_MAX_BEARER_CHARS = 256
_PREFLIGHT_S = 600
_PATH = re.compile(r"\A/(?:[A-Za-z0-9._~-]+/?)*\Z")  # on the asking site; no query, nothing encoded


def create_app(issuer: Issuer) -> Flask:
    """The WSGI application of an open issuer."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # another path is not found, and not redirected
    app.register_blueprint(pages.blueprint(issuer))
    app.register_blueprint(account_pages.blueprint(issuer))

    @app.get(directory.PATH)
    def token_keys() -> Response:
        response = Response(issuer.directory(), content_type=directory.MEDIA_TYPE)
        response.headers["Cache-Control"] = "public, max-age=60"
        response.headers["Access-Control-Allow-Origin"] = "*"  # public, and no page learns more from it
        return response

    @app.post("/sessions")
    def begin() -> Response:
        members = _json("request")
        scope = ScopeId(members.hex32("scope"))
        attester = members.text("attester", 32, ATTESTER)
        evidence = members.object("evidence")
        return_path = members.text_or("return_path", "/", 500, _PATH)
        members.finish()
        header = issuer.networks.proxy_header
        issuer.networks.take(request.remote_addr, request.headers.get(header) if header else None, issuer.now)
        bearer, progress = issuer.issuance.begin(scope, attester, evidence, _origin(), return_path)
        return _progress(progress, 201, session=bearer, expires_in_s=issuer.config.session_s)

    @app.post("/sessions/challenge")
    def challenge() -> Response:
        members = _json("request")
        scope = ScopeId(members.hex32("scope"))
        attester = members.text("attester", 32, ATTESTER)
        members.finish()
        return _answer(canonicalise(dict(issuer.issuance.challenge(scope, attester, _origin()))), JSON_TYPE)

    @app.post("/sessions/evidence")
    def prove() -> Response:
        evidence = _json("evidence")
        return _progress(issuer.issuance.prove(_bearer(), evidence, _origin()))

    @app.post("/sessions/next")
    def go_on() -> Response:
        members = _json("request")
        attester = members.text("attester", 32, ATTESTER)
        evidence = members.object("evidence")
        members.finish()
        return _progress(issuer.issuance.go_on(_bearer(), attester, evidence, _origin()))

    @app.post("/sessions/account")
    def remember() -> Response:
        return _progress(issuer.issuance.remember(_bearer(), _check(), _origin()))

    @app.delete("/sessions/account")
    def forget() -> Response:
        issuer.issuance.forget(_bearer(), _check(), _origin())
        return Response(status=204)

    @app.post(directory.REQUEST_PATH)
    def token_request() -> Response:
        body = _body(REQUEST_TYPE, MAX_REQUEST_BYTES)
        return _answer(issuer.issuance.sign(_bearer(), body, _origin()).to_bytes(), RESPONSE_TYPE)

    @app.errorhandler(ProtocolError)
    def refused(error: ProtocolError) -> Response:
        if pages.is_page():
            return pages.refusal(error)
        if error.status >= 500 and not isinstance(error, UnavailableError):
            app.logger.error("%s: %s", error.code, error)
        return _problem(error)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        found = from_status(error.code or 500, error.name)
        response = pages.refusal(found) if pages.is_page() else _problem(found)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return response

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        origin = _origin()
        if origin is not None and "Access-Control-Allow-Origin" not in response.headers:
            response.headers.add("Vary", "Origin")
            if issuer.issuance.may_ask(origin):
                response.headers["Access-Control-Allow-Origin"] = origin
                if request.method == "OPTIONS":
                    response.headers["Access-Control-Allow-Methods"] = "POST, DELETE"
                    response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                    response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_S)
        return response

    return app


def _origin() -> str | None:
    return request.headers.get("Origin")


def _bearer() -> str:
    return bearer_of(request.headers.get("Authorization", ""))


def bearer_of(authorization: str) -> str:
    """The credentials in the header of RFC 6750, Section 2.1.

    Raises:
        NotEligibleError: there are none.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_BEARER_CHARS:
        raise NotEligibleError("no session was named: Authorization: Bearer …")
    return token


def _check() -> str:
    members = _json("request")
    name = members.text("check", 32, ATTESTER)
    members.finish()
    return name


def _json(name: str) -> Members:
    return Members(parse_json(_body(JSON_TYPE, MAX_JSON_BYTES), MAX_JSON_BYTES), name)


def _body(media_type: str, max_bytes: int) -> bytes:
    if request.mimetype != media_type:
        raise WrongTypeError(f"the body must be {media_type}")
    if (request.content_length or 0) > max_bytes:
        raise TooLargeError(f"the body has more than {max_bytes} bytes")
    body = request.stream.read(max_bytes + 1)  # the length may be untold, or a lie
    if len(body) > max_bytes:
        raise TooLargeError(f"the body has more than {max_bytes} bytes")
    return body


def _progress(progress: Progress, status: int = 200, **more: JSON) -> Response:
    return _answer(canonicalise({**progress.answer, "state": progress.state, **more}), JSON_TYPE, status)


def _answer(body: bytes, media_type: str, status: int = 200) -> Response:
    return Response(body, status, content_type=media_type)


def _problem(error: ProtocolError) -> Response:
    answer = problem(error)
    return Response(answer.body, answer.status, dict(answer.headers))
