"""The issuer's own pages, each with axe-core and on a small telephone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import headcount_issuer
import parts
from axe import AXE, fits, violations
from headcount_issuer.app import create_app
from serving import serving

TEMPLATES = Path(headcount_issuer.__file__).parent / "templates"
PARTS = {"base.html", "asked.html", "ceremony.html"}
UNSEEN = {"away.html"}  # leads on in the moment in which it is loaded
ASKED = {
    "title": "أسبوعنا من أربعة أيام",
    "language": "ar",
    "site": "a-site-with-a-long-name.example.org",
    "action": "/x",
}
CEREMONY = {
    "action": "/x",
    "ceremony": "get",
    "options": {"challenge": "AA", "rpId": "localhost"},
    "nonce": "n",
}
PAGES: list[tuple[str, dict[str, Any]]] = [
    ("account.html", {"name": "An issuer", "action": "/account"}),
    ("account_end.html", {"name": "An issuer", **CEREMONY}),
    ("account_ended.html", {"name": "An issuer"}),
    ("account_kept.html", {"issuer": "An issuer"}),
    ("done.html", {**ASKED, "code": "1234 5678", "back": "https://example.org/"}),
    ("eid.html", {**ASKED, "claims": ["family_name", "personal_administrative_number"]}),
    ("log_in.html", {**ASKED, "label": "A provider"}),
    ("logged_in.html", {**ASKED, "label": "A provider", "fields": {"state": "x" * 60}}),
    *[
        ("passkey.html", {**ASKED, **CEREMONY, "issuer": "An issuer", "purpose": purpose, "ceremony": kind})
        for purpose, kind in (("account", "create"), ("return", "get"), ("prove", "create"))
    ],
    ("refusal.html", {"phrase": "Expired", "reason": "this page has expired, or was used already"}),
    ("wallet.html", {"url": "openid4vp://authorize?" + "x" * 400}),
    ("wallet_shown.html", {**ASKED, "response_code": "x" * 60}),
]


@pytest.fixture
def served(world: Any) -> Iterator[tuple[str, Flask]]:
    parts.require(AXE.is_file(), "the packages of client/web")
    app = create_app(world.issuer)
    with serving(app) as port:
        yield f"http://localhost:{port}", app


def test_every_page_is_among_them() -> None:
    assert {name for name, _ in PAGES} | PARTS | UNSEEN == {path.name for path in TEMPLATES.iterdir()}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(served: tuple[str, Flask], browser: Any, theme: str) -> None:
    url, app = served
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, color_scheme=theme, reduced_motion="reduce"
    )
    page = context.new_page()
    html: list[str] = []
    page.route(
        f"{url}/shown", lambda route: route.fulfill(body=html[-1], content_type="text/html; charset=utf-8")
    )
    for name, values in PAGES:
        with app.app_context():
            html.append(app.jinja_env.get_template(name).render(values))
        with page.expect_response(f"{url}/prove/static/page.css") as styled:
            page.goto(f"{url}/shown")
        assert styled.value.ok
        assert fits(page), name
        assert violations(page) == [], name
    context.close()
