from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from flask import Flask
from werkzeug.serving import make_server

import keys
import manifests
from foreign import ForeignError, Node
from headcount_engine import rsa
from headcount_issuer.app import create_app
from headcount_issuer.attesters.in_person import InPersonConfig, format_code
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import Draft, Opened
from headcount_issuer.issuer import Issuer
from headcount_spec import jcs, spki
from headcount_spec.scope import Manifest
from headcount_spec.text import decode_base64url
from headcount_spec.token import Token

NAME = "issuer0.example"
NOW = manifests.OPENS * 86400 + 3600


@dataclass(frozen=True)
class Running:
    url: str
    manifest: Manifest
    codes: list[bytes]

    def session(self, code: bytes) -> str:
        """The bearer of a person who showed a slip of the code sheet."""
        evidence = {"code": format_code(code)}
        body = {"scope": self.manifest.scope_id.hex(), "attester": "in-person", "evidence": evidence}
        with httpx.Client(trust_env=False) as client:
            answer = client.post(f"{self.url}/sessions", json=body)
        assert answer.status_code == 201
        assert answer.json()["state"] == "proved"
        return str(answer.json()["session"])


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


@pytest.fixture(scope="module")
def running(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("issuer")
    server = make_server("127.0.0.1", 0, Flask(__name__), threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    config = IssuerConfig(NAME, url, folder, "http://127.0.0.1:9/ledger", {"in-person": InPersonConfig()})
    Issuer.create(config)
    with Issuer.open(config, clock=lambda: NOW, send=lambda entry: None) as issuer:
        entry = {"name": NAME, "url": url, "attesters": ["in-person"]}
        draft = issuer.enrol(jcs.canonicalise(manifests.draft(level="in-person", issuers=[entry])))
        assert isinstance(draft, Draft)
        raw = jcs.canonicalise(draft.value)
        opened = issuer.enrol(raw)
        assert isinstance(opened, Opened)
        manifest, codes = issuer.make_codes(opened.scope, 5)
        assert manifest.raw == raw
        server.app = create_app(issuer)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Running(url, manifest, codes)
        server.shutdown()
        thread.join()
        server.server_close()


def test_their_client_finds_the_key_in_our_directory(node: Node, running: Running) -> None:
    found = node("directory", url=running.url)
    assert found["type"] == "application/private-token-issuer-directory"
    assert found["directory"]["issuer-request-uri"] == f"{running.url}/token-request"
    (key,) = found["directory"]["token-keys"]
    assert key["token-type"] == 2
    assert decode_base64url(key["token-key"]) == running.manifest.issuers[0].token_key


def test_their_client_gets_a_token_from_our_issuer_over_http(node: Node, running: Running) -> None:
    challenge, token_key = running.manifest.challenge(0), running.manifest.issuers[0].token_key
    asked = node("create_token_request", challenge=challenge.to_bytes(), token_key=token_key)
    sending = {
        "url": node("directory", url=running.url)["directory"]["issuer-request-uri"],
        "session": running.session(running.codes[0]),
        "token_request": asked["token_request"],
    }
    response = node.octets("send_token_request", **sending)
    assert node.octets("send_token_request", **sending) == response  # a lost answer is given again
    token = Token.from_bytes(node.octets("finish_token", client=asked["client"], token_response=response))
    assert token.challenge_digest == challenge.digest()
    assert token.token_key_id == spki.token_key_id(token_key)
    rsa.verify(rsa.load_public_key(token_key), token.signed_input(), token.authenticator)
    verified = node("verify_token", token_key=token_key, token=token.to_bytes())
    assert verified == {"verified": True}


def test_their_client_gets_no_second_token_for_the_same_person(node: Node, running: Running) -> None:
    challenge, token_key = running.manifest.challenge(0), running.manifest.issuers[0].token_key
    session = running.session(running.codes[1])
    requests = [
        node("create_token_request", challenge=challenge.to_bytes(), token_key=token_key)["token_request"]
        for _ in range(2)
    ]
    url = f"{running.url}/token-request"
    node("send_token_request", url=url, session=session, token_request=requests[0])
    for bearer in (session, running.session(running.codes[1])):
        with pytest.raises(ForeignError, match=r"code:409.*already-issued"):
            node("send_token_request", url=url, session=bearer, token_request=requests[1])


def test_their_request_under_another_key_is_refused(node: Node, running: Running) -> None:
    challenge, token_key = running.manifest.challenge(0), running.manifest.issuers[0].token_key
    other = next(
        spki_ for spki_ in map(keys.token_spki, range(keys.NUMBER))
        if spki.token_key_id(spki_)[-1] != spki.token_key_id(token_key)[-1]
    )  # fmt: skip
    asked = node("create_token_request", challenge=challenge.to_bytes(), token_key=other)
    with pytest.raises(ForeignError, match=r"code:400.*malformed"):
        node(
            "send_token_request",
            url=f"{running.url}/token-request",
            session=running.session(running.codes[2]),
            token_request=asked["token_request"],
        )
