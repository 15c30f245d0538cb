from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask.testing import FlaskClient

import keys
import manifests
from asgi import AsgiClient
from headcount_issuer.app import create_app
from headcount_issuer.attesters.combination import Combination
from headcount_issuer.attesters.in_person import InPersonConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_issuer.session import Session
from headcount_node.bridge import Bridge
from headcount_node.hot_issuer import HotIssuer
from headcount_spec.level import Level
from headcount_spec.scope import Manifest
from headcount_spec.token import TokenRequest

N = keys.token_key(0).public.n
TYPE = "application/private-token-request"
NOON = manifests.OPENS * 86400 + 43200


@dataclass
class World:
    issuer: Issuer
    scope: Manifest
    flask: FlaskClient
    hot: AsgiClient

    def bearer(self, tag: bytes | None = None) -> str:
        session = Session(
            self.scope.scope_id,
            self.scope.origins[0],
            "/",
            Combination(Level.from_text("in-person"), ("in-person",)),
        )
        session.tags = (tag or secrets.token_bytes(32),)
        return self.issuer._sessions.open(session)

    def request(self) -> bytes:
        message = (2 + secrets.randbelow(N - 4)).to_bytes(256, "big")
        return TokenRequest(self.scope.issuers[0].token_key_id[-1], message).to_bytes()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = IssuerConfig(
        "issuer.example",
        "http://localhost:8001",
        tmp_path / "issuer",
        "http://localhost:1/ledger",
        {"in-person": InPersonConfig()},
    )
    Issuer.create(config)
    notice_key = Ed25519PrivateKey.from_private_bytes(manifests.ISSUER_SEEDS[0])
    pem = notice_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (config.keys / "notice.pem").write_bytes(pem)
    entry = manifests.issuer(0) | {"name": config.name, "attesters": ["in-person"]}
    scope = manifests.manifest(issuers=[entry], level="in-person")
    name = f"{scope.issuers[0].token_key_id.hex()}.pem"
    write_private(config.keys / name, (keys.DATA / "token-key-0.pem").read_bytes())
    with Issuer.open(config, lambda: NOON, lambda entry: None) as issuer:
        issuer.enrol(scope.raw)
        flask = create_app(issuer)
        cold = Bridge(flask, 4)
        app = HotIssuer(issuer, cold)
        hot = AsgiClient(app)
        yield World(issuer, scope, flask.test_client(), hot)
        hot.close()
        app.close()
        cold.close()


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


CASES: dict[str, Callable[[World], dict[str, Any]]] = {
    "signed": lambda w: {"data": w.request(), "bearer": w.bearer()},
    "with a charset": lambda w: {"data": w.request(), "bearer": w.bearer(), "content_type": f"{TYPE}; a=b"},
    "from a page": lambda w: {"data": w.request(), "bearer": w.bearer(), "origin": w.scope.origins[0]},
    "from another page": lambda w: {
        "data": w.request(),
        "bearer": w.bearer(),
        "origin": "http://evil.example",
    },
    "no session": lambda w: {"data": w.request(), "bearer": "nobody"},
    "no bearer": lambda w: {"data": w.request(), "bearer": None},
    "a long bearer": lambda w: {"data": w.request(), "bearer": "x" * 300},
    "another type": lambda w: {"data": w.request(), "bearer": w.bearer(), "content_type": "text/plain"},
    "no type": lambda w: {"data": w.request(), "bearer": w.bearer(), "content_type": None},
    "truncated": lambda w: {"data": w.request()[:-1], "bearer": w.bearer()},
    "empty": lambda w: {"data": b"", "bearer": w.bearer()},
    "too long": lambda w: {"data": bytes(5000), "bearer": w.bearer()},
    "one": lambda w: {"data": w.request()[:3] + bytes(255) + b"\1", "bearer": w.bearer()},
    "another key": lambda w: {
        "data": w.request()[:2] + bytes([w.request()[2] ^ 1]) + w.request()[3:],
        "bearer": w.bearer(),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_the_hot_route_answers_as_flask_does(world, name):
    case = CASES[name](world)
    headers = {}
    if case["bearer"] is not None:
        headers["Authorization"] = f"Bearer {case['bearer']}"
    if "origin" in case:
        headers["Origin"] = case["origin"]
    arguments = {"data": case["data"], "content_type": case.get("content_type", TYPE), "headers": headers}
    cold = world.flask.post("/token-request", **arguments)
    hot = world.hot.open("/token-request", "POST", **arguments)
    assert hot.status_code == cold.status_code
    assert hot.get_data() == cold.get_data()
    assert lower(hot.headers) == lower(cold.headers)


def test_one_message_a_person(world):
    bearer = world.bearer()
    headers = {"Authorization": f"Bearer {bearer}"}
    first, second = world.request(), world.request()
    for data, status in ((first, 200), (second, 409), (first, 200)):
        answer = world.hot.open("/token-request", "POST", data=data, content_type=TYPE, headers=headers)
        assert answer.status_code == status


def test_a_thousand_requests_of_one_person_over_the_hot_route_get_one_token(world):
    tag = secrets.token_bytes(32)
    bearers = [world.bearer(tag) for _ in range(20)]

    def ask(i: int) -> int:
        headers = {"Authorization": f"Bearer {bearers[i % 20]}"}
        answer = world.hot.open(
            "/token-request", "POST", data=world.request(), content_type=TYPE, headers=headers
        )
        return int(answer.status_code)

    with ThreadPoolExecutor(100) as pool:
        statuses = list(pool.map(ask, range(1000)))
    assert sorted(statuses) == [200] + [409] * 999
    assert world.issuer.scopes()[0].issued == 1


def test_what_is_no_token_request_goes_to_flask(world):
    for path in ("/.well-known/private-token-issuer-directory", "/token-request", "/nothing"):
        hot, cold = world.hot.open(path), world.flask.get(path)
        assert (hot.status_code, hot.get_data()) == (cold.status_code, cold.get_data())
    assert dataclasses.is_dataclass(world)
