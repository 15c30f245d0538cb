from __future__ import annotations

import queue
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask

import keys
import manifests
from headcount import (
    Answer,
    HttpTransport,
    PledgeFile,
    PledgeStore,
    Question,
    Transport,
    pledge,
    prove,
    scope,
)
from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.attesters.email import EmailConfig
from headcount_issuer.attesters.in_person import InPersonConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import Opened
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_issuer.mail import SmtpConfig
from headcount_ledger import ledger as ledgers
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.config import LedgerConfig
from headcount_spec import jcs
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.spki import token_key_id
from headcount_verifier import LedgerClient, Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app

DAY_S = 86400
LEDGER = "http://localhost:8000/ledger"
VERIFIER = "http://localhost:8000"


class Clock:
    def __init__(self) -> None:
        self.now = manifests.OPENS * DAY_S + DAY_S // 2

    def __call__(self) -> int:
        return self.now

    @property
    def day(self) -> int:
        return self.now // DAY_S


class Outbox:
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


class Router(httpx.BaseTransport):
    """The network: an application behind each address, the longest prefix first."""

    def __init__(self) -> None:
        self.applications: dict[str, httpx.BaseTransport] = {}

    def serve(self, prefix: str, application: Flask) -> None:
        self.applications[prefix] = httpx.WSGITransport(application)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        for prefix in sorted(self.applications, key=len, reverse=True):
            if url.startswith(prefix):
                return self.applications[prefix].handle_request(request)
        raise httpx.ConnectError(f"nobody is at {url}")


class Recorder:
    """A transport that keeps what it sent, may fail at the n-th request, and may bend answers."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.sent: list[tuple[str, str, bytes]] = []
        self.fail_before: int | None = None
        self.fail_after: int | None = None
        self.bend: Callable[[str, Answer], Answer] | None = None

    def __call__(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 65_536,
    ) -> Answer:
        number = len(self.sent)
        if self.fail_before == number:
            raise Crash
        self.sent.append((method, url, body))
        answer = self.inner(method, url, body=body, headers=headers, max_bytes=max_bytes)
        if self.fail_after == number:
            raise Crash
        return answer if self.bend is None else self.bend(url, answer)


class Crash(BaseException):
    """The power goes out."""


@dataclass
class World:
    """A ledger, issuers and the network between them, on a folder, with a clock of their own."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    outbox: Outbox = field(default_factory=Outbox)
    issuers: list[Issuer] = field(default_factory=list)
    people: int = 0
    open_scope: Manifest | None = None
    scopes: dict[ScopeId, Manifest] = field(default_factory=dict)  # that the verifier accepts

    def start(self, n_issuers: int) -> None:
        self.ledger_config = LedgerConfig(self.folder / "ledger")
        self.ledger_config.directory.mkdir()
        ledgers.create(self.ledger_config, manifests.ORIGIN, manifests.LEDGER_SEED)
        self.ledger = ledgers.Ledger.open(self.ledger_config)
        self.policy = self.ledger.policy().to_bytes()
        self.router = Router()
        self.router.serve(LEDGER, ledger_app(self.ledger, self.clock))
        for i in range(n_issuers):
            self.issuers.append(self._issuer(i))
            self.router.serve(f"http://localhost:{8001 + i}", issuer_app(self.issuers[i]))
        self.to_ledger = LedgerClient(LEDGER, transport=self.router)
        redeemer = Redeemer(self.scopes, self.to_ledger, lambda: self.clock.day)
        self.router.serve(VERIFIER, verifier_app(VerifierConfig(LEDGER), redeemer))
        self.http = HttpTransport(self.router)

    def _issuer(self, i: int) -> Issuer:
        config = IssuerConfig(
            name=f"issuer{i}.example",
            url=f"http://localhost:{8001 + i}",
            directory=self.folder / f"issuer{i}",
            ledger=LEDGER,
            attesters={
                "email": EmailConfig("issuer@issuer.example", SmtpConfig("127.0.0.1", 1), work=100),
                "in-person": InPersonConfig(),
            },
        )
        Issuer.create(config)
        notice_key = Ed25519PrivateKey.from_private_bytes(manifests.ISSUER_SEEDS[i])
        pem = notice_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (config.keys / "notice.pem").write_bytes(pem)
        for key in range(keys.NUMBER):
            path = config.keys / f"{token_key_id(keys.token_spki(key)).hex()}.pem"
            write_private(path, (keys.DATA / f"token-key-{key}.pem").read_bytes())
        issuer = Issuer.open(config, self.clock, lambda entry: self._take(entry))
        issuer._attesters["email"].outbox = self.outbox  # type: ignore[attr-defined]
        return issuer

    def _take(self, entry: bytes) -> None:
        self.ledger.accept(entry, self.clock.day)

    def close(self) -> None:
        self.http.close()
        self.to_ledger.close()
        for issuer in self.issuers:
            issuer.close()
        self.ledger.close()

    def issued(self, i: int = 0) -> int:
        """How many tokens an issuer has signed in all its scopes."""
        with sqlite3.connect(self.issuers[i].config.database) as connection:
            number: int = connection.execute("SELECT coalesce(sum(issued), 0) FROM scopes").fetchone()[0]
        connection.close()
        return number

    def seal(self) -> None:
        self.ledger.seal(self.clock.day)

    def draft(self, name: str = "draft", **changes: Any) -> Path:
        folder = self.folder / name
        (folder / "texts").mkdir(parents=True)
        value = manifests.draft(len(self.issuers), **changes)
        (folder / "manifest.json").write_bytes(jcs.canonicalise(value))
        for language, text in manifests.TEXTS.items():
            (folder / "texts" / f"{language}.txt").write_bytes(text.encode())
        return folder

    def publish(self, name: str = "draft", *, opened: bool = True, **changes: Any) -> Manifest:
        """A scope whose terms and openings are sealed."""
        folder = self.draft(name, **changes)
        published = scope.publish(
            folder, manifests.ORGANISER_SEEDS[:1], LEDGER, transport=self.http, day=self.clock.day
        )
        self.scopes[published.manifest.scope_id] = published.manifest
        self.seal()
        if opened:
            for issuer in self.issuers:
                assert isinstance(issuer.enrol(published.manifest.raw), Opened)
            self.seal()
        return published.manifest

    def shared(self) -> Manifest:
        """One open scope for the tests that leave it as it was."""
        if self.open_scope is None:
            self.open_scope = self.publish("shared")
        return self.open_scope

    def answers(self, address: str | None = None) -> Callable[[Question], str]:
        """The answers of a person, another one each time unless the address is given."""
        self.people += 1
        address = address or f"person.{self.people}@example{self.people % 9}.org"
        while not self.outbox.mails.empty():
            self.outbox.mails.get()

        def ask(question: Question) -> str:
            return address if question.kind == "address" else self.outbox.code()

        return ask

    def prove(self, manifest: Manifest, place: Path | PledgeStore, **changes: Any) -> PledgeFile:
        arguments: dict[str, Any] = {
            "policy": self.policy,
            "transport": self.http,
            "ask": self.answers(),
            "day": self.clock.day,
        }
        return prove.prove(place, LEDGER, manifest.scope_id, **{**arguments, **changes})

    def pledge(self, manifest: Manifest, number: int) -> Path:
        """Somebody's pledge, sent."""
        path = self.folder / f"{number}.pledge"
        self.prove(manifest, path, ask=self.answers(f"person{number}@example.org"))
        pledge.submit(path, transport=self.http)
        return path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.start(1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("shared"))
    made.start(1)
    made.shared()
    yield made
    made.close()


@pytest.fixture
def two_issuers(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.start(2)
    yield made
    made.close()


@pytest.fixture
def recorder() -> Callable[[Transport], Recorder]:
    return Recorder


@pytest.fixture
def crash() -> type[BaseException]:
    return Crash
