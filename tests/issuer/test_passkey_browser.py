from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import chromium
import ports
from headcount_issuer.app import create_app
from headcount_issuer.attesters.device import DeviceConfig
from headcount_issuer.attesters.passkey import PasskeyConfig
from headcount_issuer.config import IssuerConfig
from serving import serving

BACK = {"returning": ["passkey"]}


@pytest.fixture
def config(config: IssuerConfig) -> IssuerConfig:
    (port,) = ports.free_ports(0)
    more = {"device": DeviceConfig(), "passkey": PasskeyConfig()}
    return replace(config, url=f"http://localhost:{port}", attesters={**config.attesters, **more})


@pytest.fixture
def served(world: Any) -> Iterator[Any]:
    port = int(world.config.url.rpartition(":")[2])
    with serving(create_app(world.issuer), port):
        yield world


@pytest.fixture
def device(browser: Any) -> Iterator[chromium.Device]:
    page = browser.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    yield chromium.Device(page)
    page.close()


def open_page(world: Any, scope: Any, attester: str) -> tuple[str, str]:
    question = {"scope": scope.scope_id.hex(), "attester": attester, "evidence": {}}
    begun = world.post("/sessions", question).get_json()
    return begun["session"], begun["page"]


def press(device: chromium.Device, url: str) -> None:
    device.page.goto(url)
    device.page.get_by_role("button").click()


def code(device: chromium.Device) -> str:
    return str(device.page.locator(".code").inner_text())


def remember(world: Any, scope: Any, address: str, device: chromium.Device) -> None:
    bearer = world.prove(scope, address)
    answer = world.post("/sessions/account", {"check": "email"}, bearer).get_json()
    press(device, answer["page"])
    device.page.get_by_role("heading", name="Remembered").wait_for()


def come_back(world: Any, scope: Any, device: chromium.Device) -> str:
    bearer, page = open_page(world, scope, "passkey")
    press(device, page)
    proved = world.post("/sessions/evidence", {"code": code(device)}, bearer)
    assert proved.get_json() == {"state": "proved"}
    return bearer


def test_a_browser_makes_a_passkey_and_comes_back_with_it(served, device, person, problem_of):
    first, second = served.open(0, terms=BACK), served.open(1, terms=BACK)
    remember(served, first, "ada@example.org", device)
    assert len(device.credentials()) == 1
    bearer = come_back(served, second, device)
    assert served.sign(bearer, person(second, "ada", key=1).request).status_code == 200
    by_mail = served.prove(second, "ada@example.org")
    refused = served.sign(by_mail, person(second, "again", key=1).request)
    assert problem_of(refused) == (409, "already-issued")


def test_a_device_that_is_asked_again_replaces_its_passkey(served, device):
    scope = served.open(0, terms=BACK)
    remember(served, scope, "ada@example.org", device)
    remember(served, scope, "ada@example.org", device)
    assert len(device.credentials()) == 1  # the user handle is the same
    assert served.issuer.accounts.count() == 1
    assert come_back(served, scope, device)


def test_the_counter_of_a_copy_is_found_out(served, device):
    scope = served.open(0, terms=BACK)
    remember(served, scope, "ada@example.org", device)
    (copied,) = device.credentials()
    come_back(served, scope, device)
    device.replace(copied)
    _, page = open_page(served, scope, "passkey")
    press(device, page)
    device.page.get_by_text("there may be a copy of it").wait_for()


def test_a_level_of_a_device(served, device, person):
    scope = served.open(0, level="device")
    bearer, page = open_page(served, scope, "device")
    press(device, page)
    assert served.post("/sessions/evidence", {"code": code(device)}, bearer).status_code == 200
    assert served.sign(bearer, person(scope, "ada").request).status_code == 200


def test_a_device_that_does_not_verify_its_user_is_of_no_use(served, device):
    device.verify_user(False)
    scope = served.open(0, level="device")
    _, page = open_page(served, scope, "device")
    press(device, page)
    device.page.get_by_role("alert").wait_for()
    assert not device.credentials()


def test_a_browser_ends_its_account(served, device):
    scope = served.open(0, terms=BACK)
    remember(served, scope, "ada@example.org", device)
    press(device, f"{served.config.url}/account")
    device.page.get_by_role("button", name="Show my passkey").click()
    device.page.get_by_role("heading", name="Ended").wait_for()
    assert served.issuer.accounts.count() == 0
