from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

import signer
from headcount import PledgeFile
from headcount_spec.scope import WITHDRAWN, Manifest
from stage import CHROMIUM, Stage, Traffic, shot


def kept(page: Any) -> PledgeFile:
    """The pledge file, as the page hands it out."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the pledge file").click()
    return PledgeFile.from_bytes(download.value.path().read_bytes())


def found(page: Any) -> None:
    """Look for the receipt until the batch is there."""
    for _ in range(40):
        page.get_by_role("button", name="Check it now").click()
        page.locator("#app [role=status] :is(p, h3)").first.wait_for()
        if page.get_by_role("heading", name="Your pledge is in the ledger").is_visible():
            return
        time.sleep(0.2)
    raise AssertionError(page.locator("#app").inner_text())


def test_the_whole_story_by_mail(stage: Stage, campaign: Manifest, page: Any, traffic: Traffic) -> None:
    address = signer.new_address()
    screens = 1
    page.goto(stage.sign(campaign))
    assert page.get_by_text("confirmed e-mail address").first.is_visible()
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    screens += 1
    assert page.get_by_text(f"{urlsplit(stage.url).netloc} asks this site").is_visible()
    shot(page, "check-address")
    signer.ask_for_code(page, address)
    code = stage.code(address)
    page.get_by_label("The code from the mail").wait_for()
    shot(page, "check-code")
    signer.type_code(page, code)
    signer.is_signed(page)
    screens += 1
    shot(page, "sign-signed")
    assert page.url == stage.sign(campaign)  # nothing is left behind the #
    signer.send(page)
    signer.is_promised(page)
    assert screens == 3
    found(page)
    shot(page, "sign-included")

    file = kept(page)
    assert file.choice == 1
    check_traffic(stage, traffic, file, address, code)

    page.get_by_text("Change or withdraw").click()
    page.get_by_role("button", name="Change to: I move, and I help").click()
    page.get_by_text("The change was accepted").wait_for()
    assert page.get_by_text("Your choice: I move, and I help").is_visible()
    time.sleep(2.2)  # one change a batch
    page.get_by_text("Change or withdraw").click()
    page.get_by_role("button", name="Withdraw the pledge").click()
    shot(page, "sign-withdraw")
    page.get_by_role("button", name="Withdraw it?").click()
    page.get_by_text("You have withdrawn your pledge.").wait_for()
    assert kept(page).changes[-1].choice == WITHDRAWN

    page.locator("summary", has_text="Forget everything here").click()
    page.get_by_role("button", name="Forget everything here").click()
    page.get_by_text("Nothing about you is kept").wait_for()
    names = page.evaluate("""async () => {
        const [database] = [await new Promise((resolve) => {
            const request = indexedDB.open("headcount", 1);
            request.onsuccess = () => resolve(request.result);
        })];
        const keys = database.transaction("files").objectStore("files").getAllKeys();
        return new Promise((resolve) => (keys.onsuccess = () => resolve(keys.result)));
    }""")
    assert names == []
    assert traffic.errors == []


def check_traffic(stage: Stage, traffic: Traffic, file: PledgeFile, address: str, code: str) -> None:
    """Who was sent what: the two origins, and to each only what it may know."""
    assert {"/".join(r["url"].split("/", 3)[:3]) for r in traffic.requests} == {stage.url, stage.issuer_url}
    for request in traffic.requests:
        assert not request["headers"].get("referer"), request["url"]
        assert "cookie" not in request["headers"]
        assert not urlsplit(request["url"]).query
    pledge = file.pledge()
    step = file.steps[0]
    assert step.authenticator is not None
    of_pledge = [file.seed, pledge.revision_key, pledge.nullifier, step.authenticator]
    sent_to_issuer = b"".join(whole(request) for request in traffic.to(stage.issuer_url))
    sent_to_verifier = b"".join(whole(request) for request in traffic.to(stage.url))
    for secret in of_pledge:
        for form in (
            secret,
            secret.hex().encode(),
            base64.b64encode(secret),
            base64.urlsafe_b64encode(secret),
        ):
            assert form.rstrip(b"=") not in sent_to_issuer
    assert pledge.to_bytes() in sent_to_verifier
    assert file.seed not in sent_to_verifier
    bearers = {
        request["headers"]["authorization"].removeprefix("Bearer ")
        for request in traffic.to(stage.issuer_url)
        if "authorization" in request["headers"]
    }
    assert len(bearers) == 1
    for text in (address, address.partition("@")[0], code, *bearers):
        assert text.encode() not in sent_to_verifier
        assert all(text not in request["url"].partition("#")[0] for request in traffic.requests)
    assert address.encode() in sent_to_issuer  # the search would find it


def whole(request: dict[str, Any]) -> bytes:
    return (
        request["url"].partition("#")[0].encode() + json.dumps(request["headers"]).encode() + request["body"]
    )


def test_a_slip_of_paper(stage: Stage, slip_campaign: Manifest, page: Any, traffic: Traffic) -> None:
    (slip,) = stage.slips(slip_campaign, 1)
    page.goto(stage.sign(slip_campaign))
    signer.choose(page, "")
    page.get_by_label("The code on your paper slip").fill("AAAA-AAAA-AAAA-AAAA")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("The code is not right").wait_for()
    shot(page, "check-slip-refused")
    page.get_by_label("The code on your paper slip").fill(slip.lower())
    page.get_by_role("button", name="Confirm").click()
    signer.is_signed(page)
    signer.send(page)
    signer.is_promised(page)
    for form in (slip, slip.lower(), slip.replace("-", "")):
        sent = b"".join(whole(request) for request in traffic.to(stage.url))
        assert form.encode().lower() not in sent.lower()
        assert all(form.lower() not in request["url"].lower() for request in traffic.requests)
    check_traffic_origins(stage, traffic)
    # The same slip for another envelope is refused, and says why.
    other = page.context.browser.new_context()
    again = other.new_page()
    again.goto(stage.sign(slip_campaign))
    signer.choose(again, "")
    again.get_by_label("The code on your paper slip").fill(slip)
    again.get_by_role("button", name="Confirm").click()
    again.get_by_text("This proof has been used for this campaign already").wait_for()
    other.close()


def test_reload_and_back_at_every_step(stage: Stage, campaign: Manifest, page: Any) -> None:
    address = signer.new_address()
    page.goto(stage.sign(campaign))
    page.reload()
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    page.reload()
    page.go_back()
    signer.is_started(page)
    page.reload()
    signer.is_started(page)
    shot(page, "sign-started")
    page.get_by_role("button", name="Continue at").click()
    signer.ask_for_code(page, address)
    stage.code(address)
    page.get_by_label("The code from the mail").wait_for()
    page.reload()  # another mail, another code
    signer.prove(page, stage, address)
    signer.is_signed(page)
    page.reload()
    signer.is_signed(page)
    page.go_back()
    page.go_forward()
    signer.is_signed(page)
    signer.send(page, "Keep it and send it later")
    page.get_by_role("heading", name="Your pledge is kept").wait_for()
    page.reload()
    page.get_by_role("heading", name="Your pledge is kept").wait_for()
    page.get_by_role("button", name="Send it now").click()
    signer.is_promised(page)
    page.reload()
    signer.is_promised(page)


def test_a_double_click_makes_one_pledge(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    address = signer.new_address()
    page.goto(stage.sign(campaign))
    page.get_by_label("I move on the action date").check()
    page.get_by_role("button", name="Pledge", exact=True).dblclick()
    page.get_by_label("Your e-mail address").fill(address)
    page.get_by_role("button", name="Send me a code").dblclick()
    code = stage.code(address)
    page.get_by_label("The code from the mail").fill(code)
    page.get_by_role("button", name="Confirm").dblclick()
    signer.is_signed(page)
    page.get_by_label("Send it now").check()
    page.get_by_role("button", name="Go on").dblclick()
    signer.is_promised(page)
    posts = [urlsplit(r["url"]).path for r in traffic.requests if r["method"] == "POST"]
    assert [path for path in posts if path != "/sessions/challenge"] == [
        "/sessions",
        "/sessions/evidence",
        "/token-request",
        "/pledges",
    ]


def test_nothing_is_begun_without_a_choice(stage: Stage, campaign: Manifest, page: Any) -> None:
    page.goto(stage.sign(campaign))
    page.get_by_role("button", name="Pledge", exact=True).click()
    page.get_by_text("Choose one of these first.").wait_for()
    assert page.url == stage.sign(campaign)


def test_two_tabs_are_one_pledge(stage: Stage, campaign: Manifest, page: Any, traffic: Traffic) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(stage.sign(campaign))
        tab.get_by_label("I move on the action date").check()
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    signer.is_started(other)
    other.get_by_text("This pledge was continued in another tab").wait_for()
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)
    signer.is_signed(other)
    signer.send(other)
    signer.is_promised(other)
    signer.is_promised(page)
    assert len([r for r in traffic.requests if r["url"].endswith("/token-request")]) == 1


def test_offline_in_the_middle_loses_nothing(stage: Stage, campaign: Manifest, page: Any) -> None:
    page.goto(stage.sign(campaign))
    page.get_by_label("I move on the action date").wait_for()
    page.context.set_offline(True)
    signer.choose(page)
    page.get_by_text("You seem to be offline").wait_for()
    shot(page, "sign-offline", full=False)
    page.context.set_offline(False)
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)
    page.context.set_offline(True)
    signer.send(page)
    page.get_by_text("You seem to be offline").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Send it now").click()
    signer.is_promised(page)


def test_the_whole_story_on_a_slow_network(stage: Stage, campaign: Manifest, page: Any) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 300, "downloadThroughput": 200_000, "uploadThroughput": 90_000}  # 3G
    session.send("Network.emulateNetworkConditions", slow)
    began = time.monotonic()
    page.goto(stage.sign(campaign))
    assert time.monotonic() - began > 0.6  # it is slow
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)
    signer.send(page)
    signer.is_promised(page)


def test_a_private_window_of_the_browser(
    stage: Stage, campaign: Manifest, browser: Any, tmp_path: Any, traffic: Traffic
) -> None:
    context = browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=CHROMIUM, args=["--no-sandbox", "--incognito"], locale="en-GB"
    )
    context.set_default_timeout(10_000)
    traffic.watch(context)
    try:
        signer.pledge(context.new_page(), stage, campaign)
        check_traffic_origins(stage, traffic)
    finally:
        context.close()


def test_another_device_finishes_from_the_code(stage: Stage, campaign: Manifest, page: Any) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)
    signer.send(page, "Keep it and send it later")
    page.get_by_role("button", name="Show a QR code").click()
    page.get_by_label("QR code that opens this pledge").wait_for()
    shot(page, "sign-later")
    file = kept(page)
    text = base64.urlsafe_b64encode(
        file.choice.to_bytes(2, "big")
        + file.seed
        + b"".join(step.authenticator or b"" for step in file.steps)
    ).decode()
    context = page.context.browser.new_context()
    other = context.new_page()
    other.goto(f"{stage.sign(campaign)}#pledge={text}")
    other.get_by_role("button", name="It is mine, take it").click()
    other.get_by_role("heading", name="Your pledge is kept").wait_for()
    other.get_by_role("button", name="Send it now").click()
    signer.is_promised(other)
    context.close()
    forged = text[:-40] + ("A" if text[-40] != "A" else "B") + text[-39:]
    context = page.context.browser.new_context()
    other = context.new_page()
    other.goto(f"{stage.sign(campaign)}#pledge={forged}")
    other.get_by_role("button", name="It is mine, take it").click()
    other.get_by_text("A signature is wrong").wait_for()
    context.close()


def test_a_file_goes_on_elsewhere(
    stage: Stage, campaign: Manifest, slip_campaign: Manifest, page: Any, tmp_path: Any
) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)
    signer.send(page, "Keep it and send it later")
    path = tmp_path / "me.pledge"
    path.write_bytes(kept(page).to_bytes())
    for manifest in (slip_campaign, campaign):
        context = page.context.browser.new_context()
        other = context.new_page()
        other.goto(stage.sign(manifest))
        other.get_by_label("I have a pledge file").set_input_files(path)
        if manifest == slip_campaign:
            other.get_by_text("That is not a pledge file for this campaign.").wait_for()
        else:
            other.get_by_text("Your pledge file was read.").wait_for()
        context.close()


@pytest.mark.parametrize("fragment", ["session=abc&issuer=x&state=y", "session=abc", "cancelled=1", "code=1"])
def test_what_nobody_asked_for_is_not_taken(
    stage: Stage, campaign: Manifest, page: Any, traffic: Traffic, fragment: str
) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    page.wait_for_url(f"{stage.issuer_url}/check/**")
    page.goto(f"{stage.sign(campaign)}#{fragment}")
    if fragment.startswith("code"):
        page.wait_for_url(f"{stage.issuer_url}/check/**")
    else:
        signer.is_started(page)
        assert page.url == stage.sign(campaign)
    assert not [r for r in traffic.requests if r["url"].endswith("/token-request")]


def test_blocked_storage_works_in_two_tabs(
    stage: Stage, campaign: Manifest, browser: Any, tmp_path: Any, traffic: Traffic
) -> None:
    profile = tmp_path / "Default"
    profile.mkdir()
    settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Preferences").write_text(json.dumps(settings), "utf-8")
    context = browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=CHROMIUM, args=["--no-sandbox"], locale="en-GB"
    )
    context.set_default_timeout(10_000)
    traffic.watch(context)
    try:
        page = context.new_page()
        page.goto(stage.sign(campaign))
        page.get_by_text("This browser keeps nothing").wait_for()
        shot(page, "sign-blocked")
        signer.choose(page)
        with context.expect_page() as opened:
            page.get_by_role("link", name="in a new tab").click()
        beside = opened.value
        signer.prove(beside, stage, signer.new_address())
        beside.get_by_text("Go back to the other tab").wait_for()
        signer.is_signed(page)
        signer.send(page)
        signer.is_promised(page)
        assert kept(page).promise is not None
        check_traffic_origins(stage, traffic)
    finally:
        context.close()


def check_traffic_origins(stage: Stage, traffic: Traffic) -> None:
    origins = {"/".join(r["url"].split("/", 3)[:3]) for r in traffic.requests if r["url"].startswith("http")}
    assert origins == {stage.url, stage.issuer_url}
