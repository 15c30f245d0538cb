from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import ledgers
import manifests
import nodejs
import quota_ledgers
from headcount.catalogue import LANGUAGES, catalogue
from headcount_node.site.assets import Assets
from headcount_node.site.counted import Counts
from headcount_node.site.pages import Site, pages_blueprint
from headcount_spec.scope import Manifest
from ledgers import OPENS, Ledger

SCOPE = quota_ledgers.campaign()
CONTACTS = manifests.contact(SCOPE, threshold=SCOPE.threshold)


def client(ledger: Ledger, *scopes: Manifest) -> FlaskClient:
    nodejs.require()
    if not nodejs.pages().is_built():
        nodejs.pages().build()
    known = {scope.scope_id: scope for scope in (scopes or (SCOPE,))}
    redeemer: Any = SimpleNamespace(manifest=known.__getitem__, scope_ids=lambda: list(known))
    site = Site(redeemer, Counts(ledger.fetch), Assets(), "/ledger", lambda: (OPENS + 5) * 86_400)
    app = Flask(__name__)
    app.register_blueprint(pages_blueprint(site))
    return app.test_client()


def text(page: str) -> str:
    body = page[page.index("<main") :]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_how_each_option_stands(language: str) -> None:
    words = catalogue(language)
    short = client(ledgers.build(quota_ledgers.story()[:2]))
    page = short.get(f"/sign/{SCOPE.scope_id.hex()}/{language}").text
    names = {"each": words.number(2), "options": words.number(2)}
    asked = words.text("quotas.needed", None, **names, total=words.number(3))
    said = text(page)
    assert asked in said
    assert words.text("quotas.standing", 1, **names) in said
    enough = words.text("quotas.enough")
    first, second = words.number(3), words.number(1)
    assert (
        f"Austria {first} / {words.number(2)} · {enough} Belgium {second} / {words.number(2)} Croatia" in said
    )
    assert 'data-state="open"' in page
    assert 'class="reached"' not in page
    front = short.get(f"/in/{language}").text
    assert asked in text(front)
    assert 'class="reached"' not in front


@pytest.mark.parametrize("batches", [4, 5])
def test_reached_is_said_when_both_are_enough_and_afterwards(batches: int) -> None:
    page = client(ledgers.build(quota_ledgers.story()[:batches])).get(f"/sign/{SCOPE.scope_id.hex()}/en").text
    assert 'data-state="reached"' in page
    assert 'class="reached"' in page


def test_whoever_leaves_a_contact_reads_what_opens_it() -> None:
    page = client(ledgers.build(quota_ledgers.story()), SCOPE, CONTACTS).get(
        f"/sign/{SCOPE.scope_id.hex()}/en"
    )
    sealed = page.text[page.text.index('id="sealed-heading"') :]
    assert "Besides, at least 2 each are needed in 2 of the 3 options." in sealed


def test_a_campaign_without_quotas_says_nothing_of_them() -> None:
    plain = ledgers.campaign()
    page = client(ledgers.sample(), plain).get(f"/sign/{plain.scope_id.hex()}/en").text
    assert catalogue("en").text("quotas.heading") not in page
    assert "Besides" not in text(page)


def test_the_badge_is_not_reached_by_the_threshold_alone() -> None:
    pages = client(ledgers.build(quota_ledgers.story()[:2]))
    assert "Needed: 2." in pages.get(f"/badge/{SCOPE.scope_id.hex()}/en.svg").text
    assert pages.get(f"/badge/{SCOPE.scope_id.hex()}.png").data.startswith(b"\x89PNG")
