from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from authenticator import AAGUID, Vendor
from headcount_issuer.attestation import AllowList
from headcount_issuer.attesters.device import DeviceConfig
from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.attesters.passkey import PasskeyConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.meter import NetworkConfig, Networks
from headcount_spec.errors import NotEligibleError
from headcount_spec.scope import Manifest
from passkeys import ISSUER, Browser, begin, by_page, code_of, remember

BACK = {"returning": ["passkey"]}
VENDOR = Vendor()


@pytest.fixture
def config(config: IssuerConfig) -> IssuerConfig:
    more = {"device": DeviceConfig(), "passkey": PasskeyConfig()}
    object.__setattr__(config, "attesters", {**config.attesters, **more})
    return config


@pytest.fixture
def ada(world: Any) -> Browser:
    return Browser(world)


@pytest.fixture
def first(world: Any) -> Manifest:
    scope: Manifest = world.open(0, terms=BACK)
    return scope


@pytest.fixture
def second(world: Any) -> Manifest:
    scope: Manifest = world.open(1, terms=BACK)
    return scope


def test_who_proved_themselves_once_comes_back_by_passkey(world, first, second, ada, person):
    bearer = world.prove(first, "ada@example.org")
    assert remember(world, bearer, ada).status_code == 200
    assert world.sign(bearer, person(first, "ada").request).status_code == 200
    again = by_page(world, second, ada, "passkey")
    assert not world.outbox.mails.qsize()
    assert world.sign(again, person(second, "ada", key=1).request).status_code == 200


PATHS = {
    "mail, mail": ("mail", "mail"),
    "mail, passkey": ("mail", "passkey"),
    "passkey, mail": ("passkey", "mail"),
    "passkey, passkey": ("passkey", "passkey"),
    "passkey, new passkey": ("passkey", "new passkey"),
    "mail, new passkey": ("mail", "new passkey"),
    "new passkey, mail": ("new passkey", "mail"),
}


@pytest.mark.parametrize("paths", PATHS.values(), ids=PATHS.keys())
def test_every_order_of_paths_gives_one_token(world, first, second, ada, person, problem_of, paths):
    remember(world, world.prove(first, "ada@example.org"), ada)

    def come(path: str) -> str:
        if path == "mail":
            return world.prove(second, "Ada+again@example.org")
        if path == "new passkey":  # the old one is lost
            remember(world, world.prove(first, "ada@example.org"), ada := Browser(world))
            return by_page(world, second, ada, "passkey")
        return by_page(world, second, lost, "passkey")

    lost = ada
    bearers = [come(path) for path in paths]
    one, other = person(second, "one", key=1), person(second, "other", key=1)
    assert world.sign(bearers[0], one.request).status_code == 200
    for bearer in bearers:
        assert problem_of(world.sign(bearer, other.request)) == (409, "already-issued")
        assert world.sign(bearer, one.request).status_code == 200  # the same again is answered again
    assert [row.issued for row in world.issuer.scopes()] == [0, 1]


def test_of_three_devices_the_last_one_counts(world, first, second, problem_of):
    devices = [Browser(world) for _ in range(3)]
    for device in devices:
        remember(world, world.prove(first, "ada@example.org"), device)
    for device, holds in zip(devices, (False, False, True), strict=True):
        bearer, page = begin(world, second, "passkey")
        answer = device.go(page)
        assert (answer.status_code == 200) == holds
        assert bearer
    assert world.issuer.accounts.count() == 1


def test_two_people_are_two(world, first, second, person):
    ada, bob = Browser(world), Browser(world)
    remember(world, world.prove(first, "ada@example.org"), ada)
    remember(world, world.prove(first, "bob@example.org"), bob)
    for i, one in enumerate((ada, bob)):
        bearer = by_page(world, second, one, "passkey")
        assert world.sign(bearer, person(second, f"p{i}", key=1).request).status_code == 200


def test_the_quota_of_a_mail_domain_counts_who_comes_back(world, first, second, person, problem_of):
    quota = next(table for table in world.config.attesters.values() if table.name == "email")
    limit = quota.domain_quota
    object.__setattr__(quota, "domain_quota", 2)
    try:
        world.restart()
        people = [Browser(world) for _ in range(2)]
        for i, one in enumerate(people):
            remember(world, world.prove(first, f"p{i}@small.example"), one)
        for i, one in enumerate(people):
            bearer = by_page(world, second, one, "passkey")
            assert world.sign(bearer, person(second, f"p{i}", key=1).request).status_code == 200
        late = world.prove(second, "late@small.example")
        assert problem_of(world.sign(late, person(second, "late", key=1).request)) == (403, "quota-used")
    finally:
        object.__setattr__(quota, "domain_quota", limit)


def test_a_scope_that_does_not_say_so_lets_nobody_come_back(world, first, ada, problem_of):
    remember(world, world.prove(first, "ada@example.org"), ada)
    closed = world.open(1)
    question = {"scope": closed.scope_id.hex(), "attester": "passkey", "evidence": {}}
    assert problem_of(world.post("/sessions", question)) == (403, "not-eligible")
    bearer = world.prove(closed, "ada@example.org")
    assert problem_of(world.post("/sessions/account", {"check": "email"}, bearer)) == (403, "not-eligible")


def test_a_passkey_stands_for_its_check_alone(world, first, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    other = world.open(1, level="device", terms=BACK)
    bearer, page = begin(world, other, "passkey")
    code = code_of(ada.go(page))
    answer = world.post("/sessions/evidence", {"code": code}, bearer)
    assert answer.status_code == 403


def test_no_account_without_proof_of_this_session(world, first, ada, problem_of):
    bearer = world.begin(first, "ada@example.org").get_json()["session"]
    world.outbox.code()
    for check in ("email", "device", "passkey"):
        refused = world.post("/sessions/account", {"check": check}, bearer)
        assert problem_of(refused) == (403, "not-eligible")
    proved = world.prove(first, "ada@example.org")
    assert problem_of(world.post("/sessions/account", {"check": "oidc"}, proved)) == (403, "not-eligible")


def test_who_came_back_cannot_replace_the_passkey(world, first, second, ada, problem_of):
    # Otherwise whoever finds an unlocked device once could lock its owner's account to their own.
    remember(world, world.prove(first, "ada@example.org"), ada)
    bearer = by_page(world, second, ada, "passkey")
    assert problem_of(world.post("/sessions/account", {"check": "email"}, bearer)) == (403, "not-eligible")


def test_a_copied_passkey_is_found_out_and_said(world, first, second):
    device = Browser(world, sign_count=10)
    remember(world, world.prove(first, "ada@example.org"), device)
    device.device.sign_count = 11
    assert by_page(world, second, device, "passkey")
    _, page = begin(world, second, "passkey")
    refused = device.go(page)  # the copy, which counts on from where it was made
    assert refused.status_code == 403
    assert "copy" in refused.text
    device.device.sign_count = 12
    assert by_page(world, second, device, "passkey")


def test_a_challenge_is_answered_once(world, first, second, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    _, page = begin(world, second, "passkey")
    action, ceremony, challenge, handle = ada.open(page)
    bad = ada.device.get(bytes(32))
    assert world.http.post(action, data=bad).status_code == 403
    right = world.http.post(action, data=ada.device.get(challenge))
    assert right.status_code == 403  # the challenge went with the first answer
    assert ceremony == "get"
    assert handle is None


def test_a_challenge_belongs_to_its_session(world, first, second, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    _, page_a = begin(world, second, "passkey")
    _, page_b = begin(world, second, "passkey")
    _, _, challenge_a, _ = ada.open(page_a)
    action_b, _, challenge_b, _ = ada.open(page_b)
    assert challenge_a != challenge_b
    assert world.http.post(action_b, data=ada.device.get(challenge_a)).status_code == 403


@pytest.mark.parametrize(
    "change", [{"origin": "http://localhost:9999"}, {"rp_id": "example.org"}, {"flags": 0x01}, {"flags": 0}]
)
def test_an_answer_from_elsewhere_opens_and_proves_nothing(world, first, second, ada, change):
    stranger = Browser(world)
    for name, value in change.items():
        setattr(stranger.device, name, value)
    assert remember(world, world.prove(first, "ada@example.org"), stranger).status_code == 403
    assert world.issuer.accounts.count() == 0
    remember(world, world.prove(first, "ada@example.org"), ada)
    for name, value in change.items():
        setattr(ada.device, name, value)
    _, page = begin(world, second, "passkey")
    assert ada.go(page).status_code == 403


def test_an_unknown_passkey_and_a_wrong_one_are_answered_alike(world, first, second, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    known, unknown = Browser(world), Browser(world)
    known.device.user_handle = ada.device.user_handle
    answers = [one.go(begin(world, second, "passkey")[1]) for one in (known, unknown)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].text == answers[1].text


def test_who_floods_the_page_of_accounts_keeps_only_their_network_out(world):
    world.issuer.networks = Networks(NetworkConfig(2))
    asked = [world.http.post("/account", environ_base={"REMOTE_ADDR": "192.0.2.7"}) for _ in range(3)]
    assert [answer.status_code for answer in asked] == [200, 200, 429]
    assert world.http.post("/account", environ_base={"REMOTE_ADDR": "198.51.100.7"}).status_code == 200


def test_the_owner_ends_an_account_by_its_passkey(world, first, second, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    assert "sealed" in world.http.get("/account").text
    asked = world.http.post("/account")
    action, ceremony, challenge, _ = ada.read(asked)
    stranger = Browser(world)
    stranger.device.user_handle = ada.device.user_handle
    assert world.http.post(action, data=stranger.device.get(challenge)).status_code == 403
    assert world.http.post(action, data=ada.device.get(challenge)).status_code == 403  # answered already
    action, ceremony, challenge, _ = ada.read(world.http.post("/account"))
    assert ada.answer(action, ceremony, challenge, None).status_code == 200
    assert world.issuer.accounts.count() == 0
    _, page = begin(world, second, "passkey")
    assert ada.go(page).status_code == 403


def test_an_account_page_expires(world, first, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    action, ceremony, challenge, _ = ada.read(world.http.post("/account"))
    world.clock.now += 600
    assert ada.answer(action, ceremony, challenge, None).status_code == 403
    assert world.issuer.accounts.count() == 1


def test_who_proves_themselves_ends_the_account_without_the_passkey(world, first, ada, problem_of):
    remember(world, world.prove(first, "ada@example.org"), ada)
    other = world.prove(first, "bob@example.org")
    headers = {"Authorization": f"Bearer {other}"}
    assert world.http.delete("/sessions/account", json={"check": "email"}, headers=headers).status_code == 204
    assert world.issuer.accounts.count() == 1
    headers = {"Authorization": f"Bearer {world.prove(first, 'ada@example.org')}"}
    assert world.http.delete("/sessions/account", json={"check": "email"}, headers=headers).status_code == 204
    assert world.issuer.accounts.count() == 0
    refused = world.http.delete("/sessions/account", json={"check": "device"}, headers=headers)
    assert problem_of(refused) == (403, "not-eligible")


def test_accounts_outlive_a_restart(world, first, second, ada):
    remember(world, world.prove(first, "ada@example.org"), ada)
    world.restart()
    assert by_page(world, second, ada, "passkey")


def test_one_part_of_a_level_is_remembered_and_the_other_proved_again(world, first, ada, person):
    remember(world, world.prove(first, "ada@example.org"), ada)
    both = world.open(1, level="email+in-person", terms=BACK)
    _, (slip,) = world.issuer.make_codes(both.scope_id, 1)
    bearer, page = begin(world, both, "passkey")
    found = world.post("/sessions/evidence", {"code": code_of(ada.go(page))}, bearer).get_json()
    assert found == {"state": "partial", "wanted": ["in-person"]}
    question = {"attester": "in-person", "evidence": {"code": format_code(slip)}}
    assert world.post("/sessions/next", question, bearer).get_json() == {"state": "proved"}
    assert world.sign(bearer, person(both, "ada", key=1).request).status_code == 200
    # The slip is another one in the next scope, so nothing can be remembered of it.
    assert world.post("/sessions/account", {"check": "in-person"}, bearer).status_code == 403


def test_a_device_is_one_credential_and_no_more(world, person, problem_of):
    scope = world.open(0, level="device")
    ada = Browser(world)
    bearer = by_page(world, scope, ada, "device")
    assert world.sign(bearer, person(scope, "one").request).status_code == 200
    same = by_page(world, scope, ada, "device")
    assert problem_of(world.sign(same, person(scope, "two").request)) == (409, "already-issued")
    # And this is what it does not prove: another key of the same device is another "person".
    other = by_page(world, scope, Browser(world), "device")
    assert world.sign(other, person(scope, "three").request).status_code == 200


def test_email_and_device_burn_each_for_itself(world, person, problem_of):
    scope = world.open(0, level="email+device")
    ada = Browser(world)

    def both(address: str, browser: Browser) -> str:
        bearer = world.begin(scope, address).get_json()["session"]
        partial = world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
        assert partial.get_json() == {"state": "partial", "wanted": ["device"]}
        page = world.post("/sessions/next", {"attester": "device", "evidence": {}}, bearer).get_json()["page"]
        code = code_of(browser.go(page))
        assert world.post("/sessions/evidence", {"code": code}, bearer).get_json() == {"state": "proved"}
        return bearer

    assert world.sign(both("ada@example.org", ada), person(scope, "one").request).status_code == 200
    for address, browser in [("ada@example.org", Browser(world)), ("bob@example.org", ada)]:
        refused = world.sign(both(address, browser), person(scope, "two").request)
        assert problem_of(refused) == (409, "already-issued")


FORGED: dict[str, Callable[[Browser], dict[str, Any]]] = {
    "no statement": lambda browser: {},
    "self attestation": lambda browser: {"self_signed": True},
    "a foreign root": lambda browser: {"vendor": Vendor()},
}


@pytest.mark.parametrize("bent", FORGED.values(), ids=FORGED.keys())
def test_where_makes_are_listed_others_are_refused(world, config, bent):
    listed = DeviceConfig(allowed=AllowList(frozenset({AAGUID}), (VENDOR.root_pem,)))
    object.__setattr__(config, "attesters", {**config.attesters, "device": listed})
    world.restart()
    scope = world.open(0, level="device")
    browser = Browser(world, aaguid=AAGUID)
    _, page = begin(world, scope, "device")
    assert browser.go(page, **bent(browser)).status_code == 403
    bearer, page = begin(world, scope, "device")
    code = code_of(browser.go(page, vendor=VENDOR))
    assert world.post("/sessions/evidence", {"code": code}, bearer).status_code == 200


def test_an_issuer_without_accounts_has_no_page_for_them(world, config):
    attesters = {name: table for name, table in config.attesters.items() if name != "passkey"}
    object.__setattr__(config, "attesters", attesters)
    world.restart()
    assert world.http.get("/account").status_code == 404
    assert world.http.post("/account").status_code == 404


def test_an_issuer_does_not_open_a_scope_whose_ways_back_it_lacks(world, config):
    attesters = {name: table for name, table in config.attesters.items() if name != "passkey"}
    object.__setattr__(config, "attesters", attesters)
    world.restart()
    with pytest.raises(NotEligibleError, match="no attester of this name"):
        world.open(0, terms=BACK)


def test_pages_allow_their_one_script_and_nothing_else(world, first, ada):
    _, page = begin(world, first, "passkey")
    answer = world.http.get(page.removeprefix(ISSUER))
    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce
    assert re.findall(r"<script[^>]*>", answer.text) == [
        f'<script src="/prove/static/passkey.js" nonce="{nonce[1]}" defer>'
    ]
    assert "default-src 'none'" in policy
    with world.http.get("/prove/static/passkey.js") as script:
        assert script.status_code == 200
        assert "javascript" in script.content_type
    assert world.http.get("/prove/static/../templates/base.html").status_code == 404
    assert not re.search(r"\son\w+=", answer.text)
