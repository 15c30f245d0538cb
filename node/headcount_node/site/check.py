"""The issuer's own page on which a person proves to be one: the site that takes the pledge never sees how.

    GET /check/<scope>                    /check/<scope>/<language>

A signing page sends people here with ``#site=…&return=…&state=…`` after the address, which no server sees.
The page talks to its own origin, naming that site in the header ``Headcount-Site``; ``asked`` takes it for
the asking origin, and the issuer refuses sites that are not in the terms. It goes back with ``#session=…``: a
proof that is worth one blind signature in this scope, for a message that is not made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, render_template, request
from jinja2 import ChoiceLoader, FileSystemLoader

from headcount.catalogue import LANGUAGES, catalogue, choose
from headcount_node.site.assets import Assets
from headcount_node.site.headers import protect
from headcount_node.site.pages import common, reason, refusal
from headcount_spec.errors import NotFoundError, ProtocolError
from headcount_spec.fingerprint import fingerprint
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import decode_hex

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

MESSAGES = ("check.", "how.", "error.")
_PROVING = Path(__file__).parent / "templates" / "issuer"  # the issuer's own pages, by the names that it uses
SITE_HEADER = "Headcount-Site"
_ENVIRON = "HTTP_HEADCOUNT_SITE"


@dataclass(frozen=True, slots=True)
class CheckSite:
    """What the page is made of."""

    name: str  # of the issuer
    manifest: Callable[[ScopeId], Manifest]  # raises NotFoundError
    assets: Assets


def check_blueprint(site: CheckSite) -> Blueprint:
    """The page, its style and its script."""
    pages = Blueprint("check", __name__, template_folder="templates")

    @pages.get("/check/<scope>")
    @pages.get("/check/<scope>/<language>")
    def check(scope: str, language: str | None = None) -> Response:
        manifest = site.manifest(ScopeId(decode_hex(scope, 32)))
        if language is not None and language not in LANGUAGES:
            raise NotFoundError("this page is not there in that language")
        words = catalogue(choose(language, request.headers.get("Accept-Language")))
        terms = next(issuer for issuer in manifest.issuers if issuer.name == site.name)
        data = {
            "scope": scope,
            "issuer": site.name,
            "language": words.language,
            "attesters": list(terms.attesters),
            "returning": list(terms.returning),
            "sites": list(manifest.origins),
        }
        body = render_template(
            "site/check.html",
            **common(site.assets, words, f"/check/{scope}/", "check.js"),
            data=data,
            messages=words.subset(*MESSAGES),
            issuer=site.name,
            manifest=manifest,
            sites=manifest.origins,
            language=words.language if words.language in manifest.title else manifest.language,
            words8=fingerprint(manifest.scope_id),
        )
        response = Response(body, content_type="text/html; charset=utf-8")
        response.headers["Content-Language"] = words.language
        response.headers["Vary"] = "Accept-Language"
        return protect(response)

    @pages.errorhandler(ProtocolError)
    def refused(error: ProtocolError) -> Response:
        return refusal(error, site.assets, "/check/")

    return pages


def dress(app: Flask, site: CheckSite) -> None:
    """Show the issuer's other pages (headcount_issuer.pages) in this site's look and the reader's language.

    The address of such a page is a secret of its session and says no language: that of the browser is taken.
    """
    environment = app.jinja_env
    environment.loader = ChoiceLoader([FileSystemLoader(_PROVING), *filter(None, [environment.loader])])

    @app.context_processor
    def values() -> dict[str, Any]:
        words = catalogue(choose(None, request.headers.get("Accept-Language")))

        def reason_of(code: str) -> str:
            return reason(code, words)

        return {**common(site.assets, words, "", None), "issuer_name": site.name, "reason_of": reason_of}


def asked(app: WSGIApplication, own_origin: str) -> WSGIApplication:
    """The issuer's app, which takes what our own page asks for as asked by the site that it names.

    A browser lets no page of another origin send ours as its Origin, so that only our page can name a site.
    """

    def relay(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        named = environ.pop(_ENVIRON, None)
        if named is not None and environ.get("HTTP_ORIGIN") == own_origin:
            environ["HTTP_ORIGIN"] = named
        return app(environ, start_response)

    return relay
