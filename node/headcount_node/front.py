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
<p><strong>{live}</strong> {level} of {threshold}; {withdrawn} withdrawn.
Open from {opens} to {closes}.</p>
<p>Terms: <a href="scopes/{scope}">{scope}</a></p>
"""


def front_blueprint(redeemer: Redeemer, totals: Callable[[], Mapping[ScopeId, tuple[int, int]]]) -> Blueprint:
    """The page at ``/``; totals are (gross, live) by scope, of the last batch."""
    blueprint = Blueprint("front", __name__)

    @blueprint.get("/")
    def front() -> Response:
        counted = totals()
        parts = [
            _scope(redeemer.manifest(scope_id), *counted.get(scope_id, (0, 0)))
            for scope_id in redeemer.scope_ids()
        ]
        page = _PAGE.format(scopes="".join(parts))
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = CSP
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-cache"
        return response

    return blueprint


def _scope(manifest: Manifest, gross: int, live: int) -> str:
    return _SCOPE.format(
        language=escape(manifest.language),
        title=escape(manifest.title_text),
        live=live,
        level=escape(LEVELS.get(manifest.level, manifest.level)),
        threshold=manifest.threshold,
        withdrawn=gross - live,
        opens=format_day(manifest.opens),
        closes=format_day(manifest.closes),
        scope=manifest.scope_id.hex(),
    )
