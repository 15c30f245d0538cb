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
from headcount_issuer.config import IssuerConfig, SmtpConfig
from headcount_issuer.enrolment import Opened
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_ledger import ledger as ledgers
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.config import LedgerConfig
from headcount_spec import jcs
from headcount_spec.scope import Manifest
from headcount_spec.spki import token_key_id

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

    def code(self) -> str:
        found = re.search(r"\b\d{8}\b", self.mails.get(timeout=5).get_content())
        assert found
        return found[0]


class Router(httpx.BaseTransport):
    """The network: one WSGI application a port. What a verifier would relay goes to the ledger."""

    def __init__(self, ports: Mapping[int, httpx.BaseTransport]) -> None:
        self.ports = ports

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "localhost"
        port = request.url.port
        assert port is not None
        if port == 8000 and request.url.path in ("/pledges", "/revisions"):
            url = request.url.copy_with(path="/ledger/entries")
            request = httpx.Request(request.method, url, headers=request.headers, content=request.read())
        return self.ports[port].handle_request(request)


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

    def start(self, n_issuers: int) -> None:
        self.ledger_config = LedgerConfig(self.folder / "ledger")
        self.ledger_config.directory.mkdir()
        ledgers.create(self.ledger_config, manifests.ORIGIN, manifests.LEDGER_SEED)
        self.ledger = ledgers.Ledger.open(self.ledger_config)
        self.policy = self.ledger.policy().to_bytes()
        ports = {8000: httpx.WSGITransport(ledger_app(self.ledger, self.clock))}
        for i in range(n_issuers):
            self.issuers.append(self._issuer(i))
            ports[8001 + i] = httpx.WSGITransport(issuer_app(self.issuers[i]))
        self.router = Router(ports)
        self.http = HttpTransport(self.router)

    def _issuer(self, i: int) -> Issuer:
        config = IssuerConfig(
            name=f"issuer{i}.example",
            url=f"http://localhost:{8001 + i}",
            directory=self.folder / f"issuer{i}",
            ledger=LEDGER,
            attesters=("email", "in-person"),
            smtp=SmtpConfig("127.0.0.1", 1, "issuer@issuer.example"),
        )
        Issuer.create(config)
        notice_key = Ed25519PrivateKey.from_private_bytes(manifests.ISSUER_SEEDS[i])
        pem = notice_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (config.keys / "notice.pem").write_bytes(pem)
        for key in range(keys.NUMBER):
            path = config.keys / f"{token_key_id(keys.token_spki(key)).hex()}.pem"
            write_private(path, (keys.DATA / f"token-key-{key}.pem").read_bytes())
        issuer = Issuer.open(config, self.clock, lambda entry: self._take(entry))
        issuer._attesters["email"]._outbox = self.outbox  # type: ignore[attr-defined]
        return issuer

    def _take(self, entry: bytes) -> None:
        self.ledger.accept(entry, self.clock.day)

    def close(self) -> None:
        self.http.close()
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
        self.seal()
        if opened:
            for issuer in self.issuers:
                assert isinstance(issuer.enrol(published.manifest.raw), Opened)
            self.seal()
        return published.manifest

    def answers(self, address: str = "ada@example.org") -> Callable[[Question], str]:
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
