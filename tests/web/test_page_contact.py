from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import manifests
import signer
from axe import fits, violations
from headcount import PledgeFile
from headcount.catalogue import LANGUAGES, catalogue
from headcount_node.config import NodeConfig
from headcount_spec import sealed
from headcount_spec.deposit import Deposit, Erasure
from headcount_spec.entry import parse_entry
from headcount_spec.pledge import Pledge
from headcount_spec.scope import Manifest
from headcount_spec.sealed import Blob
from headcount_verifier.contacts import Contacts
from stage import Stage, Traffic, shot

REACH = "marmalade.harbour@reach.example"


@pytest.fixture(scope="module")
def reachable(stage: Stage) -> Manifest:
    return stage.publish(title="Reach us", threshold=40)


@pytest.fixture(scope="module")
def contacts(stage: Stage, reachable: Manifest) -> Manifest:
    return stage.publish_contacts(reachable)


@pytest.fixture(scope="module")
def store(stage: Stage) -> Iterator[Contacts]:
    config = NodeConfig.from_file(stage.config).verifier
    assert config is not None
    found = Contacts.from_settings(config)
    assert found is not None
    yield found
    found.close()


def kept(page: Any, button: str) -> PledgeFile:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return PledgeFile.from_bytes(download.value.path().read_bytes())


def sign(page: Any, stage: Stage, campaign: Manifest, address: str) -> None:
    page.goto(stage.sign(campaign))
    signer.choose(page)
    signer.prove(page, stage, address)
    signer.is_signed(page)


def is_offered(page: Any) -> None:
    page.get_by_role("heading", name="May the organisers reach you?").wait_for()


def seal(page: Any, value: str = REACH) -> None:
    page.locator("#contact-value").fill(value)
    page.get_by_role("button", name="Seal it").click()


def stored(store: Contacts, scope: Manifest) -> int:
    assert scope.trustees is not None
    record = 32 + sealed.blob_bytes(len(scope.trustees.members))
    return (len(b"".join(store.export(scope.scope_id))) - 52) // record


def sealed_said(stage: Stage, manifest: Manifest, expected: str) -> str:
    """What the campaign's page says of its sealed contacts, once the batch is there."""
    deadline = time.monotonic() + 10
    while True:
        found = re.search(
            r'<p class="sealed">(.*?)</p>', httpx.get(stage.sign(manifest), trust_env=False).text
        )
        assert found
        if expected in found[1]:
            return found[1]
        assert time.monotonic() < deadline, found[1]
        time.sleep(0.1)


def test_a_contact_is_left_later_and_erased(
    stage: Stage, reachable: Manifest, contacts: Manifest, store: Contacts, page: Any, traffic: Traffic
) -> None:
    address = signer.new_address()
    page.clock.install()
    sign(page, stage, reachable, address)
    is_offered(page)
    shot(page, "contact-offer")
    seal(page, "no address")
    page.get_by_text("This is not in the form that is needed").wait_for()
    assert page.url == stage.sign(reachable)
    seal(page)
    page.wait_for_url(f"{stage.issuer_url}/check/{contacts.scope_id.hex()}/**")
    page.reload()
    page.go_back()
    page.get_by_text("Your contact is sealed, and").wait_for()
    page.get_by_role("button", name="Continue at").click()
    signer.prove(page, stage, address)
    page.get_by_text("Your contact is sealed and signed").wait_for()
    assert page.url == stage.sign(reachable)
    shot(page, "contact-waiting")
    signer.send(page)
    signer.is_promised(page)
    now = page.evaluate("Date.now() / 1000")  # from the pledge on
    pledge = kept(page, "Save the pledge file")
    waiting = kept(page, "Save the contact’s file")
    assert waiting.after is not None
    assert 590 < waiting.after - now <= 4200
    assert not [r for r in traffic.requests if r["url"].endswith("/contacts")]
    page.reload()  # still too early
    page.get_by_text("Your contact is sealed and signed").wait_for()
    assert stored(store, contacts) == 0
    page.clock.fast_forward("01:11:00")
    page.get_by_role("heading", name="Your sealed contact is left").wait_for()
    shot(page, "contact-left")
    assert stored(store, contacts) == 1
    said = sealed_said(stage, reachable, "1 person has left a sealed way")
    assert "When 40 have pledged" in said
    assert "2 of these 3" in said
    left = kept(page, "Save the contact’s file")
    assert left.is_deposited
    check_traffic(stage, traffic, pledge, left, address)

    page.get_by_role("button", name="Erase my contact").click()
    page.get_by_role("button", name="Erase it?").click()
    page.get_by_role("heading", name="Your contact is erased").wait_for()
    assert stored(store, contacts) == 0
    (erasure,) = [Erasure.from_bytes(r["body"]) for r in traffic.requests if r["url"].endswith("/erasures")]
    assert erasure.nullifier == left.nullifier
    page.reload()
    page.get_by_role("heading", name="Your contact is erased").wait_for()

    page.locator("summary", has_text="Forget everything here").click()
    page.get_by_role("button", name="Forget everything here").click()
    page.get_by_text("Nothing about you is kept").wait_for()
    names = page.evaluate("""async () => {
        const database = await new Promise((resolve) => {
            const request = indexedDB.open("headcount", 1);
            request.onsuccess = () => resolve(request.result);
        });
        const keys = database.transaction("files").objectStore("files").getAllKeys();
        return new Promise((resolve) => (keys.onsuccess = () => resolve(keys.result)));
    }""")
    assert names == []
    assert traffic.errors == []


def forms(value: bytes) -> list[bytes]:
    encoded = (base64.b64encode(value), base64.urlsafe_b64encode(value))
    return [value, value.hex().encode(), *(text.rstrip(b"=") for text in encoded)]


def whole(request: dict[str, Any]) -> bytes:
    return request["url"].partition("#")[0].encode() + repr(request["headers"]).encode() + request["body"]


def has(request: dict[str, Any], values: list[bytes]) -> bool:
    return any(form in whole(request) for value in values for form in forms(value))


def check_traffic(
    stage: Stage, traffic: Traffic, pledge: PledgeFile, contact: PledgeFile, address: str
) -> None:
    """The contact goes to nobody in clear, and no request joins it to the pledge."""
    assert {"/".join(r["url"].split("/", 3)[:3]) for r in traffic.requests} == {stage.url, stage.issuer_url}
    (sent,) = [r for r in traffic.requests if r["url"].endswith("/contacts")]
    deposit = Deposit.from_bytes(sent["body"])
    # The search below is for what is really there: the keys of trustees and organiser open it.
    blob = Blob.from_bytes(deposit.blob, 2, 3)
    ctx = sealed.context(deposit.scope_id, deposit.revision_key)
    keys = {i: manifests.agreement_private(i - 1) for i in (1, 3)}
    inner = sealed.open_outer(blob, ctx, keys, [(1, 3)])
    opened = sealed.open_inner(inner, ctx, manifests.CONTACT_PRIVATE)
    assert (opened.channel, opened.value) == ("email", REACH)
    name = REACH.partition("@")[0].encode()
    for request in traffic.requests:
        assert name not in whole(request), request["url"]
        assert not request["headers"].get("referer")
        assert "cookie" not in request["headers"]
    for path in sorted(stage.folder.rglob("*")):
        if path.is_file():
            assert name not in path.read_bytes(), path
    # Who has checked the person sees neither entry; who takes the entries sees nothing that they share.
    of_pledge = values_of(pledge)
    of_contact = [*values_of(contact), deposit.blob[3:99], hashlib.sha256(deposit.blob).digest()]
    assert not set(of_pledge) & set(of_contact)
    for request in traffic.to(stage.issuer_url):
        assert not has(request, of_pledge), request["url"]
        assert not has(request, of_contact), request["url"]
    assert any(has(request, of_pledge) for request in traffic.to(stage.url))
    assert any(has(request, of_contact) for request in traffic.to(stage.url))
    for request in traffic.to(stage.url):
        assert not (has(request, of_pledge) and has(request, of_contact)), request["url"]
        assert not has(request, [pledge.seed, contact.seed]), request["url"]
        assert address.encode() not in whole(request)
    entries = [parse_entry(r["body"]) for r in traffic.requests if r["url"].endswith("/pledges")]
    assert [entry.scope_id for entry in entries if isinstance(entry, Pledge)] == [
        pledge.manifest.scope_id,
        contact.manifest.scope_id,
    ]
    bearers = {r["headers"]["authorization"] for r in traffic.requests if "authorization" in r["headers"]}
    assert len(bearers) == 2  # a session for each token


def values_of(file: PledgeFile) -> list[bytes]:
    return [file.nullifier, file.revision_key, *(step.authenticator or b"" for step in file.steps)]


def test_without_every_trustee_nothing_is_sealed(stage: Stage, page: Any, traffic: Traffic) -> None:
    campaign = stage.publish(title="Two of three have signed", threshold=40)
    scope = stage.publish_contacts(campaign, enrolled=2)
    sign(page, stage, campaign, signer.new_address())
    is_offered(page)
    seal(page)
    page.get_by_text("A key is not the one that the terms name").wait_for()
    shot(page, "contact-refused")
    assert page.url == stage.sign(campaign)
    assert not [r for r in traffic.to(stage.issuer_url) if scope.scope_id.hex() in r["url"]]
    assert REACH.encode() not in b"".join(whole(r) for r in traffic.requests)


def test_who_wants_no_letter_types_no_address(
    stage: Stage, reachable: Manifest, contacts: Manifest, page: Any
) -> None:
    address = signer.new_address()
    sign(page, stage, reachable, address)
    is_offered(page)
    assert page.locator("#contact-value").is_visible()
    page.get_by_label("Not at all").check()
    assert not page.locator("#contact-value").is_visible()
    page.get_by_role("button", name="Seal it").click()
    signer.prove(page, stage, address)
    page.get_by_text("Your contact is sealed and signed").wait_for()
    left = kept(page, "Save the contact’s file")
    assert left.blob is not None
    assert len(left.blob) == sealed.blob_bytes(3)
    page.get_by_role("button", name="Leave no contact").click()
    is_offered(page)


@pytest.mark.parametrize(
    "tag", [pytest.param(tag, marks=[] if tag in ("de", "ar") else pytest.mark.long) for tag in LANGUAGES]
)
def test_the_offer_is_accessible_and_fits(
    stage: Stage, reachable: Manifest, contacts: Manifest, browser: Any, tag: str
) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    page = context.new_page()
    sign(page, stage, reachable, signer.new_address())
    page.goto(stage.sign(reachable, tag))
    page.get_by_role("heading", name=catalogue(tag).text("contact.heading")).wait_for()
    assert fits(page)
    assert violations(page) == []
    assert "{" not in page.locator("#contact").inner_text()
    shot(page, f"contact-{tag}")
    context.close()
