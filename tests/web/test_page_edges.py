"""A pledge that a link brings, a moment that was given up, another language, an old browser, forgetting."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

import signer
from headcount import PledgeFile
from headcount_spec.scope import Manifest
from stage import Stage, Traffic, shot


def signed(page: Any, stage: Stage, campaign: Manifest) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)


@pytest.fixture(scope="module")
def link(stage: Stage, campaign: Manifest, browser: Any) -> str:
    """What somebody's QR code holds."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    signed(page, stage, campaign)
    signer.send(page, "Keep it and send it later")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the pledge file").click()
    file = PledgeFile.from_bytes(download.value.path().read_bytes())
    signatures = b"".join(step.authenticator or b"" for step in file.steps)
    data = file.choice.to_bytes(2, "big") + file.seed + signatures
    context.close()
    return f"{stage.sign(campaign)}#pledge={base64.urlsafe_b64encode(data).decode()}"


def test_a_pledge_in_a_link_is_taken_only_by_whom_it_belongs_to(
    stage: Stage, campaign: Manifest, link: str, page: Any, traffic: Traffic
) -> None:
    page.goto(link)
    page.get_by_role("heading", name="A finished pledge from another device").wait_for()
    page.get_by_text("whoever else has it can change or withdraw it").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "A finished pledge from another device"
    shot(page, "sign-carried", full=False)
    assert page.url == stage.sign(campaign)  # the secret is not left in the address
    assert page.get_by_role("button", name="Send it now").count() == 0
    page.get_by_role("button", name="Leave it, make my own").click()
    page.get_by_label("I move on the action date").wait_for()
    page.reload()
    page.get_by_label("I move on the action date").wait_for()  # nothing of it was kept
    assert not [request for request in traffic.requests if request["method"] == "POST"]


def test_a_pledge_of_ones_own_gives_way_to_no_link(
    stage: Stage, campaign: Manifest, link: str, page: Any
) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    page.goto(link)
    signer.is_started(page)


def test_what_is_to_be_sent_later_is_not_sent_at_a_moment_drawn_before(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    page.clock.install()
    signed(page, stage, campaign)
    signer.send(page, "Send it in a few minutes")
    page.get_by_role("button", name="Keep it and send it later").click()
    page.get_by_role("heading", name="Your pledge is kept").wait_for()
    page.clock.fast_forward("30:00")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("heading", name="Your pledge is kept").is_visible()
    assert not [request for request in traffic.requests if request["url"].endswith("/pledges")]


def test_another_language_at_the_issuer_asks_for_the_same_envelope(
    stage: Stage, campaign: Manifest, page: Any
) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    page.get_by_role("link", name="Deutsch").click()
    page.wait_for_url("**/de#**")
    page.locator("#address").wait_for()
    page.get_by_role("link", name="English").click()
    page.wait_for_url("**/en#**")
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)


def test_a_way_back_that_is_none_is_refused_at_once(stage: Stage, campaign: Manifest, page: Any) -> None:
    where = f"{stage.issuer_url}/check/{campaign.scope_id.hex()}/en"
    page.goto(f"{where}#site={stage.url}&return=/{'a' * 60}!&state=x")
    page.get_by_text("Nobody has sent you here").wait_for()


@pytest.mark.parametrize("place", ["sign", "check", "audit"])
def test_a_browser_that_cannot_run_the_page_is_told(
    stage: Stage, campaign: Manifest, page: Any, place: str, traffic: Traffic
) -> None:
    # As an old one does that stumbles over the first line.
    page.route(
        f"**/assets/{place}-*.js", lambda route: route.fulfill(body="class {", content_type="text/javascript")
    )
    origin = stage.issuer_url if place == "check" else stage.url
    scope = "" if place == "audit" else f"/{campaign.scope_id.hex()}"
    page.goto(f"{origin}/{place}{scope}/en")
    told = page.get_by_text(re.compile("This browser is too old|use the command headcount audit"))
    assert not told.is_visible()  # everybody else would see it for a moment
    page.evaluate("document.querySelector('.late').getAnimations().forEach((one) => one.finish())")
    told.wait_for()
    traffic.errors.clear()


def test_a_browser_without_the_arithmetic_is_told(stage: Stage, campaign: Manifest, page: Any) -> None:
    page.add_init_script("Object.defineProperty(Crypto.prototype, 'subtle', {get: () => undefined})")
    page.goto(stage.sign(campaign))
    page.get_by_text("This browser is too old").wait_for()
    assert page.locator(".late").count() == 0


def test_forgetting_leaves_no_recount_behind(stage: Stage, campaign: Manifest, page: Any) -> None:
    page.goto(f"{stage.url}/audit/en")
    page.get_by_role("button", name="Recount", exact=True).click()
    page.get_by_text("Everything was recounted").wait_for()
    names = "indexedDB.databases().then((all) => all.map((one) => one.name))"
    assert "headcount-audit" in page.evaluate(names)
    page.goto(stage.sign(campaign))
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    page.go_back()
    signer.is_started(page)
    page.get_by_role("button", name="Forget this and start over").click()
    page.get_by_label("I move on the action date").wait_for()
    assert "headcount-audit" not in page.evaluate(names)


def test_what_is_being_done_is_read_out(stage: Stage, campaign: Manifest, page: Any) -> None:
    page.goto(stage.sign(campaign))
    page.get_by_label("I move on the action date").check()
    # What comes with its text is not heard: the line has to be there before.
    page.evaluate(
        """() => {
        window.heard = [];
        new MutationObserver((changes) => {
            for (const {target, addedNodes} of changes) {
                const line = target.closest?.("[role=status]");
                if (line && addedNodes.length) window.heard.push(line.textContent);
            }
        }).observe(document.getElementById("app"), {childList: true, subtree: true});
    }"""
    )
    page.route("**/check/**", lambda route: route.fulfill(status=204))  # the page stays
    page.get_by_role("button", name="Pledge", exact=True).click()
    page.get_by_text("Going to").wait_for()
    assert "Going to localhost" in "".join(page.evaluate("window.heard"))
