from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from headcount_issuer.work import LIFETIME_S, Work
from headcount_spec.altcha import WorkChallenge
from headcount_spec.errors import CodeRefusedError
from headcount_spec.members import Members


@pytest.fixture
def config(config):
    object.__setattr__(config.attesters["email"], "work", 200)
    return config


def ask(world, scope, attester="email"):
    question = {"scope": scope.scope_id.hex(), "attester": attester}
    return world.post("/sessions/challenge", question)


def begin(world, scope, work, address="ada@example.org"):
    evidence = {"address": address} | ({} if work is None else {"work": work})
    return world.post("/sessions", {"scope": scope.scope_id.hex(), "attester": "email", "evidence": evidence})


def solved(world, scope) -> str:
    answer = ask(world, scope)
    assert answer.status_code == 200
    return WorkChallenge.read(Members(answer.get_json()["work"], "work")).solve().to_text()


def test_a_mail_is_paid_for_by_work_once(world, problem_of):
    scope = world.open()
    work = solved(world, scope)
    for wrong in (None, WorkChallenge.make(bytes(32), bytes(16), 3, 9, 2**31).solve().to_text()):
        assert problem_of(begin(world, scope, wrong)) == (403, "code-refused")
    assert world.outbox.mails.empty()
    assert begin(world, scope, work).status_code == 201
    assert problem_of(begin(world, scope, work, "bob@example.org")) == (403, "code-refused")
    assert problem_of(begin(world, scope, "not base64")) == (400, "malformed")
    assert world.outbox.mails.qsize() == 1


def test_work_is_paid_for_late_or_known_and_unknown_alike(world, problem_of, person):
    scope = world.open()
    assert begin(world, scope, solved(world, scope)).status_code == 201
    bearer = begin(world, scope, solved(world, scope)).get_json()["session"]
    world.outbox.code()
    world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
    assert world.sign(bearer, person(scope, "ada").request).status_code == 200
    known = begin(world, scope, solved(world, scope))
    unknown = begin(world, scope, solved(world, scope), "new@example.org")
    assert [a.get_json() | {"session": ""} for a in (known, unknown)] == [
        {"session": "", "state": "pending", "expires_in_s": 600}
    ] * 2
    work = solved(world, scope)
    world.clock.now += LIFETIME_S
    assert problem_of(begin(world, scope, work)) == (403, "code-refused")


def test_other_evidence_costs_no_work(world):
    paper = world.open(1, level="in-person")
    assert ask(world, paper, "in-person").get_json() == {}


def test_a_solution_counts_once_however_many_send_it():
    work = Work(100)
    solution = work.challenge(0).solve()

    def take(_: int) -> bool:
        try:
            work.take(solution, 1)
        except CodeRefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(64))) == 1


def test_used_solutions_are_forgotten_when_they_have_expired():
    work = Work(10)
    for i in range(5):
        work.take(work.challenge(i).solve(), i)
    assert len(work._used) == 5
    work.take(work.challenge(2000).solve(), 2000)
    assert len(work._used) == 1
    assert work.challenge(0).salt != work.challenge(0).salt


def test_two_processes_take_each_others_for_nothing():
    with pytest.raises(CodeRefusedError):
        Work(10).take(Work(10).challenge(0).solve(), 0)
