"""What is begun before the click: used while fresh, done again when stale, asked for once when it fails."""

from __future__ import annotations

import datetime
import json
from typing import Any

import signer
from headcount_spec.scope import Manifest
from headcount_spec.text import format_day
from stage import Stage, Traffic

PLEDGE = "I move on the action date"


def asked(traffic: Traffic, path: str) -> int:
    return len([request for request in traffic.requests if request["url"].endswith(path)])


def prepared(page: Any, stage: Stage, campaign: Manifest) -> None:
    """The button is in view, and what it needs was looked at."""
    with page.expect_response(lambda answer: "/tile/" in answer.url):
        page.goto(stage.sign(campaign))
        page.get_by_label(PLEDGE).check()
    page.wait_for_load_state("networkidle")


def prepared_in_vain(page: Any, stage: Stage, campaign: Manifest, times: int) -> None:
    """The button is in view, and the ledger answers so many times that it cannot now."""
    page.context.route("**/ledger/checkpoint", lambda route: route.fulfill(status=503), times=times)
    page.goto(stage.sign(campaign))
    page.get_by_label(PLEDGE).check()
    page.wait_for_load_state("networkidle")


def is_asked_for_an_address(page: Any) -> None:
    page.get_by_label("Your e-mail address").wait_for()


def test_what_was_checked_a_moment_ago_is_not_checked_again(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    prepared(page, stage, campaign)
    before = asked(traffic, "/ledger/checkpoint")
    signer.choose(page)
    is_asked_for_an_address(page)
    assert asked(traffic, "/ledger/checkpoint") == before == 1


def test_what_was_checked_long_ago_is_checked_again(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    page.clock.install()
    prepared(page, stage, campaign)
    page.clock.fast_forward("05:01")
    signer.choose(page)
    is_asked_for_an_address(page)
    assert asked(traffic, "/ledger/checkpoint") == 2


def test_a_ledger_that_answered_wrongly_before_is_asked_again(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    prepared_in_vain(page, stage, campaign, times=1)
    assert not page.get_by_text("That did not work").is_visible()  # nobody has asked for anything
    signer.choose(page)
    is_asked_for_an_address(page)
    assert asked(traffic, "/ledger/checkpoint") == 2
    traffic.errors.clear()


def test_a_campaign_that_closes_before_the_click_takes_nothing(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    last = datetime.datetime.fromisoformat(f"{format_day(campaign.closes)}T23:58:00+00:00")
    page.clock.install(time=last)
    prepared(page, stage, campaign)
    page.clock.fast_forward("03:00")
    signer.choose(page)
    page.get_by_text("The campaign does not take this today").wait_for()
    assert page.url == stage.sign(campaign)
    assert not traffic.to(stage.issuer_url)


def test_what_was_chosen_stays_when_the_check_fails(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    prepared_in_vain(page, stage, campaign, times=2)
    page.get_by_role("button", name="Pledge", exact=True).click()
    page.get_by_text("does not answer just now").wait_for()
    assert page.get_by_label(PLEDGE).is_checked()
    page.get_by_role("button", name="Pledge", exact=True).click()
    is_asked_for_an_address(page)
    traffic.errors.clear()


def at_the_issuer(page: Any, stage: Stage, campaign: Manifest) -> Any:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    field = page.get_by_label("Your e-mail address")
    field.wait_for()
    return field


def is_sent(page: Any) -> None:
    page.get_by_label("The code from the mail").wait_for()


def test_the_work_is_asked_for_once_a_mail(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    field = at_the_issuer(page, stage, campaign)
    assert asked(traffic, "/sessions/challenge") == 0  # nobody has typed
    field.press_sequentially(signer.new_address())
    page.get_by_role("button", name="Send me a code").click()
    is_sent(page)
    assert asked(traffic, "/sessions/challenge") == 1
    page.get_by_role("button", name="Use another address").click()
    page.get_by_label("Your e-mail address").fill(signer.new_address())
    page.get_by_role("button", name="Send me a code").click()
    is_sent(page)
    assert asked(traffic, "/sessions/challenge") == 2  # what was used serves no second time


def test_stale_work_is_done_again(stage: Stage, campaign: Manifest, page: Any, traffic: Traffic) -> None:
    page.clock.install()
    field = at_the_issuer(page, stage, campaign)
    field.fill(signer.new_address())
    page.wait_for_load_state("networkidle")
    page.clock.fast_forward("05:01")
    page.get_by_role("button", name="Send me a code").click()
    is_sent(page)
    assert asked(traffic, "/sessions/challenge") == 2


def test_work_that_cannot_be_had_is_not_asked_for_with_every_letter(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    field = at_the_issuer(page, stage, campaign)
    page.context.route("**/sessions/challenge", lambda route: route.fulfill(status=429, json={}), times=1)
    with page.expect_response("**/sessions/challenge"):
        field.press_sequentially("q")
    page.wait_for_load_state("networkidle")
    field.press_sequentially(signer.new_address(), delay=10)
    assert asked(traffic, "/sessions/challenge") == 1
    page.get_by_role("button", name="Send me a code").click()
    is_sent(page)
    assert asked(traffic, "/sessions/challenge") == 2
    traffic.errors.clear()


def proved(page: Any, stage: Stage, campaign: Manifest) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)


def test_who_comes_back_finds_a_light_page_under_the_address_of_the_terms(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    proved(page, stage, campaign)
    came_back = [request for request in traffic.requests if "/en/back" in request["url"]]
    assert len(came_back) == 1
    assert page.url == stage.sign(campaign)
    assert not page.locator("#text-heading").count()
    assert page.evaluate("document.activeElement.textContent") == "Your pledge is signed"
    page.reload()
    signer.is_signed(page)
    page.locator("#text-heading").wait_for()
    page.get_by_role("link", name="Go to signing").wait_for()
    assert len([request for request in traffic.requests if "/en/back" in request["url"]]) == 1


def test_the_light_page_leads_to_the_terms(stage: Stage, campaign: Manifest, page: Any) -> None:
    proved(page, stage, campaign)
    page.get_by_role("heading", level=1).get_by_role("link").click()
    page.locator("#text-heading").wait_for()
    signer.is_signed(page)


def test_the_directory_is_asked_before_anything_is_sent_and_once(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    proved(page, stage, campaign)
    names = [request["url"].rpartition("/")[2] for request in traffic.to(stage.issuer_url)]
    assert names.count("private-token-issuer-directory") == names.count("token-request") == 1
    assert names.index("private-token-issuer-directory") < names.index("token-request")


NOTES = """(change) => new Promise((resolve) => {
    const opening = indexedDB.open("headcount");
    opening.onsuccess = () => {
        const table = opening.result.transaction("files", "readwrite").objectStore("files");
        table.getAllKeys().onsuccess = (event) => {
            const name = event.target.result.find((name) => name.startsWith(change.where));
            table.get(name).onsuccess = (found) => {
                const text = new TextDecoder().decode(found.target.result);
                if (change.text !== undefined) table.put(new TextEncoder().encode(change.text), name);
                table.transaction.oncomplete = () => { opening.result.close(); resolve(text); };
            };
        };
    };
})"""


def test_which_keys_have_passed_is_kept_beside_the_pledge_and_needed_for_nothing(
    stage: Stage, campaign: Manifest, page: Any
) -> None:
    field = at_the_issuer(page, stage, campaign)
    field.wait_for()
    beside = page.context.new_page()
    beside.goto(f"{stage.url}/theme.css")
    notes = json.loads(beside.evaluate(NOTES, {"where": "notes/"}))
    modulus = campaign.issuers[0].token_key[-261:-5]
    assert f"1 modulus {modulus.hex()}" in notes["passed"]
    pledge = beside.evaluate(NOTES, {"where": "pledge/"})
    assert "passed" not in json.loads(pledge)
    # Whatever becomes of it, the keys are looked at again.
    beside.evaluate(NOTES, {"where": "notes/", "text": json.dumps({**notes, "passed": "nonsense"})})
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)


def test_a_damaged_pledge_is_said_to_be_one_and_can_be_forgotten(
    stage: Stage, campaign: Manifest, page: Any
) -> None:
    proved(page, stage, campaign)
    page.evaluate(NOTES, {"where": "pledge/", "text": "{"})
    page.reload()
    page.get_by_text("is damaged and cannot be read").wait_for()
    assert not page.get_by_role("button", name="Try again").count()
    page.get_by_role("button", name="Forget everything here").click()
    page.get_by_label(PLEDGE).wait_for()


def test_the_code_to_share_is_drawn_for_who_looks(stage: Stage, campaign: Manifest, page: Any) -> None:
    proved(page, stage, campaign)
    signer.send(page)
    signer.is_promised(page)
    assert not page.locator("svg.code-picture").count()
    page.locator("summary", has_text="Invite others").click()
    page.locator("svg.code-picture").wait_for()
