"""What is proved on a page of the issuer: a passkey, having been here before, a log-in elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

import chromium
import signer
import stage as stages
from axe import fits, violations
from headcount_node.config import NodeConfig
from stage import Stage, Traffic, shot


def returning(stage: Stage) -> list[dict[str, Any]]:
    config = NodeConfig.from_file(stage.config).issuer
    assert config is not None
    return [{"name": config.name, "returning": ["passkey"]}]


def referrers(traffic: Traffic) -> set[tuple[str, str]]:
    """(who was told, of which origin) of all referrers."""
    return {
        (urlsplit(request["url"]).netloc, urlsplit(request["headers"]["referer"]).netloc)
        for request in traffic.requests
        if request["headers"].get("referer")
    }


def check_privacy(stage: Stage, traffic: Traffic, *others: str) -> None:
    """Nobody but the two origins and those named is asked anything, and no origin hears of another."""
    origins = {"/".join(request["url"].split("/", 3)[:3]) for request in traffic.requests}
    assert origins == {stage.url, stage.issuer_url, *others}
    for told, of in referrers(traffic):
        assert told == of == urlsplit(stage.issuer_url).netloc  # its forms say that they are its own
    bearers = {
        request["headers"]["authorization"].removeprefix("Bearer ")
        for request in traffic.to(stage.issuer_url)
        if "authorization" in request["headers"]
    }
    assert bearers
    for request in traffic.requests:
        assert not any(bearer in request["url"].partition("#")[0] for bearer in bearers)
    for request in traffic.to(stage.url):
        assert not any(bearer.encode() in request["body"] for bearer in bearers)
    assert traffic.errors == []


def look(page: Any, name: str) -> None:
    assert fits(page), name
    assert violations(page) == [], name
    shot(page, name)


def finish(page: Any) -> None:
    signer.is_signed(page)
    signer.send(page)
    signer.is_promised(page)


def test_a_passkey_of_this_device(stage: Stage, page: Any, traffic: Traffic) -> None:
    manifest = stage.publish(title="By device", level="device", options=None)
    device = chromium.Device(page)
    page.goto(stage.sign(manifest))
    signer.choose(page, "")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.get_by_role("heading", name="Your device").wait_for()
    look(page, "prove-device")
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("heading", name="Done here").wait_for()
    look(page, "prove-done")
    page.get_by_role("link", name="Back to").click()
    finish(page)
    assert len(device.credentials()) == 1
    check_privacy(stage, traffic)


def test_who_made_a_passkey_comes_back_with_it(
    stage: Stage, page: Any, browser: Any, traffic: Traffic
) -> None:
    first, second = (
        stage.publish(title=f"To come back {i}", options=None, issuers=returning(stage)) for i in (1, 2)
    )
    page.goto(stage.sign(first))
    signer.choose(page, "")
    page.get_by_role("button", name="a code sent to your e-mail address").click()
    signer.prove(page, stage, signer.new_address())
    page.get_by_role("heading", name="Make it easier next time?").wait_for()
    look(page, "check-remember")
    page.get_by_role("button", name="Make a passkey").click()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="in a new tab").click()
    account = opened.value
    account.get_by_role("heading", name="Remember me here").wait_for()
    look(account, "prove-account")
    made = chromium.Device(account)
    account.get_by_role("button", name="Make a passkey").click()
    account.get_by_role("heading", name="Remembered").wait_for()
    (credential,) = made.credentials()
    account.close()
    page.get_by_role("button", name="Go on").click()
    finish(page)

    context = browser.new_context(locale="en-GB")
    again = context.new_page()
    traffic.watch(context)
    device = chromium.Device(again)
    device.replace(credential)
    again.goto(stage.sign(second))
    signer.choose(again, "")
    again.get_by_role("button", name="I was checked here before").click()
    again.get_by_role("button", name="Continue", exact=True).click()
    again.get_by_role("heading", name="Come back").wait_for()
    look(again, "prove-return")
    again.get_by_role("button", name="Show my passkey").click()
    again.get_by_role("link", name="Back to").click()
    finish(again)
    context.close()
    check_privacy(stage, traffic)


def test_who_was_checked_need_not_be_remembered(stage: Stage, page: Any) -> None:
    manifest = stage.publish(title="No thanks", options=None, issuers=returning(stage))
    page.goto(stage.sign(manifest))
    signer.choose(page, "")
    page.get_by_role("button", name="a code sent to your e-mail address").click()
    signer.prove(page, stage, signer.new_address())
    page.get_by_role("button", name="Go on without").click()
    signer.is_signed(page)


def test_two_proofs_for_one_pledge(stage: Stage, page: Any, traffic: Traffic) -> None:
    manifest = stage.publish(title="Both", level="email+device", options=None)
    chromium.Device(page)
    page.goto(stage.sign(manifest))
    signer.choose(page, "")
    page.get_by_role("button", name="a code sent to your e-mail address").click()
    signer.prove(page, stage, signer.new_address())
    page.get_by_text("One more proof is wanted here").wait_for()
    page.get_by_role("button", name="a passkey").click()
    page.get_by_role("button", name="Continue", exact=True).click()
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("link", name="Back to").click()
    finish(page)
    check_privacy(stage, traffic)


def test_another_address_costs_no_other_proof(stage: Stage, page: Any) -> None:
    manifest = stage.publish(title="Both, the other way", level="email+device", options=None)
    chromium.Device(page)
    page.goto(stage.sign(manifest))
    signer.choose(page, "")
    page.get_by_role("button", name="a passkey").click()
    page.get_by_role("button", name="Continue", exact=True).click()
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("link", name="Back to").click()
    page.get_by_role("button", name="a code sent to your e-mail address").click()
    signer.ask_for_code(page, signer.new_address())
    page.get_by_role("button", name="Use another address").click()
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_log_in_elsewhere(stage: Stage, browser: Any, traffic: Traffic, language: str) -> None:
    manifest = stage.publish(title=f"By log-in {language}", level="oidc", options=None)
    context = browser.new_context(locale=language, viewport={"width": 420, "height": 820})
    context.set_default_timeout(10_000)
    traffic.watch(context)
    page = context.new_page()
    with stages.provider(stage):
        page.goto(stage.sign(manifest, language))
        page.locator("#app button.main-action").click()
        page.wait_for_url(f"{stage.issuer_url}/check/**")
        page.locator("#app button.main-action").click()
        page.wait_for_url(f"{stage.issuer_url}/prove/**")
        assert page.locator("html").get_attribute("lang") == language
        look(page, f"prove-login-{language}")
        page.locator("button.main-action").click()
        page.wait_for_url(f"{stage.provider_url}/**")
        page.locator("input[name=login]").fill("ada")
        page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()
        page.locator("button[type=submit]").click()
        page.wait_for_url(f"{stage.issuer_url}/prove/return**")
        look(page, f"prove-logged-in-{language}")
        page.locator("button.main-action").click()
        page.locator("a.main-action").click()
        page.locator("input[name=when]").first.wait_for()
    provider = [request for request in traffic.requests if request["url"].startswith(stage.provider_url)]
    for request in provider:
        assert manifest.scope_id.hex() not in request["url"] + str(request["headers"])
        assert stage.url not in request["url"] + str(request["headers"])
    context.close()
