from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import manifests
from headcount_issuer.attester import PageStep, Proof, View
from headcount_issuer.attesters.in_person import InPersonConfig, format_code
from headcount_ledger.reader.transport import Answer
from headcount_spec.errors import AlreadyIssuedError, CodeRefusedError, MalformedError, ProtocolError


class Door:
    """A page of an issuer that lets everybody in whose name is typed there."""

    name = "oidc"

    def challenge(self, asking: Any) -> dict[str, Any]:
        return {}

    def begin(self, asking: Any, evidence: Any) -> PageStep:
        evidence.finish()
        return PageStep()

    def show(self, step: Any, asking: Any, query: Any) -> View:
        return View("asked.html")

    def act(self, step: Any, asking: Any, form: Any, next_token: str) -> Proof:
        return Proof(self.name, (f"oidc\0{form['name']}".encode(),))

    def close(self) -> None:
        pass


@pytest.fixture
def issuer(world: Any) -> Any:
    (issuer,) = world.issuers
    issuer.config.attesters["oidc"] = InPersonConfig()
    issuer._attesters["oidc"] = Door()
    return issuer


def publish(world: Any, level: str, *attesters: str) -> Any:
    return world.publish(level=level, issuers=[manifests.issuer(0) | {"attesters": list(attesters)}])


class Person:
    """Somebody with an address, slips and a browser."""

    def __init__(self, world: Any, issuer: Any, name: str, slips: list[str], chooses: str = "") -> None:
        self.world, self.issuer, self.name, self.slips = world, issuer, name, slips
        self.choices = chooses.split()
        self.asked: list[str] = []

    def __call__(self, question: Any) -> str:
        self.asked.append(question.kind)
        if question.kind == "address":
            return f"{self.name}@example.org"
        if question.kind == "mailed-code":
            return str(self.world.outbox.code())
        if question.kind == "slip-code":
            return self.slips[0]
        if question.kind == "evidence":
            return self.choices.pop(0)
        token = question.page.rpartition("/")[2]
        _, _, done = self.issuer.issuance.act_on_page(token, {"name": self.name})
        return str(done.code)


def test_two_proofs_in_one_session(world: Any, issuer: Any, tmp_path: Path) -> None:
    manifest = publish(world, "email+in-person", "email", "in-person")
    _, codes = issuer.make_codes(manifest.scope_id, 2)
    slips = [format_code(code) for code in codes]
    ada = Person(world, issuer, "ada", slips)
    assert world.prove(manifest, tmp_path / "ada", ask=ada).is_proved
    assert ada.asked == ["address", "mailed-code", "slip-code"]
    with pytest.raises(AlreadyIssuedError):
        world.prove(manifest, tmp_path / "bob", ask=Person(world, issuer, "bob", slips[:1]))
    assert world.prove(manifest, tmp_path / "eve", ask=Person(world, issuer, "eve", slips[1:])).is_proved


def test_a_page_is_opened_and_its_code_brought_back(world: Any, issuer: Any, tmp_path: Path) -> None:
    manifest = publish(world, "oidc", "oidc")
    ada = Person(world, issuer, "ada", [])
    assert world.prove(manifest, tmp_path / "ada", ask=ada).is_proved
    assert ada.asked == ["page-code"]


def test_where_the_level_leaves_a_choice_the_person_is_asked(world: Any, issuer: Any, tmp_path: Path) -> None:
    manifest = publish(world, "2-of:email,oidc,in-person", "email", "oidc", "in-person")
    _, codes = issuer.make_codes(manifest.scope_id, 1)
    slip = format_code(codes[0])
    ada = Person(world, issuer, "ada", [slip], "in-person oidc")
    assert world.prove(manifest, tmp_path / "ada", ask=ada).is_proved
    assert ada.asked == ["evidence", "slip-code", "evidence", "page-code"]
    for chooses in ("email oidc", "email in-person", "oidc in-person"):
        with pytest.raises(AlreadyIssuedError):
            world.prove(manifest, tmp_path / chooses, ask=Person(world, issuer, "ada", [slip], chooses))


def test_a_code_that_the_page_did_not_show_is_refused(world: Any, issuer: Any, tmp_path: Path) -> None:
    manifest = publish(world, "oidc", "oidc")
    asked = []

    def ask(question: Any) -> str:
        asked.append(question.attempt)
        return "00000000"

    with pytest.raises(CodeRefusedError):
        world.prove(manifest, tmp_path / "ada", ask=ask)
    assert asked == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "page",
    [
        "https://elsewhere.example/prove/x",
        "javascript:alert(1)",
        "http://localhost:8001\n/x",
        7,
        None,
        "http://localhost:8001/" + "x" * 2000,
    ],
)
def test_a_page_elsewhere_is_not_opened(
    world: Any, issuer: Any, tmp_path: Path, recorder: Any, page: object
) -> None:
    manifest = publish(world, "oidc", "oidc")
    ada = Person(world, issuer, "ada", [])

    def bend(url: str, answer: Answer) -> Answer:
        if not url.endswith("/sessions"):
            return answer
        value = json.loads(answer.body) | {"page": page}
        return Answer(answer.status, json.dumps(value).encode(), answer.headers)

    transport = recorder(world.http)
    transport.bend = bend
    with pytest.raises(ProtocolError):
        world.prove(manifest, tmp_path / "me", ask=ada, transport=transport)
    assert ada.asked == []


def test_an_issuer_that_never_has_enough_is_left(
    world: Any, issuer: Any, tmp_path: Path, recorder: Any
) -> None:
    manifest = publish(world, "email", "email")

    def bend(url: str, answer: Answer) -> Answer:
        if not url.endswith("/sessions/evidence"):
            return answer
        return Answer(200, b'{"state":"partial","wanted":["email"]}', answer.headers)

    transport = recorder(world.http)
    transport.bend = bend
    ada = Person(world, issuer, "ada", [])
    with pytest.raises(MalformedError):
        world.prove(manifest, tmp_path / "me", ask=ada, transport=transport)
    assert ada.asked == ["address", "mailed-code"]


@pytest.mark.parametrize("maxnumber", [10**9, 0, -1, "100"])
def test_an_issuer_that_asks_for_endless_work_is_left(
    world: Any, issuer: Any, tmp_path: Path, recorder: Any, maxnumber: object
) -> None:
    manifest = publish(world, "email", "email")

    def bend(url: str, answer: Answer) -> Answer:
        if not url.endswith("/sessions/challenge"):
            return answer
        value = json.loads(answer.body)
        value["work"]["maxnumber"] = maxnumber
        return Answer(200, json.dumps(value).encode(), answer.headers)

    transport = recorder(world.http)
    transport.bend = bend
    with pytest.raises(MalformedError):
        world.prove(manifest, tmp_path / "me", transport=transport)
