"""The pages of the public origin: what is counted here, a campaign to read and sign, the audit, badges.

    GET /                                 /in/<language>
    GET /sign/<scope>                     /sign/<scope>/<language>
    GET /sign/<scope>/<language>/back
    GET /audit                            /audit/<language>
    GET /calendar/<scope>/<language>.ics
    GET /badge/<scope>.svg | .png         /badge/<scope>/<language>.svg

Nothing is remembered of a reader: the language is in the address, or in Accept-Language. The pages are whole
without script; what a script needs stands in them as data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request

from headcount import assurance
from headcount.catalogue import LANGUAGES, Catalogue, catalogue, choose
from headcount.quota_words import asked_in, standing_in
from headcount_node.site import badge
from headcount_node.site.assets import Assets
from headcount_node.site.counted import Count, Counts
from headcount_node.site.crowd import crowd
from headcount_node.site.headers import protect
from headcount_node.site.standing import lines, standing
from headcount_node.site.wording import checks, level
from headcount_spec.errors import NotFoundError, ProtocolError
from headcount_spec.fingerprint import fingerprint
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import day_of, decode_hex
from headcount_verifier import Redeemer
from headcount_verifier.manifests import policy_of

SIGN_MESSAGES = ("app.", "contact.", "quotas.needed", "error.", "check.done_tab", "check.copy")
AUDIT_MESSAGES = ("audit.", "quotas.standing", "error.", "trust.", "app.checking")


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages are made of."""

    redeemer: Redeemer
    counts: Counts
    assets: Assets
    ledger: str  # where the ledger is read: "/ledger" on this origin, else its URL
    clock: Callable[[], float] = time.time


def pages_blueprint(site: Site) -> Blueprint:
    """All pages of the public origin."""
    pages = Blueprint("pages", __name__, template_folder="templates")

    @pages.get("/")
    @pages.get("/in/<language>")
    def front(language: str | None = None) -> Response:
        words = _words(language)
        manifests = [site.redeemer.manifest(scope_id) for scope_id in site.redeemer.scope_ids()]
        scopes = [_facts(site, manifest, words) for manifest in manifests if manifest.kind != "contact"]
        body = _render(site, "site/front.html", words, scopes=scopes, here="/in/")
        return protect(_page(body, words))

    @pages.get("/sign/<scope>")
    @pages.get("/sign/<scope>/<language>")
    def sign(scope: str, language: str | None = None) -> Response:
        manifest = _manifest(site, scope)
        words = _words(language)
        contacts = _contacts(site, manifest)
        facts = _facts(site, manifest, words)
        if contacts is not None:
            facts["sealed"] = _sealed(site, contacts, manifest, words)
        body = _render(
            site,
            "site/sign.html",
            words,
            text=site.counts.texts(manifest).get(facts["language"], ""),
            issuers=checks(manifest, words),
            ledger=site.ledger,
            public=manifest.origins[0],
            **_signing(site, manifest, contacts, words),
            **facts,
        )
        return protect(_page(body, words), _talks_to(site, manifest, contacts))

    @pages.get("/sign/<scope>/<language>/back")
    def back(scope: str, language: str) -> Response:
        # Where an issuer sends people: the same script without the terms, which they have read and which
        # take a slow telephone a tenth of a second. The script calls it by the terms' own address, so that a
        # reload shows them.
        manifest = _manifest(site, scope)
        words = _words(language)
        contacts = _contacts(site, manifest)
        body = _render(
            site,
            "site/back.html",
            words,
            manifest=manifest,
            scope=manifest.scope_id.hex(),
            language=words.language if words.language in manifest.title else manifest.language,
            closed=day_of(int(site.clock())) > manifest.closes,
            is_back=True,
            **_signing(site, manifest, contacts, words),
        )
        return protect(_page(body, words), _talks_to(site, manifest, contacts))

    @pages.get("/calendar/<scope>/<language>.ics")
    def calendar(scope: str, language: str) -> Response:
        manifest = _manifest(site, scope)
        if manifest.action is None:
            raise NotFoundError("this campaign has no action date")
        words = _words(language)
        tag = words.language if words.language in manifest.title else None
        response = Response(assurance.calendar(manifest, tag), content_type="text/calendar; charset=utf-8")
        response.headers["Content-Disposition"] = 'attachment; filename="headcount.ics"'
        return protect(response)

    @pages.get("/audit")
    @pages.get("/audit/<language>")
    def audit(language: str | None = None) -> Response:
        words = _words(language)
        scope_ids = site.redeemer.scope_ids()
        policy = policy_of(site.redeemer.manifest(scope_ids[0])).to_bytes().decode() if scope_ids else ""
        body = _render(
            site,
            "site/audit.html",
            words,
            here="/audit/",
            entry="audit.js",
            data={"ledger": site.ledger, "language": words.language},
            messages=words.subset(*AUDIT_MESSAGES),
            policy=policy,
            ledger=site.ledger,
        )
        # An auditor may read any ledger or mirror, wherever it stands.
        return protect(_page(body, words), ["https:", "http:"], worker=True)

    @pages.get("/badge/<scope>.svg")
    @pages.get("/badge/<scope>/<language>.svg")
    def badge_svg(scope: str, language: str | None = None) -> Response:
        manifest = _manifest(site, scope)
        words = _words(language)
        reached = site.counts.reached_on(manifest) is not None
        before = site.counts.before(manifest) or 0
        image = badge.svg(manifest, site.counts.of(manifest), words, reached, before)
        return _image(image.encode(), "image/svg+xml")

    @pages.get("/badge/<scope>.png")
    def badge_png(scope: str) -> Response:
        manifest = _manifest(site, scope)
        reached = site.counts.reached_on(manifest) is not None
        before = site.counts.before(manifest) or 0
        return _image(badge.png(manifest, site.counts.of(manifest), reached, before), "image/png")

    @pages.errorhandler(ProtocolError)
    def refused(error: ProtocolError) -> Response:
        return refusal(error, site.assets, "/in/")

    return pages


def _signing(site: Site, manifest: Manifest, contacts: Manifest | None, words: Catalogue) -> dict[str, Any]:
    """What the part of a page that one pledges in is rendered with."""
    today = day_of(int(site.clock()))
    data = {"scope": manifest.scope_id.hex(), "ledger": site.ledger, "language": words.language}
    if contacts is not None:
        data["contacts"] = contacts.scope_id.hex()
    return {
        "here": f"/sign/{manifest.scope_id.hex()}/",
        "entry": "sign.js",
        "data": data,
        "messages": words.subset(*SIGN_MESSAGES),
        "words8": fingerprint(manifest.scope_id),
        "is_open": manifest.opens <= today <= manifest.closes and manifest.kind != "contact",
        "is_early": today < manifest.opens,
    }


def _talks_to(site: Site, manifest: Manifest, contacts: Manifest | None) -> list[str]:
    """The origins besides its own that such a page asks."""
    issuers = (*manifest.issuers, *(contacts.issuers if contacts is not None else ()))
    found = [_origin_of(issuer.url) for issuer in issuers]
    if not site.ledger.startswith("/"):
        found.append(_origin_of(site.ledger))
    return found


def refusal(error: ProtocolError, assets: Assets, here: str) -> Response:
    """What went wrong, as a page for people."""
    words = catalogue(choose(None, request.headers.get("Accept-Language")))
    said = reason(error.code, words)
    body = render_template("site/refusal.html", **common(assets, words, here, None), reason=said)
    response = protect(_page(body, words))
    response.status_code = error.status
    return response


def reason(code: str, words: Catalogue) -> str:
    """What an error means, in words."""
    key = f"error.{code}"
    return words.text(key) if key in words.messages else words.text("error.other", code=code)


def common(site_assets: Assets, words: Catalogue, here: str, entry: str | None) -> dict[str, Any]:
    """What every page is rendered with."""
    return {
        "words": words,
        "t": words.text,
        "language_of_page": words.language,
        "home": f"/in/{words.language}",
        "direction": words.direction,
        "tongues": [(tag, catalogue(tag).text("language")) for tag in LANGUAGES],
        "here": here,
        "style": site_assets.entry("headcount.css"),
        "script": site_assets.entry(entry) if entry else None,
        "imported": site_assets.imported(entry) if entry else [],
        "build": site_assets.hash,
    }


def _render(
    site: Site, template: str, words: Catalogue, here: str, entry: str | None = None, **values: Any
) -> str:
    return render_template(template, **common(site.assets, words, here, entry), **values)


def _facts(site: Site, manifest: Manifest, words: Catalogue) -> dict[str, Any]:
    tag = words.language if words.language in manifest.title else manifest.language
    count = site.counts.of(manifest)
    here = count.live if count else 0
    before = site.counts.before(manifest) if count else None
    # The terms name what was left of the threshold of the campaign that they continue.
    live, threshold = here + (before or 0), manifest.threshold + (before or 0)
    share = min(1.0, live / threshold)
    stands = standing(manifest, site.counts, int(site.clock()))
    quotas = _quotas(manifest, count, words, tag)
    is_enough = count is not None and quotas is None and here >= manifest.threshold
    is_reached = stands.is_reached or is_enough
    return {
        "manifest": manifest,
        "state": stands.state,
        "standing": lines(manifest, stands, words),
        "language": tag,
        "scope": manifest.scope_id.hex(),
        "count": count,
        "live": words.number(live),
        "parts": None if before is None else (words.number(before), words.number(here)),
        "level": level(manifest, live, words),
        "threshold": words.number(threshold),
        "percent": words.percent(int(share * 100) / 100),
        "crowd": crowd(live, threshold, is_short=bool(quotas) and not is_reached),
        "is_reached": is_reached,
        "quotas": quotas,
        "closed": day_of(int(site.clock())) > manifest.closes,
    }


def _quotas(manifest: Manifest, count: Count | None, words: Catalogue, tag: str) -> dict[str, Any] | None:
    """What is asked for by option, and how each option stands."""
    quotas = manifest.quotas
    if quotas is None:
        return None
    rows = []
    for option in manifest.options:
        live = count.options[option.number] if count else 0
        rows.append((option.label[tag], words.number(live), live >= quotas.each))
    return {
        "asked": asked_in(quotas, len(manifest.options), words),
        "standing": standing_in(quotas, count.options, words) if count else None,
        "each": words.number(quotas.each),
        "rows": rows,
    }


def _contacts(site: Site, campaign: Manifest) -> Manifest | None:
    """The campaign's contact scope, if this site takes deposits for one; whether it is, the page checks."""
    found = (site.redeemer.manifest(scope_id) for scope_id in site.redeemer.scope_ids())
    children = (item for item in found if item.kind == "contact" and item.parent == campaign.scope_id)
    return next(children, None)


def _sealed(site: Site, contacts: Manifest, campaign: Manifest, words: Catalogue) -> dict[str, Any] | None:
    """How many have left a sealed contact, and what opens them."""
    count = site.counts.of(contacts)
    trustees = contacts.trustees
    if count is None or trustees is None:
        return None
    return {
        "count": words.text("sealed.count", count.live),
        "opens": words.text(
            "sealed.opens",
            threshold=words.number(campaign.threshold),
            t=words.number(trustees.t),
            total=words.number(len(trustees.members)),
        ),
        "quotas": asked_in(campaign.quotas, len(campaign.options), words) if campaign.quotas else None,
        "trustees": [trustee.name for trustee in trustees.members],
    }


def _words(language: str | None) -> Catalogue:
    if language is not None and language not in LANGUAGES:
        raise NotFoundError("this page is not there in that language")
    return catalogue(choose(language, request.headers.get("Accept-Language")))


def _manifest(site: Site, scope: str) -> Manifest:
    return site.redeemer.manifest(ScopeId(decode_hex(scope, 32)))


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _page(body: str, words: Catalogue) -> Response:
    response = Response(body, content_type="text/html; charset=utf-8")
    response.headers["Content-Language"] = words.language
    response.headers["Vary"] = "Accept-Language"
    return response


def _image(data: bytes, media_type: str) -> Response:
    response = Response(data, content_type=media_type)
    response.headers["Cache-Control"] = "public, max-age=60"
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Vary"] = "Accept-Language"
    return response
