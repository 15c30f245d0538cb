from __future__ import annotations

import pytest

from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.attesters.passkey import PasskeyConfig
from headcount_issuer.config import IssuerConfig
from headcount_spec.errors import NotEligibleError
from passkeys import Browser, begin, by_page, code_of, remember

BACK = {"returning": ["passkey"]}


@pytest.fixture
def config(config: IssuerConfig) -> IssuerConfig:
    object.__setattr__(config, "attesters", {**config.attesters, "passkey": PasskeyConfig()})
    return config


def child_of(world, parent, i, **changes):
    terms = {"kind": "round", "parent": parent.scope_id.hex(), "eligible": "parent-token-holders"}
    return world.open(i, **terms, **changes)


def slip(world, scope, code, attester="in-person"):
    question = {"scope": scope.scope_id.hex(), "attester": attester, "evidence": {"code": format_code(code)}}
    return world.post("/sessions", question)


def test_the_token_counts_and_not_the_proof(world, person, problem_of):
    parent = world.open(0)
    child = child_of(world, parent, 1)
    # Ada proved herself for the parent and never asked for its token.
    world.prove(parent, "ada@example.org")
    bearer = world.begin(child, "ada@example.org").get_json()["session"]
    answer = world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
    assert problem_of(answer) == (403, "not-eligible")
    assert world.sign(world.prove(parent, "ada@example.org"), person(parent, "a").request).status_code == 200
    assert (
        world.sign(world.prove(child, "ada@example.org"), person(child, "a", key=1).request).status_code
        == 200
    )


def test_a_grandchild_asks_for_the_token_of_its_own_parent(world, person, problem_of):
    parent = world.open(0)
    child = child_of(world, parent, 1)
    grandchild = child_of(world, child, 2)
    world.sign(world.prove(parent, "ada@example.org"), person(parent, "a").request)
    bearer = world.begin(grandchild, "ada@example.org").get_json()["session"]
    answer = world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
    assert problem_of(answer) == (403, "not-eligible")
    world.sign(world.prove(child, "ada@example.org"), person(child, "a", key=1).request)
    bearer = world.prove(grandchild, "ada@example.org")
    assert world.sign(bearer, person(grandchild, "a", key=2).request).status_code == 200


def test_who_comes_back_by_passkey_holds_the_parents_token(world, person, problem_of):
    parent = world.open(0, terms=BACK)
    child = child_of(world, parent, 1, terms=BACK)
    ada, eve = Browser(world), Browser(world)
    proved = world.prove(parent, "ada@example.org")
    assert world.sign(proved, person(parent, "a").request).status_code == 200
    remember(world, proved, ada)
    remember(world, world.prove(parent, "eve@example.org"), eve)  # an account, and no token of the parent
    bearer = by_page(world, child, ada, "passkey")
    assert world.sign(bearer, person(child, "a", key=1).request).status_code == 200
    session, page = begin(world, child, "passkey")
    answer = world.post("/sessions/evidence", {"code": code_of(eve.go(page))}, session)
    assert problem_of(answer) == (403, "not-eligible")


def test_a_slip_of_the_parent_is_shown_again(world, person, problem_of):
    parent = world.open(0, level="in-person")
    child = child_of(world, parent, 1, level="in-person")
    other = world.open(2, level="in-person")
    _, (used, unused) = world.issuer.make_codes(parent.scope_id, 2)
    _, (foreign,) = world.issuer.make_codes(other.scope_id, 1)
    world.sign(slip(world, parent, used).get_json()["session"], person(parent, "a").request)
    bearer = slip(world, child, used).get_json()["session"]
    assert world.sign(bearer, person(child, "a", key=1).request).status_code == 200
    assert problem_of(slip(world, child, unused)) == (403, "not-eligible")
    assert problem_of(slip(world, child, foreign)) == (403, "code-refused")
    with pytest.raises(NotEligibleError, match="parent"):
        world.issuer.make_codes(child.scope_id, 1)


def test_a_round_of_another_level_than_its_parents_is_not_opened(world):
    parent = world.open(0)
    with pytest.raises(NotEligibleError, match="another level"):
        child_of(world, parent, 1, level="in-person")
