from __future__ import annotations

import itertools
import secrets

import pytest

from headcount_issuer.attester import Proof, Share
from headcount_issuer.attesters.combination import Combination
from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.keys import make_tag
from headcount_issuer.store import Store
from headcount_spec.errors import AlreadyIssuedError, NotEligibleError
from headcount_spec.level import Level

BOTH = "email+in-person"


@pytest.fixture
def paper(world):
    scope = world.open(level=BOTH)
    _, codes = world.issuer.make_codes(scope.scope_id, 6)
    return scope, [format_code(code) for code in codes]


def slip(world, scope, code, bearer=None):
    evidence = {"attester": "in-person", "evidence": {"code": code}}
    if bearer is not None:
        return world.post("/sessions/next", evidence, bearer)
    return world.post("/sessions", {"scope": scope.scope_id.hex(), **evidence})


def mail(world, scope, address, bearer):
    question = {"attester": "email", "evidence": {"address": address}}
    assert world.post("/sessions/next", question, bearer).get_json() == {"state": "pending"}
    return world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)


def test_both_proofs_are_collected_in_one_session_in_either_order(world, person, paper, problem_of):
    scope, codes = paper
    begun = slip(world, scope, codes[0]).get_json()
    assert (begun["state"], begun["wanted"]) == ("partial", ["email"])
    bearer = begun["session"]
    ada = person(scope, "ada")
    assert problem_of(world.sign(bearer, ada.request)) == (403, "not-eligible")
    assert problem_of(slip(world, scope, codes[1], bearer)) == (403, "not-eligible")
    assert mail(world, scope, "ada@example.org", bearer).get_json() == {"state": "proved"}
    ada.finalize(world.sign(bearer, ada.request).get_data())

    bearer = world.begin(scope, "bob@example.org").get_json()["session"]
    proved = world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
    assert proved.get_json() == {"state": "partial", "wanted": ["in-person"]}
    assert slip(world, scope, codes[1], bearer).get_json() == {"state": "proved"}
    assert world.sign(bearer, person(scope, "bob").request).status_code == 200


def test_one_evidence_that_is_used_already_refuses_and_burns_nothing(world, person, paper, problem_of):
    scope, codes = paper

    def proved(code, address):
        bearer = slip(world, scope, code).get_json()["session"]
        assert mail(world, scope, address, bearer).status_code == 200
        return bearer

    assert world.sign(proved(codes[0], "ada@example.org"), person(scope, "a").request).status_code == 200
    for code, address in [(codes[0], "new@example.org"), (codes[1], "ada@example.org")]:
        answer = world.sign(proved(code, address), person(scope, f"other {code}").request)
        assert problem_of(answer) == (409, "already-issued")
    fresh = proved(codes[1], "new@example.org")
    assert world.sign(fresh, person(scope, "b").request).status_code == 200


def test_a_wrong_second_proof_can_be_tried_again_and_the_first_is_kept(world, paper, problem_of):
    scope, codes = paper
    bearer = slip(world, scope, codes[0]).get_json()["session"]
    question = {"attester": "email", "evidence": {"address": "ada@example.org"}}
    world.post("/sessions/next", question, bearer)
    world.outbox.code()
    assert problem_of(world.post("/sessions/evidence", {"code": "x"}, bearer)) == (403, "code-refused")
    assert mail(world, scope, "ada@example.org", bearer).get_json() == {"state": "proved"}
    assert problem_of(world.post("/sessions/next", question, bearer)) == (403, "not-eligible")


@pytest.mark.parametrize("name", ["oidc", "nonsense"])
def test_an_evidence_that_is_not_asked_for_is_refused(world, paper, problem_of, name):
    scope, codes = paper
    bearer = slip(world, scope, codes[0]).get_json()["session"]
    answer = world.post("/sessions/next", {"attester": name, "evidence": {}}, bearer)
    assert problem_of(answer) == (403, "not-eligible")


THREE = ("email", "oidc", "device")


def proof(name: str, whose: str) -> Proof:
    return Proof(name, (f"{name}\0{whose}".encode(),))


def combine(level: str, *proofs: Proof) -> Proof:
    combination = Combination(Level.from_text(level), Level.from_text(level).parts)
    for one in proofs:
        combination.add(one)
    assert combination.wanted == ()
    return combination.proof()


def tokens(store: Store, wishes: list[Proof]) -> int:
    key, granted = secrets.token_bytes(32), 0
    for wish in wishes:
        try:
            store.burn(1, [make_tag(key, value) for value in wish.inputs], secrets.token_bytes(256))
            granted += 1
        except AlreadyIssuedError:
            pass
    return granted


@pytest.fixture
def store(world):
    world.open()
    return world.issuer._store


def test_any_two_of_three_give_one_person_one_token(store):
    level = "2-of:email,oidc,device"
    for order in itertools.permutations(itertools.combinations(THREE, 2)):
        wishes = [combine(level, *(proof(name, f"ada {order}") for name in pair)) for pair in order]
        assert tokens(store, wishes) == 1


def test_two_people_who_share_get_three_tokens_of_two_of_three_and_never_more(store):
    level = "2-of:email,oidc,device"
    everything = [proof(name, whose) for name in THREE for whose in ("ada", "bob")]
    wishes = [
        combine(level, one, other)
        for one, other in itertools.combinations(everything, 2)
        if one.proves != other.proves
    ]
    best = max(
        tokens(store, [Proof(p.proves, tuple(b"%d " % i + v for v in p.inputs)) for p in order])
        for i, order in enumerate(itertools.islice(itertools.permutations(wishes, 3), 600))
    )
    assert best == 3  # ⌊2 people · 3 pieces / 2⌋: which is why the linter warns of a choice


def test_two_people_who_share_get_two_tokens_when_all_three_are_asked(store):
    level = "email+oidc+device"
    wishes = [
        combine(level, *(proof(name, whose) for name, whose in zip(THREE, owners, strict=True)))
        for owners in itertools.product(("ada", "bob"), repeat=3)
    ]
    for i, order in enumerate(itertools.islice(itertools.permutations(wishes), 0, 40000, 997)):
        renamed = [Proof(p.proves, tuple(b"%d " % i + v for v in p.inputs)) for p in order]
        assert tokens(store, renamed) <= 2


def test_the_same_evidence_twice_is_one_evidence():
    combination = Combination(Level.from_text("2-of:email,oidc,device"), THREE)
    combination.add(proof("email", "ada"))
    assert combination.wanted == ("oidc", "device")
    with pytest.raises(NotEligibleError):
        combination.add(proof("email", "ada's other address"))


def test_a_quota_of_one_part_holds_for_the_whole():
    share = Share(b"email domain\0example.org", 7)
    both = combine("email+device", Proof("email", (b"a",), share), Proof("device", (b"b",)))
    assert both == Proof("email+device", (b"a", b"b"), share)
