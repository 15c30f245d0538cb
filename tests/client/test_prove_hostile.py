from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import keys
import manifests
from headcount import Answer, PledgeStore
from headcount.personhood import Personhood
from headcount_issuer.attesters.in_person import format_code
from headcount_spec.blind_rsa import blind_sign
from headcount_spec.errors import (
    AlreadyIssuedError,
    CodeRefusedError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    ProofError,
    ProtocolError,
    ScopeClosedError,
    SignatureError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.policy import Log, Policy
from headcount_spec.scope import ScopeId
from headcount_spec.text import encode_base64url

DIRECTORY = "/.well-known/private-token-issuer-directory"


def bending(world: Any, recorder: Any, path: str, bend: Callable[[Answer], Answer]) -> Any:
    transport = recorder(world.http)
    transport.bend = lambda url, answer: bend(answer) if url.endswith(path) else answer
    return transport


def body(data: bytes, media_type: str | None = None, status: int | None = None) -> Callable[[Answer], Answer]:
    def bend(answer: Answer) -> Answer:
        headers = dict(answer.headers)
        if media_type is not None:
            headers["content-type"] = media_type
        return Answer(answer.status if status is None else status, data, headers)

    return bend


def key_list(*indices: int, token_type: int = 2) -> list[dict[str, Any]]:
    return [{"token-type": token_type, "token-key": encode_base64url(keys.token_spki(i))} for i in indices]


def directory(token_keys: Any, uri: Any = "/token-request") -> bytes:
    return json.dumps({"issuer-request-uri": uri, "token-keys": token_keys}).encode()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (directory(key_list(1)), UnknownKeyError),
        (directory([]), UnknownKeyError),
        (directory(key_list(0, 0)), UnknownKeyError),
        (directory(key_list(0, token_type=1)), UnknownKeyError),
        (directory([{"token-type": 2, "token-key": "####"}, "x"]), UnknownKeyError),
        (directory("none"), MalformedError),
        (directory(key_list(0), None), MalformedError),
        (directory(key_list(0), "http://localhost:8000/token-request"), MalformedError),
        (directory(key_list(0), "https://localhost:8001/token-request"), MalformedError),
        (directory(key_list(0), "//elsewhere.example/x"), MalformedError),
        (directory(key_list(0), "http://[x"), MalformedError),
        (b"{", MalformedError),
        (b"[]", MalformedError),
    ],
)
def test_a_directory_of_another_issuer_stops_before_anything_is_sent(
    world: Any, tmp_path: Path, recorder: Any, data: bytes, error: type[ProtocolError]
) -> None:
    manifest = world.publish()
    transport = bending(world, recorder, DIRECTORY, body(data))
    with pytest.raises(error):
        world.prove(manifest, tmp_path / "me", transport=transport)
    assert all(method == "GET" for method, _, _ in transport.sent)
    assert world.outbox.mails.empty()


def test_keys_of_other_scopes_in_the_directory_are_no_fault(
    world: Any, tmp_path: Path, recorder: Any
) -> None:
    manifest = world.publish()
    transport = bending(world, recorder, DIRECTORY, body(directory(key_list(1, 0, 2))))
    assert world.prove(manifest, tmp_path / "me", transport=transport).is_proved


def other_key_signs(world: Any, transport: Any) -> Callable[[Answer], Answer]:
    def bend(answer: Answer) -> Answer:
        request = transport.sent[-1][2]
        signed = blind_sign(keys.token_key(1), b"\0" + request[4:])
        return Answer(200, signed, answer.headers)

    return bend


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (bytes(256), SignatureError),
        (b"\xff" * 256, SignatureError),
        (bytes(255), MalformedError),
        (bytes(257), MalformedError),
        (b"", MalformedError),
    ],
)
def test_a_wrong_signature_stops(
    shared_world: Any, tmp_path: Path, recorder: Any, data: bytes, error: type[ProtocolError]
) -> None:
    manifest = shared_world.shared()
    transport = bending(shared_world, recorder, "/token-request", body(data))
    with pytest.raises(error):
        shared_world.prove(manifest, tmp_path / "me", transport=transport)
    requests = [url for _, url, _ in transport.sent if url.endswith("/token-request")]
    assert len(requests) == 1
    assert not PledgeStore(tmp_path / "me").load().is_proved


def test_a_signature_by_another_key_stops_and_names_the_issuer(
    world: Any, tmp_path: Path, recorder: Any
) -> None:
    manifest = world.publish()
    transport = recorder(world.http)
    bend = other_key_signs(world, transport)
    transport.bend = lambda url, answer: bend(answer) if url.endswith("/token-request") else answer
    with pytest.raises(SignatureError, match=r"issuer0\.example"):
        world.prove(manifest, tmp_path / "me", transport=transport)


def test_the_second_issuer_is_not_asked_after_the_first_has_failed(
    two_issuers: Any, tmp_path: Path, recorder: Any
) -> None:
    manifest = two_issuers.publish()
    transport = bending(two_issuers, recorder, "8001/token-request", body(bytes(256)))
    with pytest.raises(SignatureError):
        two_issuers.prove(manifest, tmp_path / "me", transport=transport)
    assert not any("8002" in url for _, url, _ in transport.sent)


@pytest.mark.parametrize("path", [DIRECTORY, "/sessions", "/sessions/evidence", "/token-request"])
@pytest.mark.parametrize(
    "bend",
    [
        body(b"<html>no</html>", "text/html"),
        body(b"\x00\xff", None, 500),
        body(b"{}", "application/problem+json", 599),
        body(b"", None, 302),
        body(b'{"code":"misbehaviour","detail":"they lie"}', "application/problem+json", 502),
    ],
    ids=["html", "500", "599", "redirect", "misbehaviour"],
)
def test_garbage_is_an_unavailable_issuer(
    shared_world: Any, tmp_path: Path, recorder: Any, path: str, bend: Callable[[Answer], Answer]
) -> None:
    manifest = shared_world.shared()
    with pytest.raises(UnavailableError):
        shared_world.prove(manifest, tmp_path / "me", transport=bending(shared_world, recorder, path, bend))
    while not shared_world.outbox.mails.empty():
        shared_world.outbox.mails.get()
    assert shared_world.prove(manifest, tmp_path / "me").is_proved


@pytest.mark.parametrize(
    "data",
    [
        b'{"session":"a b","state":"proved"}',
        b'{"session":"a\\r\\nHost: x","state":"proved"}',
        b'{"session":"' + b"a" * 513 + b'","state":"proved"}',
        b'{"session":7,"state":"proved"}',
        b'{"session":"a","state":"perhaps"}',
        b"[]",
    ],
)
def test_a_session_that_is_no_bearer_token_is_refused(
    shared_world: Any, tmp_path: Path, recorder: Any, data: bytes
) -> None:
    manifest = shared_world.shared()
    with pytest.raises(MalformedError):
        shared_world.prove(
            manifest, tmp_path / "me", transport=bending(shared_world, recorder, "/sessions", body(data))
        )


def test_an_answer_that_is_too_long_is_cut_off(shared_world: Any, tmp_path: Path) -> None:
    manifest = shared_world.shared()
    url = f"http://localhost:8001{DIRECTORY}"
    with pytest.raises(UnavailableError, match="more than 10 bytes"):
        shared_world.http("GET", url, max_bytes=10)
    assert shared_world.prove(manifest, tmp_path / "me").is_proved


def test_a_mistyped_code_may_be_typed_again_and_not_for_ever(shared_world: Any, tmp_path: Path) -> None:
    manifest = shared_world.shared()
    attempts: list[int] = []

    def ask(question: Any) -> str:
        if question.kind == "address":
            return "ada@example.org"
        attempts.append(question.attempt)
        code: str = shared_world.outbox.code() if question.attempt == 1 else "00000000"
        return code[::-1] if question.attempt == 1 else code

    with pytest.raises(CodeRefusedError):
        shared_world.prove(manifest, tmp_path / "me", ask=ask)
    assert attempts == [1, 2, 3, 4, 5]


def test_a_person_gets_no_second_token_from_another_file(world: Any, tmp_path: Path) -> None:
    manifest = world.publish()
    world.prove(manifest, tmp_path / "me", ask=world.answers("ada@example.org"))
    with pytest.raises(AlreadyIssuedError):
        world.prove(manifest, tmp_path / "again", ask=world.answers("Ada+2@example.org"))


def test_a_slip_of_a_code_sheet_proves_as_well(world: Any, tmp_path: Path) -> None:
    entry = manifests.issuer(0) | {"attesters": ["in-person"]}
    manifest = world.publish(level="in-person", issuers=[entry])
    _, codes = world.issuers[0].make_codes(manifest.scope_id, 1)
    slips = ["0000-0000-0000-0000", format_code(codes[0])]

    def ask(question: Any) -> str:
        assert question.kind == "slip-code"
        return slips[question.attempt - 1]

    with pytest.raises(CodeRefusedError):
        world.prove(manifest, tmp_path / "no", ask=lambda question: "0000-0000-0000-0000")
    assert world.prove(manifest, tmp_path / "me", ask=ask).is_proved


def test_evidence_that_this_program_cannot_give_is_said_plainly(world: Any, tmp_path: Path) -> None:
    entry = manifests.issuer(0) | {"attesters": ["palmistry"]}
    manifest = world.publish(opened=False, level="palmistry", issuers=[entry])
    world.ledger.accept(manifests.opening(manifest).to_bytes(), world.clock.day)
    world.seal()
    with pytest.raises(UnknownKeyError, match="does not list"):  # our issuer does not do this
        world.prove(manifest, tmp_path / "me")
    conversation = Personhood(manifest, 0, world.http, world.answers())
    with pytest.raises(NotEligibleError, match="cannot give"):
        conversation.open_session()


# The terms.


def test_a_scope_that_an_issuer_has_not_opened_is_refused(world: Any, tmp_path: Path) -> None:
    manifest = world.publish(opened=False)
    with pytest.raises(UnknownKeyError, match="has not opened"):
        world.prove(manifest, tmp_path / "me")
    assert not (tmp_path / "me").exists()


def test_an_unknown_scope_is_not_found(shared_world: Any, tmp_path: Path) -> None:
    shared_world.shared()
    with pytest.raises(NotFoundError):
        shared_world.prove(manifests.manifest(threshold=7), tmp_path / "me")


def test_swapped_terms_are_another_scope(world: Any, tmp_path: Path, recorder: Any) -> None:
    manifest = world.publish()
    swapped = manifest.raw.replace(b'"threshold":5', b'"threshold":4')
    assert swapped != manifest.raw
    transport = recorder(world.http)

    def bend(url: str, answer: Answer) -> Answer:
        if "tile/entries" not in url:
            return answer
        return Answer(answer.status, answer.body.replace(b'"threshold":5', b'"threshold":4'), answer.headers)

    transport.bend = bend
    with pytest.raises(ProofError):
        world.prove(manifest, tmp_path / "me", transport=transport)
    assert not (tmp_path / "me").exists()


@pytest.mark.parametrize("choice", [1, 2, 0xFFFE, 0xFFFF])
def test_a_choice_that_is_not_offered_is_refused(shared_world: Any, tmp_path: Path, choice: int) -> None:
    manifest = shared_world.shared()
    with pytest.raises(NotEligibleError):
        shared_world.prove(manifest, tmp_path / "me", choice=choice)


@pytest.mark.parametrize("day", [manifests.OPENS - 1, manifests.CLOSES + 1])
def test_a_scope_that_is_not_open_today_is_refused(shared_world: Any, tmp_path: Path, day: int) -> None:
    manifest = shared_world.shared()
    with pytest.raises(ScopeClosedError):
        shared_world.prove(manifest, tmp_path / "me", day=day)


def test_a_ledger_that_the_policy_does_not_list_is_refused(shared_world: Any, tmp_path: Path) -> None:
    manifest = shared_world.shared()
    other = manifests.SigningKey("other.example", keys.seed("other"))
    same_name = manifests.SigningKey(manifests.ORIGIN, keys.seed("other"))
    for key in (other, same_name):
        policy = Policy(logs=(Log(key.verification_key),)).to_bytes()
        with pytest.raises(UnknownKeyError):
            shared_world.prove(manifest, tmp_path / "me", policy=policy)


def test_the_scope_id_may_not_be_that_of_another_scope_of_the_ledger(world: Any, tmp_path: Path) -> None:
    first = world.publish()
    second = world.publish(
        "other", title=manifests.both("B", "C"), issuers=[manifests.issuer(0, token_key=1)]
    )
    content = world.prove(second, tmp_path / "me")
    assert content.manifest.scope_id == second.scope_id != ScopeId(first.scope_id)
