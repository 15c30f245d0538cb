from __future__ import annotations

import httpx
import pytest

from headcount_spec.scope import Manifest
from stage import Stage


@pytest.mark.parametrize(
    ("origin", "named", "status"),
    [
        ("issuer", "site", 200),
        ("issuer", "https://evil.example", 403),  # a site that is not in the terms
        ("issuer", None, 403),  # the issuer's page names the site that it asks for
        ("https://evil.example", "site", 403),  # no other page can speak for a site
        ("site", None, 200),
        ("site", "https://evil.example", 200),  # what a page of the site says besides is not looked at
    ],
)
def test_only_the_issuers_own_page_asks_for_a_site(
    stage: Stage, campaign: Manifest, origin: str, named: str | None, status: int
) -> None:
    places = {"issuer": stage.issuer_url, "site": stage.url}
    headers = {"Origin": places.get(origin, origin)}
    if named is not None:
        headers["Headcount-Site"] = places.get(named, named)
    answer = httpx.post(
        f"{stage.issuer_url}/sessions/challenge",
        json={"scope": campaign.scope_id.hex(), "attester": "email"},
        headers=headers,
        trust_env=False,
    )
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "path", ["check/00", "check/" + "0" * 64, "check/{scope}/xx", "web/../bundle.json", "web/no.js"]
)
def test_what_is_not_there_is_not_found(stage: Stage, campaign: Manifest, path: str) -> None:
    url = f"{stage.issuer_url}/{path.format(scope=campaign.scope_id.hex())}"
    assert httpx.get(url, trust_env=False).status_code in (400, 404)


@pytest.mark.parametrize(
    "path", ["sign/00", "sign/" + "0" * 64, "in/xx", "audit/xx", "badge/00.svg", "badge/{scope}.gif"]
)
def test_pages_that_are_not_there_are_not_found(stage: Stage, campaign: Manifest, path: str) -> None:
    url = f"{stage.url}/{path.format(scope=campaign.scope_id.hex())}"
    assert httpx.get(url, trust_env=False).status_code in (400, 404)


def test_a_refusal_is_a_page_in_the_readers_language(stage: Stage, campaign: Manifest) -> None:
    answer = httpx.get(f"{stage.url}/sign/{'0' * 64}", headers={"Accept-Language": "de"}, trust_env=False)
    assert answer.status_code == 404
    assert "Diese Kampagne ist dort nicht bekannt" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
