from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from click.testing import CliRunner, Result

import contacts
import manifests
from headcount import contact, signer_commands, trustee_commands
from headcount.cli import headcount
from headcount_issuer.enrolment import Opened
from headcount_spec import blobs, jcs
from headcount_spec.errors import NotEligibleError, ScopeClosedError
from headcount_spec.scope import Manifest
from headcount_spec.text import encode_base64
from ports import free_ports
from story import Town


class PostOffice:
    def __init__(self) -> None:
        self.readers: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.readers += envelope.rcpt_tos
        return "250 taken"


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    with Town(tmp_path, 2, served=True) as made:
        # The commands read the clock of the machine; the town has its own.
        for module in (signer_commands, trustee_commands):
            monkeypatch.setattr(module, "today", lambda: made.clock.day)
        monkeypatch.setattr(contact, "WAIT_S", (0, 1))
        (tmp_path / "policy").write_bytes(made.policy)
        (tmp_path / "pass").write_text("correct horse\n")
        (tmp_path / "organiser.key").write_text(
            f"headcount-organiser-key-1 {encode_base64(manifests.ORGANISER_SEEDS[0])}\n"
        )
        yield made


def run(*arguments: str | Path, **options: Any) -> Result:
    return CliRunner().invoke(headcount, [str(argument) for argument in arguments], **options)


def done(*arguments: str | Path, **options: Any) -> str:
    result = run(*arguments, **options)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def test_a_campaign_with_contacts_by_its_commands(town: Town, tmp_path: Path) -> None:
    policy = ["--policy", tmp_path / "policy"]
    campaign = town.publish(threshold=2, min_batch=1)
    scope = publish_contacts(town, tmp_path, campaign)
    target = [town.ledger_url, scope.scope_id.hex(), *policy]

    def prove(name: str, *more: str) -> tuple[Path, str]:
        out = tmp_path / f"{name}.pledge"
        address = f"{name}@example.org"
        arguments = ["prove", town.ledger_url, campaign.scope_id.hex(), *policy, "--out", out]
        codes = io.BufferedReader(_Codes(town, address))
        output = done(
            *arguments,
            "--email",
            address,
            "--contact",
            f"email:{name}.reach@example.net",
            *more,
            input=codes,  # typed when the mail has come
        )
        return out, output

    ada, _ = prove("ada")
    done("pledge", ada)
    output = done("contact", "send", f"{ada}.contact", "--wait")
    assert "left: sealed for 1 trustees" in output
    bob, output = prove("bob", "--issuer", "issuer1.example")
    assert output.count("signed by 1 of 2") == 2  # the pledge and the contact
    assert "Still to sign: issuer0.example. Run" in output
    assert "proved" not in output
    assert "proved" in prove("bob")[1]
    town.seal()
    own = ["--dir", tmp_path / "trustee"]
    assert "not reached: 1 of 2" in done("trustee", "check", *target, *own)
    assert isinstance(run("trustee", "release", *target, *own, "--yes").exception, NotEligibleError)
    done("pledge", bob)
    town.seal()
    # Bob comes too late to be written to; Ada was in time.
    assert isinstance(run("contact", "send", f"{bob}.contact", "--wait").exception, ScopeClosedError)
    assert "released" in done("trustee", "release", *target, *own, "--yes")
    town.seal()
    (tmp_path / "blobs").write_bytes(b"".join(town.contacts.export(scope.scope_id)))
    assert (tmp_path / "blobs").stat().st_size == blobs.HEADER_BYTES + blobs.record_bytes(1)
    state = ["--state", tmp_path / "state"]
    key = ["--key", tmp_path / "contact.key"]
    opened = ["--blobs", tmp_path / "blobs", "--out", tmp_path / "list"]
    assert "opened: 1 contacts of 1" in done("organiser", "open", *target, *state, *key, *opened)
    done("organiser", "certify", *target, *state, "--out", tmp_path / "reached.json")
    (tmp_path / "scope.json").write_bytes(scope.raw)
    assert "reached: 2" in done("certificate", "verify", tmp_path / "reached.json", tmp_path / "scope.json")
    assert "2 of 2" in done("scope", "state", town.ledger_url, campaign.scope_id.hex(), *policy)
    assert mailed(town, tmp_path, target) == ["ada.reach@example.net"]
    done("contact", "erase", f"{ada}.contact")
    assert len(b"".join(town.contacts.export(scope.scope_id))) == blobs.HEADER_BYTES
    assert "consistent" in done("audit", town.ledger_url, *policy)


class _Codes(io.RawIOBase):
    """What a person types: the code of the next mail, each time."""

    def __init__(self, town: Town, address: str) -> None:
        self._town = town
        self._address = address

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        typed = f"{self._town.code(self._address)}\n".encode()
        buffer[: len(typed)] = typed
        return len(typed)


def publish_contacts(town: Town, folder: Path, campaign: Manifest) -> Manifest:
    """The organiser's and the trustee's commands, from the draft to the signature on the final terms."""
    public_key, *_ = done("organiser", "contact-key", folder / "contact.key").splitlines()
    own = ["--dir", folder / "trustee", "--passphrase-file", folder / "pass"]
    done("trustee", "init", "Grace Hopper", "--dir", folder / "trustee")
    terms = {**manifests.contacts(), "key": public_key}
    changes = contacts.changes(campaign, trustees={"t": 1, "members": []}, contacts=terms)
    issuers = [manifests.issuer(i, token_key=2 + i) | {"url": url} for i, url in enumerate(town.issuer_urls)]
    draft = folder / "contacts"
    (draft / "texts").mkdir(parents=True)
    value = town.draft(**{**changes, "issuers": issuers})
    (draft / "manifest.json").write_bytes(jcs.canonicalise(value))
    for language, text in manifests.TEXTS.items():
        (draft / "texts" / f"{language}.txt").write_text(text)
    done("trustee", "enrol", draft, *own)
    members = json.loads((draft / "manifest.json").read_text())["trustees"]["members"]
    found = town.publish(**{**changes, "issuers": issuers, "trustees": {"t": 1, "members": members}})
    (draft / "scope.json").write_bytes(found.raw)
    assert all(isinstance(issuer.enrol(found.raw), Opened) for issuer in town.issuers)
    body = folder / "child.json"
    body.write_text(json.dumps({"scope": found.scope_id.hex()}))
    policy = ["--policy", folder / "policy"]
    notice = ["--key", folder / "organiser.key", "--type", "child", "--body", body]
    done("scope", "notice", town.ledger_url, campaign.scope_id.hex(), *policy, *notice)
    town.seal()
    signed = done("trustee", "enrol", draft, *own, "--ledger", town.ledger_url, *policy)
    assert "any 1 of these open the contacts: Grace Hopper\n  if 2 have pledged by " in signed
    assert "  for confirmation: " in signed
    town.seal()
    return found


def mailed(town: Town, folder: Path, target: list[Any]) -> list[str]:
    """Who gets the confirmation by the command."""
    (folder / "template").mkdir()
    (folder / "template" / "en.txt").write_text("Subject: Reached\n\nWe are enough.\n{leave}\n")
    office = PostOffice()
    (port,) = free_ports(0)
    controller = Controller(office, hostname="127.0.0.1", port=port)
    controller.start()
    options = [
        *("--key", folder / "contact.key", "--sign", folder / "organiser.key", "--list", folder / "list"),
        *("--template", folder / "template", "--purpose", "confirmation", "--state", folder / "mailing"),
        *("--gone", folder / "gone", "--leave-url", "https://leave.example.org"),
        *(
            "--smtp",
            f"127.0.0.1:{port}",
            "--no-tls",
            "--sender",
            "campaign@example.org",
            "--per-minute",
            "6000",
        ),
    ]
    try:
        for _ in range(2):
            assert "1 sent" in done("organiser", "mail", *target, *options)
    finally:
        controller.stop()
    return office.readers
