"""The verifier over HTTP: a blueprint for a partner's Flask site, and an app of its own.

    POST /pledges          a pledge    → the ledger's promise
    POST /revisions        a revision  → the ledger's promise
    POST /contacts         a sealed contact and the promise for its entry; kept until it is erased
    POST /erasures         the holder's signed wish to have it erased
    GET  /link/<token>     a campaign's link: its opening is counted, and the campaign's page is named
    GET  /link/<token>/opened   how often it was opened, roughly
    GET  /scopes           the scope ids that are accepted here
    GET  /scopes/<hex>     the manifest of one, byte for byte

Every error is a problem document (RFC 9457); a 401 names the challenges that a token must answer
(RFC 9577). No cookie is set or read, and nothing about a request is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from headcount_ledger.exchange import Answer
from headcount_spec import deposit, entry
from headcount_spec.errors import (
    NotFoundError,
    ProtocolError,
)
from headcount_spec.jcs import canonicalise
from headcount_spec.problem import from_status
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_hex, format_day
from headcount_verifier.config import VerifierConfig
from headcount_verifier.contacts import Contacts
from headcount_verifier.exchange import (
    MAX_PLEDGE_BYTES,
    PROTECTION,
    REVISION_BYTES,
    check_head,
    check_origin,
    promised,
    refused,
    too_long,
)
from headcount_verifier.links import Links, find_link
from headcount_verifier.redeemer import Redeemer


@dataclass(frozen=True, slots=True)
class LinkPages:
    """Where links lead, and how people are told that one does not."""

    site: str | None = (
        None  # "" for the site of the verifier itself; None for the first of the terms' origins
    )
    refuse: Callable[[ProtocolError], Response] | None = None  # a page; a problem document otherwise


def verifier_blueprint(
    redeemer: Redeemer,
    name: str = "headcount_verifier",
    contacts: Contacts | None = None,
    links: Links | None = None,
    pages: LinkPages | None = None,
) -> Blueprint:
    """The routes, to be registered under any prefix of a site that serves over its own origin.

    Without contacts the site keeps none, and says so; without links it opens none.
    """
    blueprint = Blueprint(name, __name__)
    pages = pages or LinkPages()

    @blueprint.get("/link/<token>")
    def link(token: str) -> Response:
        try:
            place = _open_link(redeemer, _check_links(links), token, pages.site)
        except ProtocolError as error:
            if pages.refuse is None:
                raise
            answer = pages.refuse(error)
            answer.headers["Cache-Control"] = "no-store"
            return answer
        return Response(status=303, headers={"Location": place, "Cache-Control": "no-store"})

    @blueprint.get("/link/<token>/opened")
    def opened(token: str) -> Response:
        store = _check_links(links)
        found = store.openings(*find_link(redeemer.scopes, token))
        value = {
            "opened": found.opened,
            "cap": found.cap,
            "last_day": format_day(found.last_day),
            "ended": found.ended,
        }
        return _answer(canonicalise(value), "application/json", "no-cache")

    @blueprint.post("/pledges")
    def pledges() -> Response:
        return _redeem(redeemer, redeemer.redeem, MAX_PLEDGE_BYTES)

    @blueprint.post("/revisions")
    def revisions() -> Response:
        return _redeem(redeemer, redeemer.revise, REVISION_BYTES)

    @blueprint.post("/contacts")
    def deposits() -> Response:
        store = _check_contacts(contacts)
        return _keep(store, store.deposit, deposit.DEPOSIT_TYPE, deposit.MAX_DEPOSIT_BYTES)

    @blueprint.post("/erasures")
    def erasures() -> Response:
        store = _check_contacts(contacts)
        return _keep(store, store.erase, deposit.ERASURE_TYPE, deposit.ERASURE_BYTES)

    @blueprint.get("/scopes")
    def scopes() -> Response:
        ids = [scope_id.hex() for scope_id in redeemer.scope_ids()]
        return _answer(canonicalise({"scopes": ids}), "application/json", "no-cache")

    @blueprint.get("/scopes/<scope>")
    def manifest(scope: str) -> Response:
        found = redeemer.manifest(ScopeId(decode_hex(scope, 32)))
        # The name is the hash of the bytes, so they never change.
        return _answer(found.raw, "application/json", "public, max-age=86400, immutable")

    blueprint.register_error_handler(ProtocolError, _on_protocol_error)
    blueprint.register_error_handler(HTTPException, _on_http_error)
    blueprint.after_request(_protect)
    return blueprint


def create_app(
    config: VerifierConfig,
    redeemer: Redeemer | None = None,
    contacts: Contacts | None = None,
    pages: LinkPages | None = None,
) -> Flask:
    """The verifier as an app of its own, with the blueprint at its root."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # another path is not found, and not redirected
    redeemer = redeemer or Redeemer.from_settings(config)
    contacts = contacts or Contacts.from_settings(config)
    links = None if config.links is None else Links(config.links)
    app.register_blueprint(verifier_blueprint(redeemer, contacts=contacts, links=links, pages=pages))
    # What no route of the blueprint matched is answered here.
    app.register_error_handler(HTTPException, _on_http_error)
    app.after_request(_protect)
    return app


def _redeem(redeemer: Redeemer, redeem: Callable[[bytes], bytes], max_bytes: int) -> Response:
    data = _read_body(max_bytes)
    try:
        check_origin(redeemer, data, request.headers.get("Origin"))
        return _respond(promised(redeem(data)))
    except ProtocolError as error:
        return _respond(refused(error, redeemer, data))


def _check_contacts(contacts: Contacts | None) -> Contacts:
    if contacts is None:
        raise NotFoundError("no contacts are kept here")
    return contacts


def _check_links(links: Links | None) -> Links:
    if links is None:
        raise NotFoundError("no links are opened here")
    return links


def _open_link(redeemer: Redeemer, links: Links, token: str, site: str | None) -> str:
    """Where to send on who opens a link: an address without it."""
    manifest, link = find_link(redeemer.scopes, token)
    # Who fetches a page in case somebody will want it has opened nothing.
    ahead = any("prefetch" in request.headers.get(name, "").lower() for name in ("Sec-Purpose", "Purpose"))
    links.open(manifest, link, counts=request.method == "GET" and not ahead)
    return f"{manifest.origins[0] if site is None else site}/sign/{manifest.scope_id.hex()}"


def _keep(store: Contacts, take: Callable[[bytes], None], media_type: str, max_bytes: int) -> Response:
    data = _read_body(max_bytes, media_type)
    origin = request.headers.get("Origin")
    if origin is not None:
        store.check_origin(data, origin)
    take(data)
    return Response(status=204, headers={"Cache-Control": "no-store"})


def _read_body(max_bytes: int, media_type: str = entry.MEDIA_TYPE) -> bytes:
    content_type, is_encoded = request.headers.get("Content-Type"), "Content-Encoding" in request.headers
    check_head(content_type, is_encoded, request.content_length, max_bytes, media_type)
    # One byte more than may be: a body sent in chunks does not say its length.
    data = bytearray()
    while len(data) <= max_bytes and (chunk := request.stream.read(max_bytes + 1 - len(data))):
        data += chunk
    if len(data) > max_bytes:
        raise too_long(max_bytes)
    return bytes(data)


def _answer(body: bytes, media_type: str, caching: str) -> Response:
    return Response(body, 200, {"Content-Type": media_type, "Cache-Control": caching})


def _on_protocol_error(error: ProtocolError) -> Response:
    return _respond(refused(error))


def _respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _on_http_error(error: HTTPException) -> Response:
    answer = _on_protocol_error(from_status(error.code or 500, error.name))
    if isinstance(error, MethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))  # RFC 9110, Section 15.5.6
    return answer


def _protect(answer: Response) -> Response:
    for name, value in PROTECTION.items():
        answer.headers.setdefault(name, value)  # a page beside us may need its own
    return answer
