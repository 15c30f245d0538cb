from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from credentials import VCT, Government, Wallet
from headcount_issuer.attesters.eid import EidConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.openid4vp import read_response
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.members import Members
from headcount_spec.scope import Manifest
from passkeys import ISSUER, begin, code_of

CLAIMS = {"personal_administrative_number": "123456-789", "issuing_country": "FR", "family_name": "Doe"}
AUDIENCE = f"redirect_uri:{ISSUER}/prove/wallet"
ASKED = ("issuing_country", "personal_administrative_number")


class StatusHost:
    """A real HTTP server with one status list."""

    def __init__(self) -> None:
        host = self
        self.token = b""
        self.asked = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked += 1
                self.send_response(200 if host.token else 500)
                self.send_header("Content-Type", "application/statuslist+jwt")
                self.end_headers()
                self.wfile.write(host.token)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}/status"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def host() -> Iterator[StatusHost]:
    made = StatusHost()
    yield made
    made.close()


@pytest.fixture
def state() -> Government:
    return Government("https://pid.example")


@pytest.fixture
def config(config: IssuerConfig, host: StatusHost, state: Government, tmp_path: Path) -> IssuerConfig:
    (tmp_path / "pid.json").write_bytes(state.jwks)
    (tmp_path / "plain.json").write_bytes(PLAIN.jwks)
    table = {
        "experimental": True,
        "types": [VCT],
        "unique_by": list(ASKED),
        "issuers": {
            state.name: {"jwks": "pid.json", "status": [host.url]},
            PLAIN.name: {"jwks": "plain.json"},
        },
    }
    eid = EidConfig.read(Members(table, "eid"), tmp_path)
    object.__setattr__(config, "attesters", {**config.attesters, "eid": eid})
    return config


PLAIN = Government("https://plain.example")  # issues credentials without status


class Holder:
    """Somebody with a wallet, on the issuer's pages."""

    def __init__(self, world: Any, state: Government, host: StatusHost, **claims: Any) -> None:
        self.world, self.state, self.host = world, state, host
        self.wallet = Wallet()
        status = {"status_list": {"idx": 0, "uri": host.url + "/1"}}
        # Of the world's own time: it runs in another year.
        times = {"exp": world.clock.now + 10**6, "iat": world.clock.now - 1000, "status": status}
        whole = CLAIMS | times | claims
        whole = {name: value for name, value in whole.items() if value is not None or name == "exp"}
        self.wallet.receive(state.issue(whole, self.wallet))
        self.statuses(b"\0")

    def statuses(self, data: bytes) -> None:
        now = self.world.clock.now
        self.host.token = self.state.status_list(self.host.url + "/1", data, iat=now, exp=now + 86_400)

    def ask(self, page: str) -> dict[str, str]:
        """Press the button of the page: what the wallet is asked."""
        path = page.removeprefix(ISSUER)
        assert "personal_administrative_number" in self.world.http.get(path).text
        away = self.world.http.post(path, data="", content_type="application/x-www-form-urlencoded")
        found = re.search(r'href="(openid4vp://[^"]+)"', away.text)
        assert found, away.text
        asked = parse_qs(urlsplit(found[1].replace("&amp;", "&")).query, strict_parsing=True)
        return {name: value for name, (value,) in asked.items()}

    def answer(self, asked: dict[str, str], **bent: Any) -> Any:
        """What the wallet posts, and what it is told."""
        terms = {"nonce": asked["nonce"], "audience": asked["client_id"], "at": self.world.clock.now} | bent
        presentation = self.wallet.present(*ASKED, **terms)
        return self.post(asked, {"person": [presentation]})

    def post(self, asked: dict[str, str], token: Any) -> Any:
        form = {"vp_token": json.dumps(token), "state": asked["state"]}
        return self.world.http.post(urlsplit(asked["response_uri"]).path, data=form)

    def finish(self, told: Any) -> Any:
        """Follow the way back, and press the button there."""
        back = told.get_json()["redirect_uri"].removeprefix(ISSUER)
        page = self.world.http.get(back)
        code = re.search(r'name="response_code" value="([^"]+)"', page.text)
        action = re.search(r'action="([^"]+)"', page.text)
        assert code
        assert action
        return self.world.http.post(action[1], data={"response_code": code[1]})

    def prove(self, scope: Manifest) -> str:
        bearer, page = begin(self.world, scope, "eid")
        code = code_of(self.finish(self.answer(self.ask(page))))
        proved = self.world.post("/sessions/evidence", {"code": code}, bearer)
        assert proved.get_json() == {"state": "proved"}
        return bearer


@pytest.fixture
def scope(world: Any) -> Manifest:
    made: Manifest = world.open(0, level="eid")
    return made


def test_a_wallet_proves_a_person_once(world, scope, state, host, person, problem_of):
    ada = Holder(world, state, host)
    assert world.sign(ada.prove(scope), person(scope, "ada").request).status_code == 200
    again = Holder(world, state, host, family_name="Roe")  # married, and a new card: the same number
    refused = world.sign(again.prove(scope), person(scope, "again").request)
    assert problem_of(refused) == (409, "already-issued")
    other = Holder(world, state, host, issuing_country="DE")
    assert world.sign(other.prove(scope), person(scope, "other").request).status_code == 200


def test_the_request_asks_for_what_is_needed_and_says_whom_it_answers(world, scope, state, host):
    ada = Holder(world, state, host)
    asked = ada.ask(begin(world, scope, "eid")[1])
    assert asked["client_id"] == AUDIENCE
    assert asked["response_uri"] == f"{ISSUER}/prove/wallet"
    assert (asked["response_type"], asked["response_mode"]) == ("vp_token", "direct_post")
    (query,) = json.loads(asked["dcql_query"])["credentials"]
    assert [claim["path"] for claim in query["claims"]] == [[name] for name in ASKED]
    assert query["meta"] == {"vct_values": [VCT]}
    assert len(asked["nonce"]) == 43


def test_a_replayed_answer_is_refused(world, scope, state, host):
    ada = Holder(world, state, host)
    first = ada.ask(begin(world, scope, "eid")[1])
    presentation = ada.wallet.present(*ASKED, nonce=first["nonce"], audience=AUDIENCE, at=world.clock.now)
    assert ada.post(first, {"person": [presentation]}).status_code == 200
    assert ada.post(first, {"person": [presentation]}).status_code == 403  # twice to the same page
    second = ada.ask(begin(world, scope, "eid")[1])
    assert ada.post(second, {"person": [presentation]}).status_code == 403  # to another one


def test_answers_that_are_not_believed(world, scope, state, host, problem_of):
    foreign = Holder(world, Government("https://elsewhere.example"), host)
    forged = Holder(world, Government(state.name), host)
    late = Holder(world, state, host, exp=world.clock.now - 100)
    endless = Holder(world, PLAIN, host, exp=None, status=None)
    nameless = Holder(world, state, host, personal_administrative_number=None)
    untold = Holder(world, state, host, status=None)
    elsewhere = Holder(
        world, state, host, status={"status_list": {"idx": 0, "uri": "http://localhost:1/status"}}
    )
    silent = Holder(world, PLAIN, host)  # with a status, of an issuer that has none
    for holder, code in [
        (foreign, "code-refused"),
        (forged, "code-refused"),
        (late, "not-eligible"),
        (nameless, "not-eligible"),
        (untold, "not-eligible"),
        (elsewhere, "not-eligible"),
        (silent, "not-eligible"),
        (endless, "not-eligible"),
    ]:
        holder.statuses(b"\0")
        asked = holder.ask(begin(world, scope, "eid")[1])
        assert problem_of(holder.answer(asked)) == (403, code)
    ada = Holder(world, state, host)
    for bent in ({"nonce": "x"}, {"audience": ISSUER}, {"at": world.clock.now - 601}):
        asked = ada.ask(begin(world, scope, "eid")[1])
        assert problem_of(ada.answer(asked, **bent)) == (403, "code-refused")


def test_a_revoked_credential_and_a_dead_host_are_refused(world, scope, state, host, problem_of):
    ada = Holder(world, state, host)
    ada.statuses(b"\x01")
    assert problem_of(ada.answer(ada.ask(begin(world, scope, "eid")[1]))) == (403, "not-eligible")
    world.restart()
    host.token = b""
    assert problem_of(ada.answer(ada.ask(begin(world, scope, "eid")[1]))) == (503, "unavailable")
    ada.statuses(b"\0")
    assert ada.prove(scope)
    asked = host.asked
    assert ada.prove(scope)
    assert host.asked == asked  # kept: its host does not learn of each


def test_without_status_a_credential_passes_where_its_issuer_has_none(world, scope, host):
    assert Holder(world, PLAIN, host, status=None).prove(scope)


def test_who_sends_the_request_to_a_stranger_gets_nothing(world, scope, state, host):
    # Eve begins, and has Ada's wallet answer. The way back is Ada's: Eve lacks its code.
    bearer, page = begin(world, scope, "eid")
    asked = Holder(world, state, host).ask(page)
    ada = Holder(world, state, host)
    assert ada.answer(asked).status_code == 200
    own = f"/prove/{asked['state']}"
    assert "response_code" not in world.http.get(own).text
    assert world.http.post(own, data={"response_code": ""}).status_code == 403
    assert world.post("/sessions/evidence", {"code": "00000000"}, bearer).status_code == 403


@pytest.mark.parametrize(
    "token",
    [
        [],
        {},
        "x",
        {"person": "x"},
        {"person": []},
        {"person": ["a", "b"]},
        {"person": [1]},
        {"x": ["a"]},
        None,
    ],
)
def test_what_is_no_answer_is_malformed(world, scope, state, host, problem_of, token):
    ada = Holder(world, state, host)
    asked = ada.ask(begin(world, scope, "eid")[1])
    assert problem_of(ada.post(asked, token)) == (400, "malformed")
    with pytest.raises(MalformedError):
        read_response({"error": "access_denied", "vp_token": json.dumps({"person": ["x"]})})


def test_the_wallets_door_is_no_other_attesters(world, problem_of):
    assert problem_of(world.http.post("/prove/wallet", data={"state": "x", "vp_token": "x"})) == (
        403,
        "not-eligible",
    )
    assert world.http.get("/prove/wallet").status_code in (403, 405)


@pytest.mark.parametrize(
    "change",
    [
        {"experimental": False},
        {"issuers": {}},
        {"issuers": {"https://pid.example": {"jwks": "missing.json"}}},
        {"issuers": {"https://pid.example": {"jwks": "broken.json"}}},
        {"issuers": {"https://pid.example": {"jwks": "pid.json", "status": ["ftp://x"]}}},
        {"unique_by": []},
        {"types": []},
        {"more": 1},
    ],
)
def test_a_table_that_is_wrong_is_refused_at_the_start(tmp_path, state, change):
    (tmp_path / "pid.json").write_bytes(state.jwks)
    (tmp_path / "broken.json").write_bytes(b"{}")
    table = {
        "experimental": True,
        "types": [VCT],
        "unique_by": ["number"],
        "issuers": {state.name: {"jwks": "pid.json"}},
    }
    assert EidConfig.read(Members(dict(table), "eid"), tmp_path)
    with pytest.raises((ConfigurationError, MalformedError)):
        EidConfig.read(Members(table | change, "eid"), tmp_path)
