from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

import fakes
import keys
import manifests
from fakes import DAY
from headcount_ledger.ledger import Ledger
from headcount_spec.pledge import Pledge
from headcount_spec.promise import Promise
from headcount_verifier import Redeemer, VerifierConfig, create_app

ENTRY = "application/vnd.headcount.entry"
TWO = manifests.manifest(2, options=manifests.options("Yes", "No"))
STRANGE = manifests.manifest(title=manifests.both("Strange", "Étrange"))
PLEDGE = manifests.pledge(TWO, 0, choice=1)  # accepted
FRESH = manifests.pledge(TWO, 1, choice=1)
IDENTITY = b"\x01" + bytes(31)
SMALL_ORDER = bytes(32)  # of order 4


@dataclass
class World:
    ledger: Ledger
    client: FlaskClient
    day: int

    def submit(self, data: bytes) -> bytes:
        answer = self.ledger.accept(data, self.day)
        assert isinstance(answer, Promise)
        return answer.to_bytes()

    def kept(self) -> object:
        return fakes.tables(self.ledger), fakes.published(self.ledger)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with fakes.new_ledger(tmp_path_factory.mktemp("ledger")) as ledger:
        fakes.open_scopes(ledger, TWO)
        made = World(ledger, None, DAY)  # type: ignore[arg-type]
        redeemer = Redeemer({TWO.scope_id: TWO}, made, lambda: made.day)
        made.client = create_app(VerifierConfig("http://localhost:8000/ledger"), redeemer).test_client()
        made.submit(PLEDGE.to_bytes())
        yield made


def signed(pledge: Pledge, sign: Callable[[int, bytes], bytes]) -> bytes:
    messages = TWO.token_inputs(pledge.nullifier)
    authenticators = tuple(sign(i, message) for i, message in enumerate(messages))
    return dataclasses.replace(pledge, authenticators=authenticators).to_bytes()


def salted(length: int) -> bytes:
    return signed(FRESH, lambda i, m: keys.sign_pss(keys.token_key(i), m, bytes(length)))


def fresh(**changes: object) -> bytes:
    return dataclasses.replace(FRESH, **changes).to_bytes()  # type: ignore[arg-type]


def revise(serial: int = 1, **changes: object) -> bytes:
    revision = manifests.revision(PLEDGE, 0, serial, 2)
    return dataclasses.replace(revision, **changes).to_bytes()  # type: ignore[arg-type]


PLEDGES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 400, "malformed"),
    "unknown type": (lambda: b"\x05" + fresh()[1:], 400, "malformed"),
    "unknown version": (lambda: b"\x01\x02" + fresh()[2:], 400, "malformed"),
    "truncated": (lambda: fresh()[:-1], 400, "malformed"),
    "trailing byte": (lambda: fresh() + b"\0", 400, "malformed"),
    "too large": (lambda: bytes(2150), 413, "too-large"),
    "a revision": (revise, 400, "malformed"),
    "a notice": (lambda: manifests.opening(TWO).to_bytes(), 400, "malformed"),
    "wrong scope": (lambda: manifests.pledge(STRANGE, 1).to_bytes(), 403, "not-eligible"),
    "no authenticator": (lambda: fresh(authenticators=()), 400, "malformed"),
    "one authenticator missing": (
        lambda: fresh(authenticators=FRESH.authenticators[:1]),
        400,
        "malformed",
    ),
    "one authenticator too many": (
        lambda: fresh(authenticators=(*FRESH.authenticators, FRESH.authenticators[0])),
        400,
        "malformed",
    ),
    "nine authenticators": (
        lambda: fresh(authenticators=FRESH.authenticators[:1] * 9),
        413,
        "too-large",
    ),
    "swapped authenticators": (
        lambda: fresh(authenticators=FRESH.authenticators[::-1]),
        401,
        "bad-signature",
    ),
    "authenticator of another pledge": (
        lambda: fresh(authenticators=PLEDGE.authenticators),
        401,
        "bad-signature",
    ),
    "authenticator of another key": (
        lambda: signed(FRESH, lambda i, m: keys.sign_pss(keys.token_key(i + 2), m)),
        401,
        "bad-signature",
    ),
    "salt of 0 bytes": (lambda: salted(0), 401, "bad-signature"),
    "salt of 32 bytes": (lambda: salted(32), 401, "bad-signature"),
    "salt of 47 bytes": (lambda: salted(47), 401, "bad-signature"),
    "salt of 49 bytes": (lambda: salted(49), 401, "bad-signature"),
    "other choice": (lambda: fresh(choice=2), 401, "bad-signature"),
    "choice of no option": (lambda: fresh(choice=3), 400, "malformed"),
    "sealed hash": (lambda: fresh(sealed_hash=b"\1" * 32), 400, "malformed"),
    "other revision key": (lambda: fresh(revision_key=IDENTITY), 401, "bad-signature"),
}
REVISIONS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 400, "malformed"),
    "truncated": (lambda: revise()[:-1], 400, "malformed"),
    "trailing byte": (lambda: revise() + b"\0", 413, "too-large"),
    "unknown version": (lambda: b"\x03\x02" + revise()[2:], 400, "malformed"),
    "a pledge": (lambda: fresh()[:168], 400, "malformed"),
    "wrong scope": (lambda: revise(scope_id=STRANGE.scope_id), 403, "not-eligible"),
    "no such pledge": (lambda: revise(nullifier=bytes(32)), 404, "not-found"),
    "serial 0": (lambda: revise(serial=0), 400, "malformed"),
    "serial that skips": (lambda: revise(serial=2), 409, "revision-conflict"),
    "serial 17": (lambda: revise(serial=17), 400, "malformed"),
    "choice of no option": (lambda: revise(choice=3), 400, "malformed"),
    "sealed hash": (lambda: revise(sealed_hash=b"\1" * 32), 400, "malformed"),
    "another key": (lambda: manifests.revision(PLEDGE, 1, 1, 2).to_bytes(), 401, "bad-signature"),
    "identity and zero": (lambda: revise(signature=IDENTITY + bytes(32)), 401, "bad-signature"),
    "R of small order": (lambda: revise(signature=SMALL_ORDER + revise()[136:]), 401, "bad-signature"),
}
CASES = [("/pledges", name) for name in PLEDGES] + [("/revisions", name) for name in REVISIONS]


@pytest.mark.parametrize(("path", "name"), CASES)
def test_bad_input_is_answered_by_name_and_changes_nothing(world: World, path: str, name: str) -> None:
    make, status, code = (PLEDGES if path == "/pledges" else REVISIONS)[name]
    body, before = make(), world.kept()
    answer = world.client.post(path, data=body, content_type=ENTRY)
    assert answer.content_type == "application/problem+json"
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert world.kept() == before


@pytest.mark.parametrize("path", ["/pledges", "/revisions"])
@pytest.mark.parametrize("day", [manifests.OPENS - 1, TWO.closes + 1, TWO.deadline_day + 1])
def test_a_closed_scope_takes_nothing(world: World, path: str, day: int) -> None:
    body, before = fresh() if path == "/pledges" else revise(), world.kept()
    world.day = day
    answer = world.client.post(path, data=body, content_type=ENTRY)
    world.day = DAY
    assert (answer.status_code, answer.get_json()["code"]) == (403, "closed-scope")
    assert world.kept() == before


@pytest.mark.parametrize("path", ["/pledges", "/revisions"])
@pytest.mark.parametrize("content_type", ["", "application/octet-stream", ENTRY + "; charset=utf-8"])
def test_another_content_type_changes_nothing(world: World, path: str, content_type: str) -> None:
    body, before = fresh() if path == "/pledges" else revise(), world.kept()
    answer = world.client.post(path, data=body, content_type=content_type)
    assert (answer.status_code, answer.get_json()["code"]) == (415, "wrong-type")
    assert world.kept() == before


def test_what_is_refused_in_any_other_form_is_accepted_in_its_own(world: World) -> None:
    for path, body in (("/pledges", fresh()), ("/revisions", revise())):
        assert world.client.post(path, data=body, content_type=ENTRY).status_code == 200
