from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.wrappers import Response

import fakes
import manifests
from asgi import AsgiClient, hot_client
from headcount_ledger.ledger import Ledger
from headcount_spec.entry import MEDIA_TYPE
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.promise import Promise, sign_promise
from headcount_verifier import Redeemer, VerifierConfig, create_app

SCOPE = manifests.manifest(2, options=manifests.options("Yes", "No"))
KEY = SigningKey("elsewhere.example/ledger", bytes(32))
ELSEWHERE = manifests.manifest(
    title=manifests.both("Elsewhere", "Ailleurs"),
    issuers=[manifests.issuer(0, token_key=2)],
    ledger={"origin": KEY.name, "key": KEY.verification_key.to_text()},
)
UNKNOWN = manifests.manifest(title=manifests.both("Unknown", "Inconnu"))


class InThisProcess:
    """A submitter without HTTP between verifier and ledger."""

    def __init__(self, ledger: Ledger, clock: fakes.FakeClock) -> None:
        self.ledger = ledger
        self.clock = clock

    def submit(self, data: bytes) -> bytes:
        if data[2:34] == ELSEWHERE.scope_id:
            pledge = manifests.pledge(ELSEWHERE, 1)
            hash = leaf_hash(data)
            return sign_promise(KEY, hash, 1, pledge.nullifier, 0, ELSEWHERE.deadline_day).to_bytes()
        promise = self.ledger.accept(data, self.clock() // 86400)
        assert isinstance(promise, Promise)
        return promise.to_bytes()


@dataclass
class World:
    flask: FlaskClient
    hot: AsgiClient
    clock: fakes.FakeClock
    ledger: Ledger


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with fakes.new_ledger(tmp_path_factory.mktemp("ledger")) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        clock = fakes.FakeClock()
        scopes = {scope.scope_id: scope for scope in (SCOPE, ELSEWHERE)}
        redeemer = Redeemer(scopes, InThisProcess(ledger, clock), lambda: clock() // 86400)
        app = create_app(VerifierConfig("http://localhost:8000/ledger"), redeemer)
        with hot_client(ledger, clock, redeemer) as hot:
            yield World(app.test_client(), hot, clock, ledger)


def pledge(i: int = 1, **changes: Any) -> bytes:
    return dataclasses.replace(manifests.pledge(SCOPE, i, choice=1), **changes).to_bytes()


# body, headers, day
Case = tuple[bytes, dict[str, str], int]
ENTRY = {"Content-Type": MEDIA_TYPE}
DAY = fakes.DAY
CASES: dict[str, Case] = {
    "valid": (pledge(), ENTRY, DAY),
    "the-same-again": (pledge(), ENTRY, DAY),
    "of-an-allowed-origin": (pledge(), {**ENTRY, "Origin": "http://localhost:8000"}, DAY),
    "of-a-foreign-origin": (pledge(), {**ENTRY, "Origin": "https://phishing.example"}, DAY),
    "of-origin-null": (pledge(), {**ENTRY, "Origin": "null"}, DAY),
    "after-closing-and-accepted": (pledge(), ENTRY, manifests.CLOSES + 1),
    "after-closing-and-new": (pledge(2), ENTRY, manifests.CLOSES + 1),
    "long-after": (pledge(), ENTRY, SCOPE.deadline_day + 1),
    "before-opening": (pledge(3), ENTRY, manifests.OPENS - 1),
    "altered-choice": (pledge(choice=2), ENTRY, DAY),
    "choice-of-no-option": (pledge(choice=3), ENTRY, DAY),
    "small-order-revision-key": (pledge(revision_key=bytes(32)), ENTRY, DAY),
    "one-authenticator": (pledge(authenticators=(bytes(256),)), ENTRY, DAY),
    "of-an-unknown-scope": (manifests.pledge(UNKNOWN, 1).to_bytes(), ENTRY, DAY),
    "of-a-scope-of-another-ledger": (manifests.pledge(ELSEWHERE, 1).to_bytes(), ENTRY, DAY),
    "empty": (b"", ENTRY, DAY),
    "junk": (b"junk", ENTRY, DAY),
    "trailing-byte": (pledge() + b"\0", ENTRY, DAY),
    "a-revision": (manifests.revision(manifests.pledge(SCOPE, 1, choice=1), 1).to_bytes(), ENTRY, DAY),
    "too-long": (bytes(2150), ENTRY, DAY),
    "as-long-as-can-be": (bytes(2149), ENTRY, DAY),
    "without-a-type": (pledge(), {}, DAY),
    "of-another-type": (pledge(), {"Content-Type": "application/json"}, DAY),
    "with-a-charset": (pledge(), {"Content-Type": MEDIA_TYPE + "; charset=utf-8"}, DAY),
    "in-capitals": (pledge(), {"Content-Type": MEDIA_TYPE.upper()}, DAY),
    "encoded": (pledge(), {**ENTRY, "Content-Encoding": "gzip"}, DAY),
}


def sent(answer: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_hot_route_answers_as_the_blueprint(world: World, name: str) -> None:
    body, headers, day = CASES[name]
    world.clock.set_day(day)
    hot = world.hot.post("/pledges", data=body, headers=headers)
    flask = world.flask.post("/pledges", data=body, headers=headers)
    world.clock.set_day(DAY)
    assert hot.status_code == flask.status_code
    assert hot.data == flask.data
    assert sent(hot) == sent(flask)


def test_the_cases_are_accepted_and_refused_in_every_way(world: World) -> None:
    statuses = set()
    for body, headers, day in CASES.values():
        world.clock.set_day(day)
        statuses.add(world.hot.post("/pledges", data=body, headers=headers).status_code)
    world.clock.set_day(DAY)
    assert statuses == {200, 400, 401, 403, 413, 415}
    assert world.ledger.waiting() == 1


def test_a_verified_pledge_is_not_verified_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from headcount_engine import rsa

    calls = []
    verify = rsa.verify
    monkeypatch.setattr(rsa, "verify", lambda *given: (calls.append(given), verify(*given)))
    assert world.hot.post("/pledges", data=pledge(7), headers=ENTRY).status_code == 200
    assert len(calls) == 2  # one for each issuer


def test_a_client_that_goes_away_is_no_error(world: World, caplog: pytest.LogCaptureFixture) -> None:
    answer = world.hot.post("/pledges", data=b"", headers={**ENTRY, "Content-Length": "357"})
    assert answer.status_code == 400
    assert caplog.records == []


def test_everything_else_is_flasks(world: World) -> None:
    assert world.hot.get("/ledger/checkpoint").data == world.ledger.storage.read("checkpoint")
    assert world.hot.get("/ledger/entries").status_code == 405
    head = world.hot.head("/ledger/checkpoint")
    assert (head.status_code, head.data) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(world.ledger.storage.read("checkpoint"))
    assert world.hot.post("/nothing", data=bytes(1 << 17)).status_code == 413


def test_a_writer_that_does_not_run_is_answered_503(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        clock = fakes.FakeClock()
        redeemer = Redeemer({SCOPE.scope_id: SCOPE}, InThisProcess(ledger, clock), lambda: DAY)
        with hot_client(ledger, clock, redeemer) as hot:
            ledger.config.socket.unlink()
            answer = hot.post("/pledges", data=pledge(), headers=ENTRY)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert ledger.waiting() == 0
