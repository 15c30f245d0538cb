"""The demonstration: a whole campaign on this machine, with real processes, real mail and real HTTP.

Everything goes through what a user has: the commands, the servers and the client library.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headcount import (
    HttpTransport,
    LedgerView,
    Question,
    find_scope,
    open_ledger,
    organiser,
    pledge,
    prove,
    receipt,
)
from headcount_ledger.place import read_key
from headcount_ledger.reader.fetch import directory_fetch
from headcount_node import campaign
from headcount_node.config import Listen
from headcount_node.mailbox import Mailbox
from headcount_node.serve import Processes
from headcount_spec import signature
from headcount_spec.errors import ConfigurationError, ProtocolError, UnavailableError
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest
from headcount_spec.seal import Seal
from headcount_spec.text import day_of, encode_base64

THREADS = 8  # signers at once
TICK_S = 3  # between two batches; a real ledger takes an hour or a day
WAVE = 100  # signers who pledge within one tick
DOMAIN_SIGNERS = 100  # per mail domain, below the issuer's quota
_CODE = re.compile(r"\b[0-9]{8}\b")

Show = Callable[[str], None]
Track = Callable[[Iterable[None], str, int], Iterable[None]]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo listens, on loopback only."""

    public: int = 8000
    personhood: int = 8001
    witnesses: tuple[int, ...] = (8002, 8003)
    smtp: int = 8025

    @property
    def all(self) -> tuple[int, ...]:
        """Every one of them."""
        return (self.public, self.personhood, *self.witnesses, self.smtp)


class Demo:
    """One demonstration in one folder."""

    def __init__(self, folder: Path, signers: int, ports: Ports, show: Show) -> None:
        self.folder = folder
        self.signers = signers
        self.ports = ports
        self.show = show
        self.transport = HttpTransport()
        self.mailbox = Mailbox(ports.smtp)
        self.origin = f"localhost:{ports.public}/ledger"
        self.verifier_url = f"http://localhost:{ports.public}"
        self.issuer_name = f"localhost:{ports.personhood}"
        self.ledger_url = f"{self.verifier_url}/ledger"
        self.config = folder / "headcount.toml"
        self.manifest: Manifest  # once it is published

    @property
    def public(self) -> Path:
        """The static ledger."""
        return self.folder / "public"

    @property
    def log(self) -> Path:
        """What the servers say."""
        return self.folder / "node.log"

    @property
    def policy(self) -> Path:
        """The trust policy."""
        return self.folder / "policy"

    @property
    def witnesses(self) -> Path:
        """The witnesses and their quorum, a policy without the ledger."""
        return self.folder / "witnesses"

    @property
    def min_batch(self) -> int:
        """Ten, or half of the signers where they are few."""
        return max(1, min(10, self.signers // 2))

    @property
    def threshold(self) -> int:
        """Reached by the signers of the demo, with one in five to spare."""
        return max(1, self.signers * 4 // 5)

    @property
    def witness_urls(self) -> list[str]:
        """Where the witnesses answer."""
        return [f"http://localhost:{port}" for port in self.ports.witnesses]

    def witness_folder(self, number: int) -> Path:
        """Where witness number, from 1, keeps its key, its memory and its evidence."""
        return self.folder / f"witness{number}"

    def ledger_key(self) -> SigningKey:
        """What the operator holds."""
        return read_key(self.folder / "key")

    def pledge_file(self, number: int) -> Path:
        """Where signer number keeps the pledge."""
        return self.folder / "signers" / f"{number:04}.pledge"

    def address(self, number: int) -> str:
        """The mail address of signer number."""
        return f"signer{number}@mail{number // DOMAIN_SIGNERS}.example"

    # The steps, in order.

    def prepare(self) -> None:
        """Create ledger, issuer and campaign in the empty folder.

        Raises:
            ConfigurationError: the folder is not empty, or somebody listens on one of the ports.
        """
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigurationError(f"{self.folder} is not empty")
        for port in self.ports.all:
            if not Listen("127.0.0.1", port).is_free():
                raise ConfigurationError(f"port {port} is in use; choose others with --port")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "signers").mkdir(mode=0o700)
        (self.folder / "scopes").mkdir()
        self.config.write_text(self._config(), "utf-8")
        self.command("ledger", "create", self.folder, "--origin", self.origin)
        self._create_witnesses()
        self.policy.write_text(self.command("ledger", "policy", self.folder, "--url", self.ledger_url))
        self.command("organiser", "init", self.folder / "organiser.key")
        self._write_draft()
        self.command("issuer", "init", self.folder)
        self.command("issuer", "--config", self.config, "enrol", self.folder / "campaign" / "manifest.json")

    @contextmanager
    def running(self) -> Iterator[Processes]:
        """The node's servers, the witnesses and the mail server."""
        self.mailbox.start()
        processes = Processes(self.config, self.log, self.witness_commands())
        try:
            self._wait_for(f"{self.ledger_url}/checkpoint", processes)
            self._wait_for(f"http://{self.issuer_name}/.well-known/private-token-issuer-directory", processes)
            for url in self.witness_urls:
                self._wait_for(f"{url}/", processes, 404)  # it has nothing there, and says so
            yield processes
        finally:
            processes.stop()
            self.mailbox.stop()

    def witness_commands(self) -> list[list[str]]:
        """The arguments with which each witness serves: a program and a process of its own, as elsewhere."""
        return [
            ["witness", "serve", str(self.witness_folder(number)), "--listen", f"127.0.0.1:{port}"]
            for number, port in enumerate(self.ports.witnesses, 1)
        ]

    def publish(self) -> None:
        """Publish the terms, let the issuer open the scope, and wait until both stand in the ledger."""
        self.command(
            "scope",
            "publish",
            self.folder / "campaign",
            "--key",
            self.folder / "organiser.key",
            "--ledger",
            self.ledger_url,
        )
        scope = self.folder / "campaign" / "scope.json"
        self.manifest = Manifest.from_bytes(scope.read_bytes())
        shutil.copy(scope, self.folder / "scopes" / f"{self.manifest.scope_id.hex()}.json")
        self.command("issuer", "--config", self.config, "enrol", scope)
        self._wait_until(self._is_open, "the terms stand in the ledger")

    def prove_all(self, track: Track) -> None:
        """Every signer proves to be a person, by a typed code from a real mail."""
        self._together(self._prove, range(self.signers), track, "proving to be a person, by mail and code")

    def pledge_all(self, track: Track) -> None:
        """Everybody pledges, in waves that each fall between two ticks; then each has a receipt."""
        for start in self._waves():
            self.sleep_to_tick()
            numbers = range(start, self._wave_end(start))
            self._together(self._pledge, numbers, track, "pledging")
        self._wait_until(self._all_sealed, "all pledges are in sealed batches")
        self._together(self._receipt, range(self.signers), track, "checking the own receipt")

    def publish_issuance(self) -> None:
        """The issuer says in the ledger how many tokens it has issued."""
        size = self.view().size
        self.command("issuer", "--config", self.config, "issuance")
        self._wait_until(lambda: self.view().size > size, "the issuer's count stands in the ledger")

    def audit(self, public: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
        """Recount a folder with the command that anybody has."""
        return self._run("audit", public, "--policy", self.policy, *options)

    # What they need.

    def command(self, *arguments: str | Path) -> str:
        """Run a headcount command, show it, and return what it prints.

        Raises:
            ProtocolError: it failed.
        """
        self.show("$ headcount " + " ".join(str(argument) for argument in arguments))
        done = self._run(*arguments)
        if done.returncode:
            raise UnavailableError(f"a command failed: {done.stderr.strip()}")
        return done.stdout

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headcount", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    def _config(self) -> str:
        return f"""\
[node]
public = "127.0.0.1:{self.ports.public}"
personhood = "127.0.0.1:{self.ports.personhood}"

[ledger]
directory = "."
tick_s = {TICK_S}
witnesses = "witnesses"

[verifier]
ledger = "{self.ledger_url}"
scopes = "scopes"

[issuer]
name = "{self.issuer_name}"
url = "http://{self.issuer_name}"
directory = "issuer"
ledger = "{self.ledger_url}"

[issuer.attesters.email]
sender = "codes@headcount.example"

[issuer.attesters.email.smtp]
host = "127.0.0.1"
port = {self.ports.smtp}
"""

    def _create_witnesses(self) -> None:
        """Two witnesses of this ledger, and the policy that asks for both."""
        log_key = self.ledger_key().verification_key.to_text()
        lines, names = [], []
        for number, url in enumerate(self.witness_urls, 1):
            name, folder = f"witness{number}", self.witness_folder(number)
            host = url.removeprefix("http://")
            key = self.command("witness", "create", folder, "--name", host, "--log", log_key).strip()
            lines.append(f"witness {name} {key} {url}\n")
            names.append(name)
        lines.append(f"group witnesses {len(names)} {' '.join(names)}\nquorum witnesses\n")
        self.witnesses.write_text("".join(lines))

    def _write_draft(self) -> None:
        terms = campaign.draft(
            threshold=self.threshold, min_batch=self.min_batch, today=day_of(int(time.time()))
        )
        public_key = signature.public_key(organiser.read_key(self.folder / "organiser.key"))
        draft: dict[str, Any] = {
            "headcount": 1,
            **terms,
            "issuers": [{"name": self.issuer_name, "url": f"http://{self.issuer_name}"}],
            "organisers": {"keys": [encode_base64(public_key)], "quorum": 1},
            "ledger": {"origin": self.origin, "key": self.ledger_key().verification_key.to_text()},
            "witnesses": self.witnesses.read_text(),
            "origins": [self.verifier_url],
        }
        folder = self.folder / "campaign"
        (folder / "texts").mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(draft, ensure_ascii=False, indent=2) + "\n", "utf-8")
        for language, text in campaign.texts().items():
            (folder / "texts" / f"{language}.txt").write_text(text, "utf-8")

    def _prove(self, number: int) -> None:
        self.prove(number, self.pledge_file(number))

    def prove(self, number: int, file: Path) -> None:
        """Signer number proves to be a person, and keeps the pledge in the file."""
        address = self.address(number)

        def answer(question: Question) -> str:
            if question.kind == "address":
                return address
            found = _CODE.search(self.mailbox.take(address))
            if found is None:
                raise UnavailableError("the mail has no code")
            return found[0]

        prove.prove(
            file,
            self.ledger_url,
            self.manifest.scope_id,
            policy=self.policy.read_bytes(),
            transport=self.transport,
            ask=answer,
            day=day_of(int(time.time())),
            choice=campaign.MOVE_AND_HELP if number % 3 == 2 else campaign.MOVE,
        )

    def _pledge(self, number: int) -> None:
        pledge.submit(self.pledge_file(number), transport=self.transport)

    def _receipt(self, number: int) -> None:
        (found,) = receipt.fetch(self.pledge_file(number), transport=self.transport)
        if found.proof is None:
            raise UnavailableError("a pledge is promised and not in the ledger yet")

    def _together(self, work: Callable[[int], None], numbers: Sequence[int], track: Track, what: str) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            done = pool.map(work, numbers)
            for _ in track(done, what, len(numbers)):
                pass

    def _waves(self) -> range:
        return range(0, self.signers, WAVE)

    def _wave_end(self, start: int) -> int:
        return min(start + WAVE, self.signers)

    def sleep_to_tick(self) -> None:
        """Until a batch was just sealed: who pledges now has the whole tick to be joined by others."""
        time.sleep(TICK_S - time.time() % TICK_S + 0.1)

    def view(self) -> LedgerView:
        """The ledger as its files show it now."""
        return open_ledger(directory_fetch(self.public), Policy.from_bytes(self.policy.read_bytes()))

    def _is_open(self) -> bool:
        try:
            find_scope(self.view(), self.manifest.scope_id)
        except ProtocolError:
            return False
        return True

    def _all_sealed(self) -> bool:
        view = self.view()
        return Seal.from_bytes(view.entry(view.size - 1)).pledges_total >= self.signers

    def _wait_for(self, url: str, processes: Processes, status: int = 200) -> None:
        def answers() -> bool:
            if processes.ended():
                raise UnavailableError(f"a server ended; see {self.log}")
            try:
                return self.transport("GET", url, max_bytes=2**20).status == status
            except UnavailableError:
                return False

        self._wait_until(answers, url)

    def _wait_until(self, true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline:
                raise UnavailableError(f"still not after {timeout_s:.0f} s: {what}")
            time.sleep(0.1)
