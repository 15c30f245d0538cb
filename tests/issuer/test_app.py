from __future__ import annotations

import json
import time
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

import headcount_issuer.app as app_module
import keys
from headcount_issuer.app import MAX_JSON_BYTES, MAX_REQUEST_BYTES
from headcount_spec.problem import BY_CODE
from headcount_spec.text import decode_base64url

DIRECTORY = "/.well-known/private-token-issuer-directory"
ORIGIN = "http://localhost:8000"
TOKEN_TYPE = "application/private-token-request"


def test_the_directory_lists_the_key_of_each_scope(world):
    scopes = [world.open(0), world.open(1)]
    answer = world.http.get(DIRECTORY)
    assert answer.content_type == "application/private-token-issuer-directory"
    directory = json.loads(answer.get_data())
    assert directory["issuer-request-uri"] == "http://localhost:8001/token-request"
    assert [decode_base64url(key["token-key"]) for key in directory["token-keys"]] == [
        keys.token_spki(0),
        keys.token_spki(1),
    ]
    assert {key["token-type"] for key in directory["token-keys"]} == {2}
    assert [key["not-before"] for key in directory["token-keys"]] == [s.opens * 86400 for s in scopes]


def test_answers_are_not_stored_and_set_no_cookie(world, person):
    scope = world.open()
    begun = world.begin(scope, "ada@example.org")
    bearer = begun.get_json()["session"]
    proved = world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
    signed = world.sign(bearer, person(scope, "a").request)
    for answer in (begun, proved, signed, world.http.get("/nothing")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers


def test_a_request_of_another_media_type_is_refused(world, person, problem_of):
    scope = world.open()
    bearer = world.prove(scope, "ada@example.org")
    request = person(scope, "a").request
    for content_type in ("application/octet-stream", "application/json", ""):
        assert problem_of(world.sign(bearer, request, content_type)) == (415, "wrong-type")
    for path in ("/sessions", "/sessions/evidence"):
        for content_type in ("text/plain", "application/x-www-form-urlencoded"):
            answer = world.http.post(path, data=b"{}", content_type=content_type)
            assert problem_of(answer) == (415, "wrong-type")


def test_a_body_that_is_too_large_is_refused(world, problem_of):
    scope = world.open()
    bearer = world.prove(scope, "ada@example.org")
    assert problem_of(world.sign(bearer, bytes(MAX_REQUEST_BYTES + 1))) == (413, "too-large")
    answer = world.http.post("/sessions", data=b" " * (MAX_JSON_BYTES + 1), content_type="application/json")
    assert problem_of(answer) == (413, "too-large")


def test_a_body_of_untold_length_is_cut_off(world, problem_of):
    stream = BytesIO(b" " * 10**6)
    environ = EnvironBuilder("/sessions", method="POST", content_type="application/json").get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    answer = world.http.open(Request(environ))
    assert stream.tell() <= 2 * MAX_JSON_BYTES
    assert problem_of(answer) == (413, "too-large")


def test_another_path_or_method_is_a_problem_document(world, problem_of):
    assert problem_of(world.http.get("/")) == (404, "not-found")
    assert problem_of(world.http.get("/sessions/")) == (404, "not-found")
    for path in ("/sessions", "/sessions/evidence", "/token-request"):
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            answer = world.http.open(path, method=method)
            assert problem_of(answer) == (405, "method-refused")
            assert "POST" in answer.headers["Allow"]
    assert problem_of(world.http.post(DIRECTORY)) == (405, "method-refused")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b'{"scope":1}',
        b'{"scope":"","attester":"email","evidence":{}}',
        b'{"scope":"%s","scope":"%s"}' % (b"00" * 32, b"00" * 32),
        b'{"scope":"%s","attester":"email","evidence":[]}' % (b"00" * 32),
        b'{"scope":"%s","attester":"email","evidence":{},"more":1}' % (b"00" * 32),
        b'{"scope":"%s","attester":"../x","evidence":{}}' % (b"00" * 32),
        b"\xff",
        b"[" * 5000,
        b'{"a":NaN}',
    ],
)
def test_a_malformed_question_is_malformed(world, problem_of, body):
    answer = world.http.post("/sessions", data=body, content_type="application/json")
    assert problem_of(answer) == (400, "malformed")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer " + "x" * 300, "Bearer é"]
)
def test_no_session_is_no_entry(world, person, problem_of, authorization):
    scope = world.open()
    headers = {} if authorization is None else {"Authorization": authorization}
    evidence = world.http.post("/sessions/evidence", json={"code": "12345678"}, headers=headers)
    signed = world.http.post(
        "/token-request", data=person(scope, "a").request, content_type=TOKEN_TYPE, headers=headers
    )
    assert problem_of(evidence) == problem_of(signed) == (403, "not-eligible")


def test_a_session_that_has_not_proved_anything_signs_nothing(world, person, problem_of):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    assert problem_of(world.sign(bearer, person(scope, "a").request)) == (403, "not-eligible")


def test_an_unknown_scope_or_another_attester_is_refused(world, problem_of):
    scope = world.open()
    question = {"scope": "00" * 32, "attester": "email", "evidence": {"address": "ada@example.org"}}
    assert problem_of(world.post("/sessions", question)) == (404, "not-found")
    question |= {"scope": scope.scope_id.hex(), "attester": "in-person", "evidence": {"code": "x"}}
    assert problem_of(world.post("/sessions", question)) == (403, "not-eligible")
    question |= {"attester": "passkey"}
    assert problem_of(world.post("/sessions", question)) == (403, "not-eligible")
    assert world.outbox.mails.empty()


def test_only_pages_of_the_scopes_origins_may_ask(world, person, problem_of):
    scope = world.open(0)
    other = world.open(1, origins=["https://other.example"])
    assert world.begin(scope, "ada@example.org", Origin=ORIGIN).status_code == 201
    for origin in (
        "https://other.example",
        "https://evil.example",
        "null",
        ORIGIN + "/",
        "HTTP://LOCALHOST:8000",
    ):
        answer = world.begin(scope, "ada@example.org", Origin=origin)
        assert problem_of(answer) == (403, "not-eligible")
    while not world.outbox.mails.empty():
        world.outbox.mails.get()
    bearer = world.prove(other, "ada@example.org")
    request = person(other, "a", key=1).request
    assert problem_of(world.sign(bearer, request, Origin=ORIGIN)) == (403, "not-eligible")
    assert world.sign(bearer, request, Origin="https://other.example").status_code == 200


def test_cross_origin_headers_name_exactly_the_asking_origin(world):
    scope = world.open()
    allowed = world.begin(scope, "ada@example.org", Origin=ORIGIN)
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    preflight = world.http.options(
        "/sessions", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    )
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert preflight.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    for answer in (
        world.http.options("/sessions", headers={"Origin": "https://evil.example"}),
        world.begin(scope, "ada@example.org", Origin="https://evil.example"),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]
    refused = world.post("/sessions", {}, Origin=ORIGIN)
    assert refused.status_code == 400
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_the_mail_names_the_page_that_asked(world):
    scope = world.open(0, origins=["https://one.example", "https://two.example"])
    world.begin(scope, "ada@example.org", Origin="https://two.example")
    assert "two.example" in world.outbox.mails.get().get_content()
    world.begin(scope, "ada@example.org")
    assert "one.example" in world.outbox.mails.get().get_content()


def test_a_bug_is_answered_without_its_words(world, problem_of, monkeypatch):
    monkeypatch.setattr(world.issuer, "directory", lambda: 1 / 0)
    world.http.application.testing = False
    answer = world.http.get(DIRECTORY)
    assert problem_of(answer) == (503, "unavailable")
    assert b"division" not in answer.get_data()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(evidence=json_values, attester=st.sampled_from(["email", "in-person"]) | st.text(max_size=8))
def test_any_evidence_gets_an_answer_of_the_error_tree(fuzz_world, evidence, attester):
    world, scope = fuzz_world
    question = {"scope": scope.scope_id.hex(), "attester": attester, "evidence": evidence}
    answer = world.http.post("/sessions", data=json.dumps(question), content_type="application/json")
    assert answer.status_code in (400, 403)
    assert answer.get_json()["code"] in BY_CODE


@given(body=st.binary(max_size=400))
def test_any_token_request_gets_an_answer_of_the_error_tree(fuzz_world, body):
    world, _ = fuzz_world
    answer = world.sign(world.fuzz_bearer, body)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed")


@pytest.fixture
def fuzz_world(world):
    scope = world.open()
    world.fuzz_bearer = world.prove(scope, "ada@example.org")
    return world, scope


def test_the_limits_leave_room_for_what_is_valid():
    assert app_module.MAX_REQUEST_BYTES >= 259
    assert app_module.MAX_JSON_BYTES >= 8192


def test_no_path_to_come_back_to_keeps_the_issuer_busy(world, problem_of):
    question = {"scope": bytes(32).hex(), "attester": "email", "evidence": {}}
    started = time.perf_counter()
    for path in ("/" + "a" * 26 + "!", "/" + "a/" * 249 + "!", "/" + "a" * 26 + "//"):
        assert problem_of(world.post("/sessions", question | {"return_path": path})) == (400, "malformed")
    assert time.perf_counter() - started < 1  # the first takes two seconds where the pattern backtracks


def test_what_went_wrong_is_logged_by_its_place_and_not_by_its_words(world, caplog, problem_of, monkeypatch):
    scope = world.open()

    def broken(*_: object) -> None:
        raise ValueError("ada@example.org is no ATOM")

    monkeypatch.setattr("headcount_issuer.attesters.email.compose", broken)
    assert problem_of(world.begin(scope, "ada@example.org"))[0] >= 500
    monkeypatch.setattr("headcount_issuer.issuance.Issuance.show_page", broken)
    assert world.http.get("/prove/secret-of-a-page").status_code >= 500
    assert caplog.text.count("ValueError") == 2
    assert "in broken" in caplog.text
    assert "ada@" not in caplog.text
    assert "secret-of-a-page" not in caplog.text
