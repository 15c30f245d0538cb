"""The demonstration: a whole campaign on this machine, with real processes, real mail and real HTTP.

Everything goes through what a user has: the commands, the servers and the client library.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shlex
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
    cli,
    find_scope,
    open_ledger,
    organiser,
    pledge,
    prove,
    receipt,
)
from headcount.scope_view import ScopeView
from headcount_ledger.place import read_key
from headcount_ledger.reader.fetch import directory_fetch
from headcount_ledger.reader.reached import totals_at
from headcount_node import campaign
from headcount_node.config import Listen
from headcount_node.mailbox import Mailbox
from headcount_node.serve import Processes
from headcount_spec import signature
from headcount_spec.errors import ConfigurationError, ProtocolError, UnavailableError
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.text import day_of, encode_base64

THREADS = 8  # signers at once
TICK_S = 3  # between two batches; a real ledger takes an hour or a day
LATE_S = 0.4  # so much later than its tick a busy machine may begin a batch
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
    failing: tuple[int, int] = (8004, 8005)  # ledger and issuer of the campaign that fails

    @property
    def all(self) -> tuple[int, ...]:
        """Every one of them."""
        return (self.public, self.personhood, *self.witnesses, *self.failing, self.smtp)


@dataclass(frozen=True, slots=True)
class Done:
    """What a command has said."""

    code: int
    output: str
    errors: str

    def check(self) -> str:
        """The output of a command that must have worked.

        Raises:
            UnavailableError: it did not.
        """
        if self.code:
            raise UnavailableError(f"a command failed: {self.errors.strip()}")
        return self.output


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
        """Ten, or fewer where those who come last are fewer."""
        return min(10, self.signers - self.threshold + 1)

    @property
    def threshold(self) -> int:
        """Reached by the signers of the demo, with one in six to spare."""
        return max(1, self.signers * 5 // 6)

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
        self.write_draft("campaign")
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
        self.manifest = self.publish_draft(self.folder / "campaign")
        self.wait_until(lambda: self.is_open(self.manifest), "the terms stand in the ledger")

    def publish_draft(self, draft: Path) -> Manifest:
        """Publish the terms of a draft; the issuer opens them, and the verifier gets to know them."""
        key = self.folder / "organiser.key"
        self.command("scope", "publish", draft, "--key", key, "--ledger", self.ledger_url)
        scope = draft / "scope.json"
        manifest = Manifest.from_bytes(scope.read_bytes())
        shutil.copy(scope, self.folder / "scopes" / f"{manifest.scope_id.hex()}.json")
        self.command("issuer", "--config", self.config, "enrol", scope)
        return manifest

    def prove_all(self, track: Track) -> None:
        """Every signer proves to be a person, by a typed code from a real mail."""
        self.together(self._prove, range(self.signers), track, "proving to be a person, by mail and code")

    def pledge_some(self, numbers: range, track: Track) -> None:
        """These pledge, in waves that each fall between two ticks, and are counted."""
        for wave in _waves(numbers):
            self.sleep_to_tick()
            self.together(self._pledge, wave, track, "pledging")
        self.wait_until(lambda: self.counted() >= numbers.stop, "all pledges are in sealed batches")

    def check_receipts(self, track: Track) -> None:
        """Everybody looks for the own pledge in the ledger."""
        self.together(self._receipt, range(self.signers), track, "checking the own receipt")

    def counted(self, scope_id: ScopeId | None = None) -> int:
        """The pledges of a scope that stand in the ledger; of the campaign's without one."""
        view = self.view()
        seal = Seal.from_bytes(view.entry(view.size - 1))
        return totals_at(view, seal).get(scope_id or self.manifest.scope_id, (0, 0))[0]

    def publish_issuance(self) -> None:
        """The issuer says in the ledger how many tokens it has issued, unless its daily count has said so."""
        self.command("issuer", "--config", self.config, "issuance")
        self.wait_until(lambda: self.issued() >= self.signers, "the issuer's count stands in the ledger")

    def issued(self) -> int:
        """How many tokens the issuer says it has issued for the campaign."""
        last = self.scope_view(self.manifest).last(f"issuer:{self.manifest.issuers[0].name}")
        return 0 if last is None else int(last.statement.body.get("issued", 0))

    def audit(self, public: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
        """Recount a folder with the command that anybody has."""
        return self._run("audit", public, "--policy", self.policy, *options)

    # What they need.

    def command(self, *arguments: str | Path) -> str:
        """Run a headcount command, show it, and return what it prints.

        Raises:
            ProtocolError: it failed.
        """
        self.show("$ headcount " + shlex.join(str(argument) for argument in arguments))
        done = self._run(*arguments)
        if done.returncode:
            raise UnavailableError(f"a command failed: {done.stderr.strip()}")
        return done.stdout

    def call(self, *arguments: str | Path, show: bool = True) -> Done:
        """Run a headcount command in this process, where Python and its modules are loaded already.

        Without show it is one that was shown before, of somebody else in the same role.
        """
        if show:
            self.show("$ headcount " + shlex.join(str(argument) for argument in arguments))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run([str(argument) for argument in arguments])
        return Done(code, out.getvalue(), err.getvalue())

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
contacts = "contacts.store"

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

    def write_draft(self, name: str, **changes: Any) -> None:
        """Write a folder with a draft: the campaign's terms, or those of a scope that differs from it."""
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
            **changes,
        }
        draft = {member: value for member, value in draft.items() if value is not None}
        folder = self.folder / name
        (folder / "texts").mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(draft, ensure_ascii=False, indent=2) + "\n", "utf-8")
        for language, text in campaign.texts().items():
            (folder / "texts" / f"{language}.txt").write_text(text, "utf-8")

    def _prove(self, number: int) -> None:
        self.prove(number, self.pledge_file(number))

    def prove(self, number: int, file: Path, scope_id: ScopeId | None = None, **left: Any) -> None:
        """Signer number proves to be a person, and keeps the pledge in the file.

        For another scope than the campaign with left, the contact of a contact scope.
        """
        choice = campaign.MOVE_AND_HELP if number % 3 == 2 else campaign.MOVE
        own: dict[str, Any] = {"choice": choice} if scope_id is None else left
        prove.prove(
            file,
            self.ledger_url,
            scope_id or self.manifest.scope_id,
            policy=self.policy.read_bytes(),
            transport=self.transport,
            ask=self.answers(self.address(number)),
            day=day_of(int(time.time())),
            **own,
        )

    def answers(self, address: str) -> Callable[[Question], str]:
        """What the reader of a mailbox answers to an issuer."""

        def answer(question: Question) -> str:
            if question.kind == "address":
                return address
            found = _CODE.search(self.mailbox.take(address))
            if found is None:
                raise UnavailableError("the mail has no code")
            return found[0]

        return answer

    def _pledge(self, number: int) -> None:
        pledge.submit(self.pledge_file(number), transport=self.transport)

    def _receipt(self, number: int) -> None:
        (found,) = receipt.fetch(self.pledge_file(number), transport=self.transport)
        if found.proof is None:
            raise UnavailableError("a pledge is promised and not in the ledger yet")

    def together(self, work: Callable[[int], None], numbers: Sequence[int], track: Track, what: str) -> None:
        """Do it for these signers, some at once."""
        with ThreadPoolExecutor(THREADS) as pool:
            done = pool.map(work, numbers)
            for _ in track(done, what, len(numbers)):
                pass

    def sleep_to_tick(self) -> None:
        """Until a batch was just sealed: who pledges now has the whole tick to be joined by others."""
        time.sleep(TICK_S - time.time() % TICK_S + LATE_S)

    def view(self) -> LedgerView:
        """The ledger as its files show it now."""
        return open_ledger(directory_fetch(self.public), Policy.from_bytes(self.policy.read_bytes()))

    def scope_view(self, manifest: Manifest) -> ScopeView:
        """A scope with all its notices."""
        return find_scope(self.view(), manifest.scope_id)

    def is_open(self, manifest: Manifest) -> bool:
        """Whether a scope's terms and the issuer's opening stand in the ledger."""
        try:
            self.scope_view(manifest)
        except ProtocolError:
            return False
        return True

    def _wait_for(self, url: str, processes: Processes, status: int = 200) -> None:
        def answers() -> bool:
            if processes.ended():
                raise UnavailableError(f"a server ended; see {self.log}")
            try:
                return self.transport("GET", url, max_bytes=2**20).status == status
            except UnavailableError:
                return False

        self.wait_until(answers, url)

    def wait_until(self, true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait for the ledger's next batches.

        Raises:
            UnavailableError: it is still not so.
        """
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline:
                raise UnavailableError(f"still not after {timeout_s:.0f} s: {what}")
            time.sleep(0.1)


def _waves(numbers: range) -> Iterator[range]:
    """Equal parts of at most WAVE, so that none is too small for a batch of its own."""
    parts = -(-len(numbers) // WAVE)
    edges = [numbers.start + len(numbers) * part // parts for part in range(parts + 1)] if parts else []
    return (range(start, stop) for start, stop in itertools.pairwise(edges))
