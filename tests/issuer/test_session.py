from __future__ import annotations

import pytest

from headcount_issuer.attesters.combination import Combination
from headcount_issuer.session import Session, Sessions
from headcount_spec.errors import NotEligibleError, UnavailableError
from headcount_spec.level import Level
from headcount_spec.scope import ScopeId


class Clock:
    now = 1000

    def __call__(self) -> int:
        return self.now


def session() -> Session:
    combination = Combination(Level.from_text("email"), ["email"])
    return Session(ScopeId(bytes(32)), "http://localhost:8000", "/", combination, attester="email")


@pytest.fixture
def clock():
    return Clock()


def test_bearers_are_long_and_kept_only_as_hashes(clock):
    sessions = Sessions(clock, 600, 10)
    bearers = {sessions.open(session()) for _ in range(10)}
    assert len(bearers) == 10
    assert {len(bearer) for bearer in bearers} == {43}
    assert not bearers & set(map(str, sessions._sessions))


def test_a_session_ends_after_its_lifetime_and_is_forgotten(clock):
    sessions = Sessions(clock, 600, 10)
    bearer = sessions.open(session())
    clock.now += 599
    assert sessions.get(bearer).attester == "email"
    clock.now += 1
    with pytest.raises(NotEligibleError):
        sessions.get(bearer)
    sessions.purge()
    assert sessions._sessions == {}


def test_an_old_session_is_forgotten_when_new_ones_come(clock):
    sessions = Sessions(clock, 600, 10)
    sessions.open(session())
    clock.now += 601
    sessions.open(session())
    assert len(sessions._sessions) == 1


def test_too_many_sessions_are_refused_until_some_have_ended(clock):
    sessions = Sessions(clock, 600, 3)
    for _ in range(3):
        sessions.open(session())
    with pytest.raises(UnavailableError) as refused:
        sessions.check_room()
    assert refused.value.retry_after_s > 0
    with pytest.raises(UnavailableError):
        sessions.open(session())
    clock.now += 600
    sessions.open(session())


@pytest.mark.parametrize("bearer", ["", "x", "é", "\udcff", "x" * 10000])
def test_a_foreign_bearer_finds_nothing(clock, bearer):
    with pytest.raises(NotEligibleError):
        Sessions(clock, 600, 3).get(bearer)


def test_a_session_does_not_show_whom_it_is_about():
    one = session()
    one.tags = (b"t" * 32,)
    assert "tttt" not in repr(one)


def test_a_full_issuer_answers_503_and_sends_no_mail(world, problem_of):
    world.issuer.close()
    object.__setattr__(world.config, "max_sessions", 2)
    world.start()
    scope = world.open()
    for i in range(2):
        assert world.begin(scope, f"a{i}@example.org").status_code == 201
    answer = world.begin(scope, "b@example.org")
    assert problem_of(answer) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert world.outbox.mails.qsize() == 2
