from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from headcount_node.mailbox import Mailbox
from headcount_spec.text import day_of, format_day
from ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
TODAY = format_day(day_of(int(time.time())))


@dataclass(frozen=True)
class Desk:
    """Somebody's folder, with a node of their own that is served from it."""

    folder: Path
    port: int
    partner_port: int
    mailbox: Mailbox

    def run(self, command: str, typed: str = "") -> str:
        """Run a command of the README here, on this test's ports; what it prints."""
        command = command.replace("localhost:8000", f"localhost:{self.port}")
        words = shlex.split(command.replace("localhost:5000", f"localhost:{self.partner_port}"))
        done = subprocess.run(
            [sys.executable, "-m", *words] if words[0] == "headcount" else words,
            cwd=self.folder,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def pledge_by_mail(self, scope: str, address: str, name: str, *options: str) -> None:
        prove = f"headcount prove http://localhost:8000/ledger {scope} --policy node/policy --out {name}"
        prove = prove.replace("localhost:8000", f"localhost:{self.port}")
        with subprocess.Popen(
            [sys.executable, "-m", *shlex.split(prove), "--email", address],
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            code = re.search(r"Your code: (\d{8})", self.mailbox.take(address))
            assert code is not None
            printed, _ = process.communicate(code[1] + "\n", timeout=30)
        assert process.returncode == 0, printed
        assert "pledged: " in self.run(" ".join(["headcount pledge", name, *options]))


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, url
        time.sleep(0.1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("campaign")
    port, issuer, mail, partner = free_ports(0, 1, 2, 3)
    desk = Desk(folder, port, partner, Mailbox(mail))
    desk.run(
        f"headcount init node --public http://localhost:8000 --personhood http://localhost:{issuer} "
        f"--smtp-port {mail} --tick 1"
    )
    desk.mailbox.start()
    process = desk.start("headcount", "serve", "node/headcount.toml")
    try:
        wait_for(f"http://localhost:{port}/ledger/checkpoint")
        wait_for(f"http://localhost:{issuer}/.well-known/private-token-issuer-directory")
        yield desk
    finally:
        process.terminate()
        process.wait(20)
        desk.mailbox.stop()


def commands() -> list[str]:
    """The README's commands of an organiser."""
    text = (
        (ROOT / "README.md").read_text("utf-8").partition("<!-- replayed by tests/scenario/test_campaign")[2]
    )
    found = re.findall(r"^    \$ (.*)$", text.partition("Between the draft")[0], re.MULTILINE)
    assert len(found) == 7
    return found


def write_terms(folder: Path, what: str) -> None:
    """What the README leaves to the organiser."""
    path = folder / "manifest.json"
    terms = json.loads(path.read_text("utf-8"))
    for name in ("title", "addressee", "data_use", "end_of_life"):
        terms[name] = {"en": f"{what}: {name}"}
    path.write_text(json.dumps({**terms, "opens": TODAY, "min_batch": 1, "threshold": 2}), "utf-8")
    (folder / "texts" / "en.txt").write_text(f"We ask for {what}.\n", "utf-8")


def test_a_newcomer_runs_a_campaign_and_a_partner_takes_part(desk: Desk) -> None:
    scope = ""
    for command in commands():
        if " scope draft " in command:
            desk.run(f"{command} --site http://localhost:5000")
            write_terms(desk.folder / "campaign", "a bench")
            continue
        printed = desk.run(command.replace("SCOPE", scope))
        if " scope lint " in command:
            assert printed.endswith("ready: the terms can be published\n")
        if " scope publish " in command:
            scope = printed.strip()
    url = f"http://localhost:{desk.port}"
    wait_for(f"{url}/scopes/{scope}")
    time.sleep(2.5)  # two ticks: the opening is sealed
    desk.pledge_by_mail(scope, "a@mail.example", "a.pledge")

    site = desk.folder / "partner"
    shutil.copytree(ROOT / "examples/partner_flask", site)
    (site / "scopes").mkdir(exist_ok=True)
    (site / "scopes" / f"{scope}.json").write_bytes(
        httpx.get(f"{url}/scopes/{scope}", trust_env=False).content
    )
    config = (site / "verifier.toml").read_text("utf-8")
    (site / "verifier.toml").write_text(config.replace("localhost:8000", f"localhost:{desk.port}"), "utf-8")
    partner = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(desk.partner_port)],
        cwd=site,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://localhost:{desk.partner_port}/")
        desk.pledge_by_mail(scope, "b@mail.example", "b.pledge", "--verifier http://localhost:5000/pledge")
    finally:
        partner.terminate()
        partner.wait(10)

    time.sleep(2.5)
    for name in ("a", "b"):
        assert "included: pledge is entry" in desk.run(f"headcount receipt {name}.pledge")
    audit = desk.run("headcount audit http://localhost:8000/ledger --policy node/policy")
    assert "a bench: title: 2 confirmed e-mail addresses" in audit
    assert "the threshold of 2 was reached" in audit
    assert "consistent: " in audit


def test_slips_of_paper_prove_people_without_mail(desk: Desk) -> None:
    desk.run("headcount organiser init market.key")
    desk.run(
        "headcount scope draft market --policy node/policy --key market.key --site http://localhost:8000"
    )
    write_terms(desk.folder / "market", "a market")
    path = desk.folder / "market" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "level": "in-person"}), "utf-8")
    desk.run("headcount issuer --config node/headcount.toml enrol market")
    publish = "headcount scope publish market --key market.key --ledger http://localhost:8000/ledger"
    scope = desk.run(publish).strip()
    desk.run("headcount issuer --config node/headcount.toml enrol market")
    shutil.copy(desk.folder / "market/scope.json", desk.folder / f"node/scopes/{scope}.json")
    desk.run(f"headcount issuer --config node/headcount.toml codes {scope} --number 3")
    sheet = desk.folder / f"codes-{scope[:8]}.txt"
    assert sheet.stat().st_mode & 0o777 == 0o600
    code = next(line for line in sheet.read_text("utf-8").splitlines() if not line.startswith("#"))
    time.sleep(2.5)
    prove = f"headcount prove http://localhost:8000/ledger {scope} --policy node/policy --out m.pledge"
    desk.run(prove, typed=f"{code}\n")
    desk.run("headcount pledge m.pledge")
    time.sleep(2.5)
    assert "included: pledge is entry" in desk.run("headcount receipt m.pledge")
    audit = desk.run("headcount audit http://localhost:8000/ledger --policy node/policy --receipt m.pledge")
    assert "a market: title: 1 code handed out in person" in audit
    assert "m.pledge: included as entry" in audit
