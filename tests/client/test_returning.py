from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import manifests
from authenticator import Authenticator
from headcount import Question
from headcount.terminal import asker
from headcount_issuer.app import create_app
from headcount_issuer.attesters.passkey import PasskeyConfig
from headcount_issuer.issuer import Issuer
from headcount_ledger.reader.transport import Answer
from headcount_spec.errors import AlreadyIssuedError, MalformedError, NotEligibleError
from passkeys import Browser, code_of


@pytest.fixture
def issuer(world: Any) -> Issuer:
    """The world's issuer, with accounts."""
    (old,) = world.issuers
    old.close()
    old.config.attesters["passkey"] = PasskeyConfig()
    made = Issuer.open(old.config, world.clock, lambda entry: world._take(entry))
    made._attesters["email"].outbox = world.outbox
    world.issuers[0] = made
    world.router.serve(old.config.url, create_app(made))
    return made


class Person:
    """Somebody with an address and a device."""

    def __init__(self, world: Any, issuer: Issuer, name: str, evidence: str, remember: str = "no") -> None:
        self.world, self.name, self.evidence, self.remember = world, name, evidence, remember
        world.http_of_issuer = create_app(issuer).test_client()
        self.asked: list[str] = []
        self.device: Authenticator | None = None
        self.issuer = issuer

    def __call__(self, question: Question) -> str:
        self.asked.append(question.kind)
        if question.kind == "address":
            return f"{self.name}@example.org"
        if question.kind == "mailed-code":
            return str(self.world.outbox.code())
        if question.kind == "evidence":
            assert set(question.choices) == {"email", "passkey"}
            return self.evidence
        if question.kind == "remember":
            return self.remember
        assert question.page is not None
        # Pages are shown by the very application that answers: their state is in memory.
        browser = Browser(_World(self.issuer))
        if self.device is not None:
            browser.device = self.device
        self.device = browser.device
        answer = browser.go(question.page)
        assert answer.status_code == 200, answer.text
        return code_of(answer) if question.kind == "page-code" else ""


class _World:
    def __init__(self, issuer: Issuer) -> None:
        self.http = create_app(issuer).test_client()


def rounds(world: Any) -> tuple[Any, Any]:
    terms = manifests.issuer(0) | {"returning": ["passkey"]}
    first = world.publish("first", issuers=[terms])
    again = manifests.issuer(0, token_key=1) | {"returning": ["passkey"]}
    changes = {"kind": "round", "parent": first.scope_id.hex(), "eligible": "parent-token-holders"}
    second = world.publish("second", issuers=[again], title=manifests.both("Two", "Deux"), **changes)
    return first, second


def test_a_holder_of_the_parents_token_comes_back_by_passkey(
    world: Any, issuer: Issuer, tmp_path: Path
) -> None:
    first, second = rounds(world)
    ada = Person(world, issuer, "ada", "email", "yes")
    assert world.prove(first, tmp_path / "ada1", ask=ada).is_proved
    assert ada.asked == ["evidence", "address", "mailed-code", "remember", "account-page"]
    ada.asked, ada.evidence = [], "passkey"
    assert world.prove(second, tmp_path / "ada2", ask=ada).is_proved
    assert ada.asked == ["evidence", "page-code"]
    # Neither by mail nor by passkey is there a second token.
    for evidence in ("email", "passkey"):
        ada.evidence, ada.remember = evidence, "no"
        with pytest.raises(AlreadyIssuedError):
            world.prove(second, tmp_path / f"again {evidence}", ask=ada)
    assert world.issued() == 2


def test_who_says_no_has_no_account(world: Any, issuer: Issuer, tmp_path: Path) -> None:
    first, second = rounds(world)
    bob = Person(world, issuer, "bob", "email")
    assert world.prove(first, tmp_path / "bob", ask=bob).is_proved
    assert bob.asked[-1] == "remember"
    assert issuer.accounts.count() == 0
    eve = Person(world, issuer, "eve", "email")
    with pytest.raises(NotEligibleError, match="parent"):
        world.prove(second, tmp_path / "eve", ask=eve)


def test_a_page_elsewhere_is_not_shown(world: Any, issuer: Issuer, tmp_path: Path) -> None:
    first, _ = rounds(world)

    def elsewhere(method: str, url: str, **more: Any) -> Answer:
        answer: Answer = world.http(method, url, **more)
        if not url.endswith("/sessions/account"):
            return answer
        return replace(answer, body=answer.body.replace(b"localhost:8001", b"evil.example"))

    ada = Person(world, issuer, "ada", "email", "yes")
    with pytest.raises(MalformedError, match="origin"):
        world.prove(first, tmp_path / "ada", ask=ada, transport=elsewhere)
    assert "account-page" not in ada.asked
    # The proof stands: the same command goes on, and asks nothing.
    ada.asked = []
    assert world.prove(first, tmp_path / "ada", ask=ada).is_proved
    assert ada.asked == []


def test_the_terminal_asks_in_words(world: Any, issuer: Issuer) -> None:
    first, _ = rounds(world)
    (terms,) = first.issuers

    @click.command()
    @click.option("--email")
    def command(email: str | None) -> None:
        ask = asker(email)
        evidence = ask(Question("evidence", terms, first, choices=("email", "passkey")))
        remember = ask(Question("remember", terms, first, choices=("yes", "no")))
        ask(Question("account-page", terms, first, page="http://localhost:8001/prove/x"))
        click.echo(f"{evidence} {remember}")

    run = CliRunner().invoke(command, input="passkey\nyes\n\n")
    assert run.stdout.endswith("passkey yes\n"), run.output
    assert "http://localhost:8001/prove/x" in run.output
    run = CliRunner().invoke(command, ["--email", "a@example.org"], input="no\n\n")
    assert run.stdout.endswith("email no\n"), run.output
