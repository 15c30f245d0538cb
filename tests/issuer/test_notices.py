from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

import manifests
from headcount_issuer.notices import MEDIA_TYPE, LedgerIntake
from headcount_spec.errors import NotFoundError, ProtocolError, UnavailableError
from headcount_spec.problem import problem
from headcount_spec.scope import Manifest

DAY_S = 86400


def issue(world, scope: Manifest, number: int, start: int = 0) -> None:
    row = next(row for row in world.issuer.scopes() if row.manifest == scope)
    for i in range(start, start + number):
        world.issuer._store.burn(row.number, [b"%032d" % i], b"message %d" % i)


def test_the_opening_is_the_first_notice(world):
    scope = world.open()
    (notice,) = world.ledger.taken[scope.scope_id]
    assert notice.statement.seq == 0
    assert notice.statement.body == {
        "issuer": "issuer.example",
        "token_key_id": scope.issuers[0].token_key_id.hex(),
    }
    world.open()
    assert len(world.ledger.taken[scope.scope_id]) == 1


def test_the_count_is_published_once_a_day_rounded_up(world):
    scope = world.open()
    today = manifests.OPENS
    world.issuer.publish_issuance()
    issue(world, scope, 17)
    world.issuer.publish_issuance()
    assert world.ledger.bodies(scope.scope_id, "issuance") == [{"day": today, "issued": 0}]
    world.clock.now += DAY_S
    for _ in range(3):
        world.issuer.publish_issuance()
    assert world.ledger.bodies(scope.scope_id, "issuance")[1:] == [{"day": today + 1, "issued": 32}]


def test_the_count_may_be_published_at_once_when_it_has_grown(world):
    scope = world.open()
    for number, start in ((16, 0), (1, 16), (1, 17)):
        issue(world, scope, number, start)
        world.issuer.publish_issuance(now=True)
    issued = [body["issued"] for body in world.ledger.bodies(scope.scope_id, "issuance")]
    assert issued == [16, 32]


def test_days_never_fall_when_the_clock_goes_back(world):
    scope = world.open()
    world.clock.now += DAY_S
    world.issuer.publish_issuance()
    world.clock.now -= DAY_S
    issue(world, scope, 1)
    world.issuer.publish_issuance()
    world.issuer.publish_issuance(now=True)
    days = [body["day"] for body in world.ledger.bodies(scope.scope_id, "issuance")]
    assert days == [manifests.OPENS + 1] * 2


def test_counts_are_published_until_the_last_pledge_may_be_counted(world):
    scope = world.open()
    for day in (manifests.CLOSES, scope.deadline_day, scope.deadline_day + 1, scope.deadline_day + 2):
        world.clock.now = day * DAY_S
        world.issuer.publish_issuance()
    days = [body["day"] for body in world.ledger.bodies(scope.scope_id, "issuance")]
    assert days == [manifests.CLOSES, scope.deadline_day, scope.deadline_day + 1]


def test_a_notice_that_was_not_taken_is_sent_again_unchanged(world):
    scope = world.open()
    seen: list[bytes] = []

    def lost(entry: bytes) -> None:
        seen.append(entry)
        raise UnavailableError("the ledger does not answer")

    world.ledger.fault = lost
    for _ in range(2):
        with pytest.raises(UnavailableError):
            world.issuer.publish_issuance()
    assert world.issuer.unsent_notices() == 1
    world.clock.now += DAY_S
    with pytest.raises(UnavailableError):
        world.issuer.publish_issuance()
    assert len(set(seen)) == 1
    world.ledger.fault = None
    world.restart()
    world.issuer.publish_issuance()
    assert world.issuer.unsent_notices() == 0
    assert [notice.statement.seq for notice in world.ledger.taken[scope.scope_id]] == [0, 1, 2]


def test_a_notice_that_was_taken_and_not_answered_is_sent_again(world):
    scope = world.open()
    world.ledger.fault = lambda entry: None
    taking = world.ledger.__class__.__call__

    class Forgetful:
        def __call__(self, entry: bytes) -> None:
            taking(world.ledger, entry)
            raise UnavailableError("the answer was lost")

    world.issuer._notices._send = Forgetful()
    with pytest.raises(UnavailableError):
        world.issuer.publish_issuance()
    world.issuer._notices._send = world.ledger
    world.issuer.publish_issuance()
    assert [notice.statement.seq for notice in world.ledger.taken[scope.scope_id]] == [0, 1]


def test_one_scope_that_fails_does_not_silence_the_others(world):
    first, second = world.open(0), world.open(1)

    def fault(entry: bytes) -> None:
        if first.scope_id.hex().encode() in entry:
            raise NotFoundError("no such scope")

    world.ledger.fault = fault
    with pytest.raises(NotFoundError):
        world.issuer.publish_issuance()
    assert world.ledger.bodies(second.scope_id, "issuance") == [{"day": manifests.OPENS, "issued": 0}]


def answering(status: int, body: bytes, seen: list[httpx.Request]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, content=body)

    return httpx.MockTransport(answer)


def test_an_entry_is_posted_as_what_it_is():
    seen: list[httpx.Request] = []
    LedgerIntake("http://ledger.example/log", answering(200, b"{}", seen))(b"entry")
    assert str(seen[0].url) == "http://ledger.example/log/entries"
    assert seen[0].headers["Content-Type"] == MEDIA_TYPE
    assert seen[0].read() == b"entry"


@pytest.mark.parametrize("error", [NotFoundError("no scope"), UnavailableError("full", 7)])
def test_a_refusal_is_the_error_that_the_ledger_names(error):
    answer = problem(error)
    with pytest.raises(type(error), match=str(error)):
        LedgerIntake("http://ledger.example", answering(answer.status, answer.body, []))(b"entry")


@pytest.mark.parametrize("status", [204, 301, 302, 400, 404, 500, 503])
def test_other_answers_are_errors_of_the_tree(status):
    with pytest.raises(ProtocolError):
        LedgerIntake("http://ledger.example", answering(status, b"x" * 10**6, []))(b"entry")


def test_a_ledger_that_is_not_there_is_unavailable():
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = server.server_port
    server.server_close()
    with pytest.raises(UnavailableError):
        LedgerIntake(f"http://127.0.0.1:{port}")(b"entry")


def test_the_running_issuer_publishes_by_itself(world, monkeypatch):
    scope = world.open()
    monkeypatch.setattr("headcount_issuer.issuer._ROUND_S", 0.01)
    taken = threading.Event()
    world.ledger.fault = lambda entry: taken.set()
    world.issuer.start()
    assert taken.wait(10)
    world.restart()
    assert len(world.ledger.bodies(scope.scope_id, "issuance")) == 1
