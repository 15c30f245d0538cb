from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import keys
import manifests
from headcount_engine.key_processes import ProcessKey
from headcount_issuer.app import create_app
from headcount_spec import blind_rsa
from headcount_spec.errors import AlreadyIssuedError, CorruptionError, ProtocolError
from headcount_spec.token import TokenRequest

DAY_S = 86400


def issued(world) -> int:
    return sum(row.issued for row in world.issuer.scopes())


def test_a_token_is_issued_end_to_end(world, person):
    scope = world.open()
    someone = person(scope, "a")
    answer = world.sign(world.prove(scope, "ada@example.org"), someone.request)
    assert answer.status_code == 200
    assert answer.content_type == "application/private-token-response"
    authenticator = someone.finalize(answer.get_data())
    blind_rsa.verify(keys.token_key(0).public, someone.token_input, authenticator)


def test_the_same_message_gets_the_same_answer_and_another_none(world, person, problem_of):
    scope = world.open()
    one, other = person(scope, "a"), person(scope, "a", choice=1)
    bearer = world.prove(scope, "ada@example.org")
    first = world.sign(bearer, one.request)
    assert world.sign(bearer, one.request).get_data() == first.get_data()
    assert problem_of(world.sign(bearer, other.request)) == (409, "already-issued")
    later = world.prove(scope, "Ada+again@Example.org")
    assert world.sign(later, one.request).get_data() == first.get_data()
    assert problem_of(world.sign(later, other.request)) == (409, "already-issued")
    assert issued(world) == 1


def test_the_answer_survives_a_restart(world, person):
    scope = world.open()
    one = person(scope, "a")
    first = world.sign(world.prove(scope, "ada@example.org"), one.request).get_data()
    world.restart()
    assert world.sign(world.prove(scope, "ada@example.org"), one.request).get_data() == first


def test_a_key_that_fails_uses_nothing_up(world, person, problem_of, monkeypatch):
    scope = world.open()
    one, other = person(scope, "a"), person(scope, "a", choice=1)
    bearer = world.prove(scope, "ada@example.org")

    def faulty(key, blinded_msgs):
        return [CorruptionError("signing failure") for _ in blinded_msgs]

    with monkeypatch.context() as patch:
        patch.setattr(ProcessKey, "blind_sign", faulty)
        assert problem_of(world.sign(bearer, one.request)) == (500, "corruption")
    assert issued(world) == 0
    other.finalize(world.sign(bearer, other.request).get_data())
    assert problem_of(world.sign(bearer, one.request)) == (409, "already-issued")


def test_the_key_does_not_work_for_who_has_a_token_for_another_message(world, person, monkeypatch):
    scope = world.open()
    bearer = world.prove(scope, "ada@example.org")
    assert world.sign(bearer, person(scope, "a").request).status_code == 200
    signed = []
    monkeypatch.setattr(ProcessKey, "blind_sign", lambda key, blinded_msgs: signed.append(blinded_msgs))
    for choice in range(1, 5):
        assert world.sign(bearer, person(scope, "a", choice=choice).request).status_code == 409
    assert signed == []


def test_two_hundred_requests_of_one_person_get_one_token(world):
    scope = world.open()
    bearers = [world.prove(scope, "ada@example.org") for _ in range(4)]
    key = keys.token_key(0).public
    short_id = scope.issuers[0].token_key_id[-1]
    requests = [
        TokenRequest(short_id, secrets.randbelow(key.n - 3).__add__(2).to_bytes(256, "big")).to_bytes()
        for _ in range(200)
    ]
    start = threading.Barrier(16)

    def ask(i: int) -> bytes | None:
        if i < 16:
            start.wait()
        try:
            return world.issuer.issuance.sign(bearers[i % 4], requests[i], None).blind_sig
        except AlreadyIssuedError:
            return None

    with ThreadPoolExecutor(16) as threads:
        answers = [answer for answer in threads.map(ask, range(200)) if answer is not None]
    assert len(answers) == 1
    assert issued(world) == 1


def test_two_pledges_racing_for_one_person_make_one_token(world, person):
    scope = world.open()
    pledges = [person(scope, "a", choice=choice) for choice in (1, 2)]
    bearers = [world.prove(scope, "ada@example.org") for _ in range(2)]
    apps = [create_app(world.issuer).test_client() for _ in range(2)]
    start = threading.Barrier(2)

    def ask(i: int) -> int:
        start.wait()
        headers = {"Authorization": f"Bearer {bearers[i]}"}
        content_type = "application/private-token-request"
        return (
            apps[i]
            .post("/token-request", data=pledges[i].request, content_type=content_type, headers=headers)
            .status_code
        )

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(ask, range(2))) == [200, 409]
    assert issued(world) == 1


def unusable(n: int, p: int) -> list[tuple[str, bytes]]:
    def spell(m: int) -> bytes:
        return m.to_bytes(256, "big")

    good = (1 << 2000).to_bytes(256, "big")
    return [
        ("0", spell(0)),
        ("1", spell(1)),
        ("n - 1", spell(n - 1)),
        ("n", spell(n)),
        ("n + 2", spell(n + 2)),
        ("all ones", b"\xff" * 256),
        ("a factor of n", spell(p)),
        ("255 bytes", good[1:]),
        ("257 bytes", good + b"\0"),
        ("nothing", b""),
    ]


@pytest.mark.parametrize("case", range(10))
def test_an_unusable_blinded_message_is_refused_and_costs_nothing(world, person, problem_of, case):
    scope = world.open()
    bearer = world.prove(scope, "ada@example.org")
    private = keys.token_key(0)
    _, blinded_msg = unusable(private.n, private.p)[case]
    head = b"\x00\x02" + scope.issuers[0].token_key_id[-1:]
    assert problem_of(world.sign(bearer, head + blinded_msg)) == (400, "malformed")
    assert issued(world) == 0
    assert world.sign(bearer, person(scope, "a").request).status_code == 200


def test_the_type_and_the_key_of_the_request_are_checked(world, person, problem_of):
    scope = world.open()
    bearer = world.prove(scope, "ada@example.org")
    good = person(scope, "a").request
    assert problem_of(world.sign(bearer, b"\x00\x01" + good[2:])) == (400, "malformed")
    assert problem_of(world.sign(bearer, good[:2] + bytes([good[2] ^ 1]) + good[3:])) == (400, "malformed")
    assert issued(world) == 0


def test_a_session_of_one_scope_signs_in_no_other(world, person, problem_of):
    scope, other = world.open(0), world.open(1)
    bearer = world.prove(scope, "ada@example.org")
    request = person(other, "a", key=1).request
    if request[2] == scope.issuers[0].token_key_id[-1]:
        pytest.fail("the two test keys share the last byte of their ids")
    assert problem_of(world.sign(bearer, request)) == (400, "malformed")


def test_nothing_is_signed_before_the_ledger_has_the_opening(world, problem_of):
    def refuse(entry: bytes) -> None:
        raise ProtocolError("down")

    world.ledger.fault = refuse
    with pytest.raises(ProtocolError):
        world.open()
    scope = world.manifest()
    assert problem_of(world.begin(scope, "ada@example.org")) == (404, "not-found")
    assert b'"token-keys":[]' in world.http.get("/.well-known/private-token-issuer-directory").get_data()
    world.ledger.fault = None
    world.open()
    assert world.begin(scope, "ada@example.org").status_code == 201


def test_a_scope_is_signed_for_from_its_first_to_its_last_day(world, person, problem_of):
    scope = world.open()
    bearer = world.prove(scope, "ada@example.org")
    request = person(scope, "a").request
    for day in (manifests.OPENS - 1, manifests.CLOSES + 1):
        world.clock.now = day * DAY_S + 5
        assert problem_of(world.begin(scope, "bob@example.org")) == (403, "closed-scope")
    world.clock.now = (manifests.CLOSES + 1) * DAY_S - 300
    bearer = world.prove(scope, "ada@example.org")
    world.clock.now += 301
    assert problem_of(world.sign(bearer, request)) == (403, "closed-scope")
    world.clock.now -= 2
    assert world.sign(bearer, request).status_code == 200


def test_a_scope_that_is_opened_while_the_issuer_runs_is_served(world, config, person):
    from headcount_issuer.issuer import Issuer

    first = world.open(0)
    assert world.begin(first, "ada@example.org").status_code == 201
    running, running_http = world.issuer, world.http
    world.issuer = Issuer.open(config, world.clock, world.ledger)
    second = world.open(1)
    world.issuer.close()
    world.issuer, world.http = running, running_http
    while not world.outbox.mails.empty():
        world.outbox.mails.get()
    someone = person(second, "a", key=1)
    someone.finalize(world.sign(world.prove(second, "ada@example.org"), someone.request).get_data(), key=1)
    assert b'"token-type"' in world.http.get("/.well-known/private-token-issuer-directory").get_data()


def test_only_holders_of_the_parents_token_take_part_in_its_rounds(world, person, problem_of):
    parent = world.open(0)
    child = world.open(1, kind="round", parent=parent.scope_id.hex(), eligible="parent-token-holders")
    world.sign(world.prove(parent, "ada@example.org"), person(parent, "a").request)
    bearer = world.prove(child, "ada@example.org")
    assert world.sign(bearer, person(child, "a", key=1).request).status_code == 200
    stranger = world.begin(child, "eve@example.org").get_json()["session"]
    answer = world.post("/sessions/evidence", {"code": world.outbox.code()}, stranger)
    assert problem_of(answer) == (403, "not-eligible")
    assert problem_of(world.sign(stranger, person(child, "e", key=1).request)) == (403, "not-eligible")


def test_tags_of_one_person_differ_between_scopes(world, config):
    scopes = [world.open(0), world.open(1)]
    tags = set()
    for scope in scopes:
        bearer = world.prove(scope, "ada@example.org")
        tags |= set(world.issuer._sessions.get(bearer).tags)
    assert len(tags) == 2
    key_files = [config.keys / f"{scope.scope_id.hex()}.tag" for scope in scopes]
    assert len({path.read_bytes() for path in key_files}) == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in config.keys.iterdir())


def test_a_mail_domain_has_its_quota_and_large_providers_have_none(world, person, problem_of):
    world.issuer.close()
    object.__setattr__(world.config.attesters["email"], "domain_quota", 2)
    object.__setattr__(world.config.attesters["email"], "domain_quotas", {"big.example.com": 9})
    world.start()
    scope = world.open()

    def ask(address: str) -> int:
        bearer = world.prove(scope, address)
        return int(world.sign(bearer, person(scope, address).request).status_code)

    assert [ask(f"{i}@mail{i}.example.org") for i in range(3)] == [200, 200, 403]
    assert ask("0@mail0.example.org") == 200
    assert [ask(f"person{i}@gmail.com") for i in range(3)] == [200, 200, 200]
    assert issued(world) == 5
    refused = world.sign(world.prove(scope, "9@example.org"), person(scope, "9").request)
    assert problem_of(refused) == (403, "quota-used")
