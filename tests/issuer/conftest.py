from __future__ import annotations

import json
import queue
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import chromium
import keys
import manifests
from headcount_issuer.app import create_app
from headcount_issuer.attesters.email import EmailConfig
from headcount_issuer.attesters.in_person import InPersonConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import Opened
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_issuer.mail import SmtpConfig
from headcount_spec import blind_rsa
from headcount_spec.entry import parse_entry
from headcount_spec.level import Level
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice, verify_notice
from headcount_spec.scope import Manifest
from headcount_spec.seed import blinding
from headcount_spec.spki import token_key_id
from headcount_spec.token import TokenRequest

DAY_S = 86400
MIDDAY = manifests.OPENS * DAY_S + DAY_S // 2
ORIGIN = "http://localhost:8000"
TOKEN_TYPE = "application/private-token-request"


class Clock:
    def __init__(self, now: int = MIDDAY) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Ledger:
    """The intake of a ledger: takes each author's notices in order, the same again alike."""

    def __init__(self) -> None:
        self.manifests: dict[bytes, Manifest] = {}
        self.taken: dict[bytes, list[Notice]] = {}
        self.fault: Callable[[bytes], None] | None = None

    def __call__(self, entry: bytes) -> None:
        if self.fault is not None:
            self.fault(entry)
        notice = parse_entry(entry)
        assert isinstance(notice, Notice)
        chain = self.taken.setdefault(notice.statement.scope, [])
        if notice in chain:
            return
        previous = (chain[-1].statement.seq, leaf_hash(chain[-1].to_bytes())) if chain else None
        verify_notice(notice, self.manifests[notice.statement.scope], previous)
        chain.append(notice)

    def bodies(self, scope: bytes, type: str) -> list[dict[str, Any]]:
        return [n.statement.body for n in self.taken.get(scope, []) if n.statement.type == type]


class Outbox:
    """Stands where the mail queue stands."""

    def __init__(self) -> None:
        self.mails: queue.Queue[EmailMessage] = queue.Queue()

    def check_room(self) -> None:
        pass

    def send(self, message: EmailMessage) -> None:
        self.mails.put(message)

    def close(self) -> None:
        pass

    def code(self) -> str:
        found = re.search(r"\b\d{8}\b", self.mails.get(timeout=5).get_content())
        assert found
        return found[0]


@dataclass
class World:
    """An issuer over a folder, with its HTTP client, a ledger's intake, a clock and a mail box."""

    config: IssuerConfig
    clock: Clock
    ledger: Ledger
    outbox: Outbox
    issuer: Issuer = field(init=False)
    http: FlaskClient = field(init=False)

    def start(self) -> None:
        self.issuer = Issuer.open(self.config, self.clock, self.ledger)
        for attester in self.issuer._attesters.values():
            if attester.name == "email":
                attester.outbox = self.outbox  # type: ignore[attr-defined]
        self.http = create_app(self.issuer).test_client()

    def restart(self) -> None:
        self.issuer.close()
        self.start()

    def open(self, i: int = 0, **changes: Any) -> Manifest:
        """A new scope with the i-th test key."""
        scope = self.manifest(i, **changes)
        self.ledger.manifests[scope.scope_id] = scope
        path = self.config.keys / f"{token_key_id(keys.token_spki(i)).hex()}.pem"
        if not path.exists():
            write_private(path, (keys.DATA / f"token-key-{i}.pem").read_bytes())
        answer = self.issuer.enrol(scope.raw)
        assert isinstance(answer, Opened)
        assert answer.scope == scope.scope_id
        return scope

    def manifest(self, i: int = 0, **changes: Any) -> Manifest:
        entry = manifests.issuer(0, token_key=i)
        attesters = list(Level.from_text(changes.get("level", "email")).parts)
        entry |= {"name": self.config.name, "url": self.config.url, "attesters": attesters}
        if "slips" in changes:
            entry["slips"] = changes.pop("slips")
        entry |= changes.pop("terms", {})
        return manifests.manifest(
            **{"title": manifests.both(f"Title {i}", f"Titre {i}")} | changes | {"issuers": [entry]}
        )

    def post(self, path: str, body: object, bearer: str | None = None, **headers: str) -> TestResponse:
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        return self.http.post(path, json=body, headers=headers)

    def begin(self, scope: Manifest, address: str, **headers: str) -> TestResponse:
        return self.post(
            "/sessions",
            {"scope": scope.scope_id.hex(), "attester": "email", "evidence": {"address": address}},
            **headers,
        )

    def prove(self, scope: Manifest, address: str) -> str:
        """The bearer of a proved session."""
        answer = self.begin(scope, address)
        assert answer.status_code == 201, answer.get_data()
        bearer = str(answer.get_json()["session"])
        proved = self.post("/sessions/evidence", {"code": self.outbox.code()}, bearer)
        assert proved.get_json() == {"state": "proved"}
        return bearer

    def sign(
        self, bearer: str, request: bytes, content_type: str = TOKEN_TYPE, **headers: str
    ) -> TestResponse:
        headers["Authorization"] = f"Bearer {bearer}"
        return self.http.post("/token-request", data=request, content_type=content_type, headers=headers)


@dataclass
class Person:
    """Somebody's blinded message for a scope, and what unblinds the answer."""

    scope: Manifest
    seed: bytes
    token_input: bytes
    blinded_msg: bytes
    inv: int

    @classmethod
    def of(cls, scope: Manifest, name: str, choice: int = 0, key: int = 0) -> Person:
        public = keys.token_key(key).public
        seed = keys.seed(name)
        nonce = keys.seed(f"{name} nonce {choice}")
        token_input = scope.token_inputs(nonce)[0]
        salt, r = blinding(seed, nonce, scope.issuers[0].token_key_id, public.n)
        blinded_msg, inv = blind_rsa.blind(public, token_input, salt, r)
        return cls(scope, seed, token_input, blinded_msg, inv)

    @property
    def request(self) -> bytes:
        return TokenRequest(self.scope.issuers[0].token_key_id[-1], self.blinded_msg).to_bytes()

    def finalize(self, blind_sig: bytes, key: int = 0) -> bytes:
        return blind_rsa.finalize(keys.token_key(key).public, self.token_input, blind_sig, self.inv)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium.require()
    with chromium.browser() as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path) -> IssuerConfig:
    return IssuerConfig(
        name="issuer.example",
        url="http://localhost:8001",
        directory=tmp_path / "issuer",
        ledger="http://localhost:8000/ledger",
        attesters={
            "email": EmailConfig("issuer@issuer.example", SmtpConfig("127.0.0.1", 1), work=0),
            "in-person": InPersonConfig(),
        },
    )


@pytest.fixture
def world(config: IssuerConfig) -> Iterator[World]:
    Issuer.create(config)
    notice_key = Ed25519PrivateKey.from_private_bytes(manifests.ISSUER_SEEDS[0])
    pem = notice_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (config.keys / "notice.pem").write_bytes(pem)
    made = World(config, Clock(), Ledger(), Outbox())
    made.start()
    yield made
    made.issuer.close()


@pytest.fixture
def person() -> Callable[..., Person]:
    return Person.of


def problem(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json", answer.get_data()
    return answer.status_code, json.loads(answer.get_data())["code"]


@pytest.fixture
def problem_of() -> Callable[[TestResponse], tuple[int, str]]:
    return problem
