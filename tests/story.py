"""A small town: real ledger, verifier, issuers and post office, and a network that writes everything down.

In memory the network calls the WSGI applications; with ``Town(folder, served=True)`` they stand behind
real servers on loopback. Time is the town's own and passes with every request.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

import keys
import manifests
import ports
from headcount import HttpTransport, PledgeFile, PledgeStore, Question, pledge, prove, scope
from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.attesters.email import EmailConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import Opened
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_issuer.mail import SmtpConfig
from headcount_issuer.notices import LedgerIntake
from headcount_ledger import ledger as ledgers
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.config import LedgerConfig
from headcount_ledger.reader.fetch import directory_fetch
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_node.mailbox import Mailbox
from headcount_spec import jcs
from headcount_spec.scope import Manifest
from headcount_spec.spki import token_key_id
from headcount_verifier import Contacts, LedgerClient, Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app
from headcount_verifier.contacts import ReachedWatch
from headcount_verifier.manifests import load_manifests

DAY_S = 86400
PACE_S = 2  # between two requests

# What only a log that it should not be in can have: client software and network addresses.
CANARY_AGENT = "Quagga/71.4 (Extinct; rv:1883)"
CANARY_FORWARDED = "203.0.113.171"
CANARY_ADDRESS = "2001:db8:acab:7ead:beef:f00d:cafe:91d7"
CANARIES = {
    "User-Agent": CANARY_AGENT,
    "X-Forwarded-For": CANARY_FORWARDED,
    "X-Real-IP": CANARY_FORWARDED,
    "Forwarded": f'for="{CANARY_FORWARDED}"',
}

ROLES = ("ledger", "verifier", "issuer")
_OURS = ("headcount", "headcount_ledger", "headcount_verifier", "headcount_issuer", "headcount_engine")
_FOREIGN = ("httpx", "httpcore", "mail.", "asyncio", "werkzeug", "hypothesis")


class Clock:
    """Seconds since 1970; they pass only when somebody asks for something."""

    def __init__(self) -> None:
        self.began = self.now = manifests.OPENS * DAY_S + DAY_S // 4

    def __call__(self) -> int:
        return self.now

    @property
    def day(self) -> int:
        return self.now // DAY_S


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer as they went over the wire."""

    asker: str  # "client", "verifier", "issuer0" …
    person: str | None  # whose client; the test knows it, no header says it
    role: str  # who answers: "ledger", "verifier", "issuer0" …
    at: int  # the town's clock
    method: str
    url: str
    request_headers: tuple[tuple[bytes, bytes], ...]
    request: bytes
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    answer: bytes


class Edge(httpx.BaseTransport):
    """One asker's way into the network."""

    def __init__(self, town: Town, asker: str, person: str | None = None) -> None:
        self._town = town
        self._asker = asker
        self._person = person

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        if self._asker == "client":
            request.headers.update(CANARIES)
        self._town.clock.now += PACE_S
        at = self._town.clock.now
        if self._town.role_of(request.url) in self._town.down:
            raise httpx.ConnectError("connection refused")
        found = self._town.deliver(request)
        answer = found.read()
        self._town.exchanges.append(
            Exchange(
                asker=self._asker,
                person=self._person,
                role=self._town.role_of(request.url),
                at=at,
                method=request.method,
                url=str(request.url),
                request_headers=tuple(request.headers.raw),
                request=body,
                status=found.status_code,
                headers=tuple(found.headers.raw),
                answer=answer,
            )
        )
        return httpx.Response(found.status_code, headers=found.headers, stream=httpx.ByteStream(answer))


class Town:
    """Everything above on a folder: ledger/, verifier/, issuer0/ …, logs/ are what the roles leave behind."""

    def __init__(
        self,
        folder: Path,
        n_issuers: int = 1,
        *,
        served: bool = False,
        email: Mapping[str, Any] | None = None,
        **issuer: Any,
    ) -> None:
        self.folder = folder
        self.clock = Clock()
        self.exchanges: list[Exchange] = []
        self.down: set[str] = set()  # roles that nobody reaches
        self._closing = contextlib.ExitStack()
        self._logs = self._closing.enter_context(_logging(folder / "logs"))
        self._servers = [_Server() for _ in range(1 + n_issuers)] if served else []
        self._ports = [server.port for server in self._servers] or list(range(8000, 8001 + n_issuers))
        self.origin = f"http://localhost:{self._ports[0]}"
        self.ledger_url = f"{self.origin}/ledger"
        self.issuer_urls = [f"http://localhost:{port}" for port in self._ports[1:]]
        (self._smtp,) = ports.free_ports(0)
        self.mailbox = Mailbox(self._smtp)
        self.mailbox.start()
        smtp = SmtpConfig("127.0.0.1", self._smtp)
        self._email = EmailConfig("issuer@issuer.example", smtp, **(email or {}))
        self._closing.callback(self.mailbox.stop)
        self._start(issuer)
        self._network = self._connect()
        self._closing.callback(self._network.close)

    def __enter__(self) -> Town:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    # The roles

    def _start(self, issuer: Mapping[str, Any]) -> None:
        config = LedgerConfig(self.folder / "ledger")
        config.directory.mkdir(parents=True)
        ledgers.create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
        self.ledger = self._closing.enter_context(ledgers.Ledger.open(config))
        self.policy = self.ledger.policy().to_bytes()
        self.issuers = [
            self._closing.enter_context(self._issuer(i, issuer)) for i in range(len(self.issuer_urls))
        ]
        scopes = self.folder / "verifier" / "scopes"
        scopes.mkdir(parents=True)
        self.verifier_config = VerifierConfig(self.ledger_url, scopes)
        client = self._closing.enter_context(LedgerClient(self.ledger_url, transport=Edge(self, "verifier")))
        self.redeemer = Redeemer(load_manifests(self.verifier_config), client, lambda: self.clock.day)

    def _issuer(self, i: int, changes: Mapping[str, Any]) -> Issuer:
        settings: dict[str, Any] = {
            "name": f"issuer{i}.example",
            "url": self.issuer_urls[i],
            "directory": self.folder / f"issuer{i}",
            "ledger": self.ledger_url,
            "attesters": {"email": self._email},
        }
        config = IssuerConfig(**{**settings, **changes})
        Issuer.create(config)
        notice_key = Ed25519PrivateKey.from_private_bytes(manifests.ISSUER_SEEDS[i])
        pem = notice_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (config.keys / "notice.pem").write_bytes(pem)
        for key in range(keys.NUMBER):
            path = config.keys / f"{token_key_id(keys.token_spki(key)).hex()}.pem"
            write_private(path, (keys.DATA / f"token-key-{key}.pem").read_bytes())
        send = LedgerIntake(self.ledger_url, Edge(self, f"issuer{i}"))
        return Issuer.open(config, self.clock, send)

    # The network

    def _connect(self) -> httpx.BaseTransport:
        watch = ReachedWatch(self._look)
        folder = self.folder / "verifier" / "contacts"
        self.contacts = Contacts(load_manifests(self.verifier_config), folder, watch, lambda: self.clock.day)
        self._closing.callback(self.contacts.close)
        verifier = verifier_app(self.verifier_config, self.redeemer, self.contacts)
        # As the node serves them: two apps on one origin.
        public = DispatcherMiddleware(verifier, {"/ledger": ledger_app(self.ledger, self.clock, prefix="")})
        apps = [public, *(issuer_app(issuer) for issuer in self.issuers)]
        if not self._servers:
            return _Switch(
                {
                    port: httpx.WSGITransport(app, remote_addr=CANARY_ADDRESS)
                    for port, app in zip(self._ports, apps, strict=True)
                }
            )
        for server, app in zip(self._servers, apps, strict=True):
            server.start(app)
            self._closing.callback(server.stop)
        return httpx.HTTPTransport(limits=httpx.Limits(max_connections=None))

    def _look(self, manifest: Manifest) -> LedgerView:
        return open_ledger(directory_fetch(self.ledger.config.public), self.ledger.policy())

    def deliver(self, request: httpx.Request) -> httpx.Response:
        return self._network.handle_request(request)

    def role_of(self, url: httpx.URL) -> str:
        origin = f"http://localhost:{url.port}"
        if origin == self.origin:
            return "ledger" if url.path.startswith("/ledger/") else "verifier"
        return f"issuer{self.issuer_urls.index(origin)}"

    def http(self, person: str | None = None) -> HttpTransport:
        """The client's transport of a person."""
        return self._closing.enter_context(HttpTransport(Edge(self, "client", person)))

    # What happens in it

    def draft(self, **changes: Any) -> dict[str, Any]:
        issuers = [manifests.issuer(i) | {"url": url} for i, url in enumerate(self.issuer_urls)]
        return manifests.draft(**{"issuers": issuers, "origins": [self.origin], **changes})

    def publish(self, **changes: Any) -> Manifest:
        """A scope that is open: terms and openings sealed, known to the verifier."""
        value = self.draft(**changes)
        folder = self.folder / "organiser" / str(len(list(self.verifier_config.folder.iterdir())))
        (folder / "texts").mkdir(parents=True)
        (folder / "manifest.json").write_bytes(jcs.canonicalise(value))
        for language, text in manifests.TEXTS.items():
            (folder / "texts" / f"{language}.txt").write_bytes(text.encode())
        found = scope.publish(
            folder, manifests.ORGANISER_SEEDS[:1], self.ledger_url, transport=self.http(), day=self.clock.day
        ).manifest
        self.seal()
        for i, issuer in enumerate(self.issuers):
            # A tag key of the test's, so that a run leaves the same bytes as the last.
            write_private(issuer.config.keys / f"{found.scope_id.hex()}.tag", keys.seed(f"tags {i}"))
            assert isinstance(issuer.enrol(found.raw), Opened)
        self.seal()
        assert self.verifier_config.folder is not None
        (self.verifier_config.folder / f"{found.scope_id.hex()}.json").write_bytes(found.raw)
        return found

    def seal(self) -> None:
        self.ledger.seal(self.clock.day)

    def code(self, address: str) -> str:
        """The code in the oldest unread mail."""
        found = re.search(r"\b\d{8}\b", self.mailbox.take(address))
        assert found
        return found[0]

    def answers(self, address: str) -> Callable[[Question], str]:
        return lambda question: address if question.kind == "address" else self.code(address)

    def prove(self, manifest: Manifest, place: Path | PledgeStore, name: str, **changes: Any) -> PledgeFile:
        """A person of this name proves herself; all that she draws at random follows from the name."""
        settings: dict[str, Any] = {
            "policy": self.policy,
            "transport": self.http(name),
            "ask": self.answers(address_of(name)),
            "day": self.clock.day,
            "draw": lambda size: keys.seed(f"person {name}")[:size],
        }
        return prove.prove(place, self.ledger_url, manifest.scope_id, **{**settings, **changes})

    def pledge(self, manifest: Manifest, name: str, **changes: Any) -> PledgeFile:
        """A person proves herself and pledges."""
        people = self.folder / "people"
        people.mkdir(exist_ok=True)
        # Plain writes: hundreds of clients on one disk need not survive its power cut.
        store = PledgeStore(people / f"{name}.pledge", create=Path.write_bytes, write=Path.write_bytes)
        transport = self.http(name)
        self.prove(manifest, store, name, **{"transport": transport, **changes})
        return pledge.submit(store, transport=transport)

    def issued(self, i: int = 0) -> int:
        """How many tokens an issuer has signed."""
        connection = sqlite3.connect(self.issuers[i].config.database)
        try:
            return int(connection.execute("SELECT coalesce(sum(issued), 0) FROM scopes").fetchone()[0])
        finally:
            connection.close()

    def left_behind(self, role: str = "") -> dict[str, bytes]:
        """Every file of the roles (of those whose name begins so), by its path in the folder."""
        self._logs()
        roots = [path for path in sorted(self.folder.iterdir()) if path.name.startswith((*ROLES, "logs"))]
        files = (path for root in roots for path in sorted(root.rglob("*")) if path.is_file())
        found = {str(path.relative_to(self.folder)): path.read_bytes() for path in files}
        return {name: data for name, data in found.items() if name.startswith((role, f"logs/{role}"))}


def address_of(name: str) -> str:
    return f"{name}.quillfeather@example.org"


class _Switch(httpx.BaseTransport):
    """Delivers by port, in memory."""

    def __init__(self, ports: Mapping[int, httpx.BaseTransport]) -> None:
        self._ports = ports

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert request.url.host == "localhost"
        assert request.url.port is not None
        return self._ports[request.url.port].handle_request(request)


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass  # addresses and times


class _Server:
    """A server on loopback; its port is known before its application."""

    def __init__(self) -> None:
        self._server: BaseWSGIServer = make_server(
            "localhost", 0, lambda _environ, _start: [], threaded=True, request_handler=_Silent
        )
        self._server.socket.listen(512)  # a storm of connections
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self, app: Any) -> None:
        self._server.app = app
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def _logging(folder: Path) -> Iterator[Callable[[], None]]:
    """Every role's log in a file, with more detail than the node writes: our own debug lines too."""
    folder.mkdir(parents=True)
    handlers = [_RoleLog(folder, role) for role in ROLES]
    root = logging.getLogger()
    levels = {logging.getLogger(name): logging.DEBUG for name in _OURS} | {root: logging.INFO}
    before = {logger: logger.level for logger in levels}
    for logger, level in levels.items():
        logger.setLevel(level)
    for handler in handlers:
        root.addHandler(handler)

    def flush() -> None:
        for handler in handlers:
            handler.flush()

    try:
        yield flush
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _RoleLog(logging.FileHandler):
    """A line of a role goes to its own log; of a library that several use, to all."""

    def __init__(self, folder: Path, role: str) -> None:
        super().__init__(folder / f"{role}.log", encoding="utf-8")
        self._role = role
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))  # the node's

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.startswith("headcount")
        if record.name.startswith(_FOREIGN) or (ours and self._role not in record.name):
            return
        super().emit(record)
