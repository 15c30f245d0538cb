"""The front page of the public origin: what is counted here, in plain HTML without script or style."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

from flask import Blueprint, Response

from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import format_day
from headcount_verifier import Redeemer

LEVELS = {
    "email": "confirmed e-mail addresses",
    "oidc": "accounts at identity providers",
    "in-person": "codes handed out in person",
    "device": "devices with a passkey",
    "eid": "electronic identities",
}
CSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Headcount</title>
<h1>Headcount</h1>
<p>Count the people, name no one. These numbers can be recounted by anybody:
<code>headcount audit ADDRESS/ledger --policy FILE</code></p>
{scopes}
<p>What is recounted: <a href="ledger/checkpoint">the signed checkpoint</a> and the files beside it.</p>
</html>
"""

_SCOPE = """<h2 lang="{language}">{title}</h2>
<p><strong>{total}</strong> {level}{parts} of {threshold}; {withdrawn} withdrawn.
Open from {opens} to {closes}.</p>
<p>Terms: <a href="scopes/{scope}">{scope}</a></p>
"""

_CONTACTS = """<h2 lang="{language}">{title}</h2>
<p><strong>{total}</strong> have left a sealed way to reach them. It opens when {threshold} have pledged, and
{t} of {n} trustees have counted themselves.</p>
<p>Terms: <a href="scopes/{scope}">{scope}</a></p>
"""

Totals = Callable[[int | None], Mapping[ScopeId, tuple[int, int]]]


def front_blueprint(redeemer: Redeemer, totals: Totals) -> Blueprint:
    """The page at ``/``; totals are (gross, live) by scope at a batch, None for the last."""
    blueprint = Blueprint("front", __name__)

    @blueprint.get("/")
    def front() -> Response:
        counted = totals(None)
        known = {scope_id: redeemer.manifest(scope_id) for scope_id in redeemer.scope_ids()}
        parts = [
            _contacts(manifest, counted.get(scope_id, (0, 0))[1])
            if manifest.kind == "contact"
            else _scope(manifest, *counted.get(scope_id, (0, 0)), _before(manifest, known, totals))
            for scope_id, manifest in known.items()
        ]
        page = _PAGE.format(scopes="".join(parts))
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = CSP
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
        return response

    return blueprint


def _before(manifest: Manifest, known: Mapping[ScopeId, Manifest], totals: Totals) -> int | None:
    """The count of the scopes that this one continues, each at the seal from which it was continued."""
    before, seen = None, {manifest.scope_id}
    current: Manifest | None = manifest
    while current is not None and (continues := current.continues) is not None:
        scope_id = ScopeId(continues.scope)
        if scope_id in seen:
            break
        seen.add(scope_id)
        before = (before or 0) + totals(continues.seal).get(scope_id, (0, 0))[1]
        current = known.get(scope_id)
    return before


def _contacts(manifest: Manifest, live: int) -> str:
    trustees = manifest.trustees
    return _CONTACTS.format(
        language=escape(manifest.language),
        title=escape(manifest.title_text),
        total=live,
        threshold=manifest.threshold,
        t=trustees.t if trustees is not None else 0,
        n=len(trustees.members) if trustees is not None else 0,
        scope=manifest.scope_id.hex(),
    )


def _scope(manifest: Manifest, gross: int, live: int, before: int | None) -> str:
    return _SCOPE.format(
        total=live + (before or 0),
        parts="" if before is None else f" ({before} in the scope that this one continues, {live} here)",
        language=escape(manifest.language),
        title=escape(manifest.title_text),
        level=escape(LEVELS.get(manifest.level, manifest.level)),
        threshold=manifest.threshold,
        withdrawn=gross - live,
        opens=format_day(manifest.opens),
        closes=format_day(manifest.closes),
        scope=manifest.scope_id.hex(),
    )
