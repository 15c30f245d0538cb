"""The issuer's pages for people: evidence that only a browser can give, such as a log-in elsewhere.

    GET  /prove/<token>      the page; as often as one likes, by whomever: nothing changes
    POST /prove/<token>      its form, once; the next page, or the way elsewhere
    POST /prove/wallet       a wallet's answer (OpenID4VP, direct_post), with the page's token as ``state``
    GET  /prove/return       back from elsewhere, with the page's token as ``state``

The token stands in the address that POST /sessions answered with, belongs to one session, and proves
nothing. At the end the page shows a code of eight digits, which the person takes to the program or
site that asked; without it the session is not proved. No cookie, nothing from elsewhere, and no script
but that of an attester that cannot do without.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, g, render_template, request

from headcount_issuer.attester import RETURN_PATH, WALLET_PATH, Asking, Redirect, View
from headcount_issuer.issuance import PAGE_PATH, Done
from headcount_issuer.issuer import Issuer
from headcount_spec.errors import MalformedError, NotEligibleError, ProtocolError
from headcount_spec.jcs import canonicalise

ACCOUNT_PATH = "/account"
MAX_FORM_BYTES = 65536  # an attestation of a passkey is some kilobytes
MAX_FIELDS = 20


def blueprint(issuer: Issuer) -> Blueprint:
    """The pages of an open issuer."""
    pages = Blueprint(
        "pages",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path=PAGE_PATH + "static",
    )

    @pages.get(PAGE_PATH + "<token>")
    def show(token: str) -> Response:
        asking, view = issuer.issuance.show_page(token, {})
        return _view(asking, view, token)

    @pages.get(RETURN_PATH)
    def come_back() -> Response:
        query = {name: value for name, value in request.args.items() if name != "state"}
        token = request.args.get("state", "")
        asking, view = issuer.issuance.show_page(token, query)
        return _view(asking, view, token)

    @pages.post(PAGE_PATH + "<token>")
    def act(token: str) -> Response:
        check_same_origin(issuer.config.url)
        asking, next_token, found = issuer.issuance.act_on_page(token, read_form())
        if isinstance(found, Redirect):
            # Not by status 303: form-action would have to name every place that the way leads through.
            return _view(asking, View("away.html", {"url": found.url}), next_token)
        if isinstance(found, Done):
            back = f"{asking.site}{found.return_path}#code={found.code}"
            return _view(asking, View("done.html", {"code": found.code, "back": back}), next_token)
        return _view(asking, found, next_token)

    @pages.post(WALLET_PATH)
    def receive() -> Response:
        form = dict(read_form())
        url = issuer.issuance.receive(form.pop("state", ""), form)
        return Response(canonicalise({"redirect_uri": url}), content_type="application/json")

    pages.after_request(guard)
    return pages


def guard(response: Response) -> Response:
    """Forbid a page whatever it does not need."""
    script = f"'nonce-{g.nonce}'" if "nonce" in g else "'none'"
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; img-src 'self'; script-src {script}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    # Not no-referrer: with that a browser sends its forms with "Origin: null", as those of strangers.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    return response


def script_nonce() -> str:
    """Allow this response the scripts that are marked with the nonce."""
    g.nonce = secrets.token_urlsafe(16)
    return str(g.nonce)


def is_page() -> bool:
    """Whether the request is for a page, so that a refusal is one for people."""
    return request.path != WALLET_PATH and request.path.startswith((PAGE_PATH, ACCOUNT_PATH))


def refusal(error: ProtocolError) -> Response:
    """What went wrong, in words; the texts of our errors name nobody."""
    page = render_template(
        "refusal.html", reason=str(error), phrase=HTTPStatus(error.status).phrase, code=error.code
    )
    response = Response(page, error.status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return response


def _view(asking: Asking, view: View, token: str) -> Response:
    manifest = asking.manifest
    if view.has_script:
        script_nonce()
    page = render_template(
        view.template,
        title=" ".join(manifest.title_text.split()),
        language=manifest.language,
        site=asking.site.split("://", 1)[-1],
        action=PAGE_PATH + token,
        nonce=g.get("nonce", ""),
        **view.values,
    )
    return Response(page, content_type="text/html; charset=utf-8")


def count_network(issuer: Issuer) -> None:
    """Count what costs a mail, or memory, with the network that it comes from.

    Raises:
        RateLimitedError: too much came from there.
    """
    header = issuer.networks.proxy_header
    issuer.networks.take(request.remote_addr, request.headers.get(header) if header else None, issuer.now)


def check_same_origin(url: str) -> None:
    """Refuse a form that another site's page has sent.

    Raises:
        NotEligibleError: it has.
    """
    # Forms of other sites may not act; a program that sends no Origin is no browser.
    origin = request.headers.get("Origin")
    if origin is not None and origin != "/".join(url.split("/", 3)[:3]):
        raise NotEligibleError("this form is not one of this issuer's pages")


def read_form() -> Mapping[str, str]:
    """The fields of a form.

    Raises:
        MalformedError: another media type, too many fields, or one twice.
    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise MalformedError("the form has another media type")
    request.max_content_length = MAX_FORM_BYTES
    request.max_form_memory_size = MAX_FORM_BYTES
    request.max_form_parts = MAX_FIELDS
    fields = request.form
    if len(fields) > MAX_FIELDS or any(len(fields.getlist(name)) > 1 for name in fields):
        raise MalformedError("the form has too many fields")
    return fields.to_dict()
