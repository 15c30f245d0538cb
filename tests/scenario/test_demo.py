from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from headcount_spec.policy import Policy
from ports import free_ports

SIGNERS = 12


@dataclass(frozen=True)
class Told:
    """A demo that has been told to its end."""

    folder: Path
    output: str

    def audit(self, public: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
        return headcount("audit", public, "--policy", self.folder / "policy", *options)


def headcount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headcount", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("demo") / "story"
    port, *_ = free_ports(0, 1, 2, 3, 4, 5, 25)
    done = headcount("demo", "--once", "--signers", str(SIGNERS), "--dir", folder, "--port", str(port))
    assert done.returncode == 0, done.stdout + done.stderr
    return Told(folder, done.stdout)


@pytest.mark.parametrize(
    ("attempt", "verdict"),
    [
        ("second token", "issuer: already-issued"),
        ("replay", "ledger: counted-once"),
        ("altered choice", "verifier: bad-signature"),
        ("foreign key", "verifier: bad-signature"),
        ("edited tile", "audit: broken-tile"),
        ("edited count", "audit: edited-count"),
        ("forked checkpoint", "audit: forked-ledger"),
        ("swapped terms", "audit: swapped-terms"),
        ("forged seal", "audit: broken-seal"),
        ("unsigned mailing", "ledger: unknown-key"),
    ],
)
def test_each_dishonest_thing_is_caught_by_name(told: Told, attempt: str, verdict: str) -> None:
    (line,) = [line for line in told.output.splitlines() if line.startswith(f"  {attempt} ")]
    assert verdict in line


def test_contacts_stay_closed_below_the_threshold_open_at_it_and_die_without(told: Told) -> None:
    lines = [line.strip() for line in told.output.splitlines()]
    below = "the key stays closed: not reached: 9 of 10, until "
    assert len([line for line in lines if below in line]) == 5
    reached = [line for line in lines if line.endswith("; released")]
    assert [line.partition(": ")[2][:18] for line in reached] == ["reached: 12 of 10 "] * 3
    assert len([line for line in lines if line.endswith("lost, with the key")]) == 2
    (certified,) = [line for line in lines if line.startswith("certified by ")]
    assert certified.startswith("certified by Amal Haddad, Bruno Keller, Chiara Moretti: reached")
    assert "signed by Amal Haddad, Bruno Keller, Chiara Moretti" in lines
    # Five have left a contact, and one of them has thought again.
    assert any(line.startswith("opened: 4 contacts of 5 entries") for line in lines)
    assert "4 confirmations have arrived by SMTP, and none for signer 1" in lines
    assert any("the key may still be needed: not reached: 3 of 10" in line for line in lines)
    destroyed = [line for line in lines if line.endswith("; destroyed")]
    assert [line.partition(": ")[2] for line in destroyed] == [
        "failed: 3 of 10, and it has ended; destroyed"
    ] * 3
    assert "3 sealed contacts are left, and no key opens them" in lines


def test_nothing_on_the_disk_names_who_can_be_reached(told: Told) -> None:
    for path in sorted(told.folder.rglob("*")):
        if path.is_file():
            assert b"@post.example" not in path.read_bytes(), path.name


def test_the_number_is_recounted_from_the_published_files(told: Told) -> None:
    done = told.audit(told.folder / "public", "--json")
    assert done.returncode == 0
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["faults"] == []
    campaign, contacts = sorted(report["scopes"].values(), key=lambda scope: -scope["count"])
    assert contacts["kind"] == "contact"
    scope = campaign
    assert (scope["count"], scope["withdrawn"], scope["level"]) == (SIGNERS, 0, "email")
    assert scope["title"] == "We move together: five promises or we leave"


def test_a_copy_elsewhere_is_recounted_alike_and_an_edited_one_is_not(told: Told, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(told.folder / "public", copy)
    assert told.audit(copy, "--json").stdout == told.audit(told.folder / "public", "--json").stdout
    bundle = next((copy / "tile" / "entries").glob("000*/*"))
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bundle.write_bytes(data)
    done = told.audit(copy, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False


def test_every_signer_has_a_receipt_that_verifies_offline(told: Told) -> None:
    receipts = sorted((told.folder / "signers").glob("*.tlog-proof"))
    assert len(receipts) == SIGNERS
    done = headcount("receipt", "verify", receipts[0], "--policy", told.folder / "policy")
    assert done.returncode == 0, done.stderr


def test_everything_is_witnessed_by_two(told: Told) -> None:
    policy = Policy.from_bytes((told.folder / "policy").read_bytes())
    assert [witness.name for witness in policy.witnesses] == ["witness1", "witness2"]
    assert (policy.groups[0].k, policy.quorum) == (2, "witnesses")
    archived = sorted((told.folder / "public" / "checkpoints").iterdir())
    for path in [*archived, told.folder / "public" / "checkpoint"]:
        assert len(policy.verify_checkpoint(path.read_bytes()).cosignatures) == 2
    (receipt,) = (told.folder / "signers").glob("0000*.tlog-proof")
    done = headcount("receipt", "verify", receipt, "--policy", told.folder / "policy")
    assert "witnessed by witness1" in done.stdout
    for number in (1, 2):
        assert len(list((told.folder / f"witness{number}" / "evidence").glob("fork-*.json"))) == 1


def test_what_is_secret_is_for_its_owner_only(told: Told) -> None:
    secret = [
        told.folder / "key",
        told.folder / "witness1" / "key",
        told.folder / "witness2" / "key",
        told.folder / "organiser.key",
        told.folder / "contact.key",
        told.folder / "contacts.list",
        told.folder / "mailing",
        *(told.folder / "trustees" / "1").iterdir(),
        *(told.folder / "issuer" / "keys").iterdir(),
        *(told.folder / "signers").glob("*.pledge"),
    ]
    assert len(secret) > SIGNERS
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


def test_a_folder_that_is_not_empty_is_left_alone(told: Told) -> None:
    before = sorted(path.name for path in told.folder.iterdir())
    done = headcount("demo", "--once", "--dir", told.folder)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert sorted(path.name for path in told.folder.iterdir()) == before


@pytest.fixture
def served(told: Told) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "headcount", "serve", str(told.folder / "headcount.toml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def wait_for(url: str) -> httpx.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url, trust_env=False)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_node_serves_two_origins_without_cookies_and_stops_in_order(
    told: Told, served: subprocess.Popen[bytes]
) -> None:
    policy = (told.folder / "policy").read_text()
    ledger = next(field for field in policy.split() if field.startswith("http"))
    public = ledger.removesuffix("/ledger")
    port = int(public.rpartition(":")[2])
    page = wait_for(f"{public}/")
    assert f"<strong>{SIGNERS}</strong> <span>confirmed e-mail addresses" in page.text
    checkpoint = wait_for(f"{ledger}/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    directory = wait_for(f"http://localhost:{port + 1}/.well-known/private-token-issuer-directory")
    assert directory.json()["token-keys"][0]["token-type"] == 2
    for answer in (page, checkpoint, directory):
        assert "set-cookie" not in answer.headers
    recount = headcount("audit", ledger, "--policy", told.folder / "policy")
    assert f"{SIGNERS} confirmed e-mail addresses" in recount.stdout
    served.send_signal(signal.SIGTERM)
    assert served.wait(20) == 0
    assert not _processes_with(told.folder)


def _processes_with(folder: Path) -> list[str]:
    """Processes of this machine whose environment names the folder's configuration."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder / "headcount.toml") in environment:
            found.append(entry.name)
    return found
