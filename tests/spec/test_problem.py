from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import errors
from headcount_spec.problem import BY_CODE, from_problem, problem

EXTRA = {
    errors.RevisionConflictError: {"serial": 7},
    errors.NoticeConflictError: {"seq": 3},
    errors.RateLimitedError: {"retry_after_s": 60},
    errors.UnavailableError: {"retry_after_s": 9},
}


@pytest.mark.parametrize("cls", BY_CODE.values(), ids=BY_CODE)
def test_every_error_comes_back_as_itself(cls: type[errors.ProtocolError]) -> None:
    extra = EXTRA.get(cls, {})
    sent = problem(cls("the reason", **extra))
    back = from_problem(sent.status, sent.body)
    assert type(back) is cls
    assert str(back) == "the reason"
    assert {name: getattr(back, name) for name in extra} == extra


def test_a_document_has_the_members_of_rfc_9457() -> None:
    sent = problem(errors.RateLimitedError("slow down", 60))
    assert json.loads(sent.body) == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "code": "rate-limited",
        "detail": "slow down",
        "retry_after_s": 60,
    }
    assert sent.headers["Content-Type"] == "application/problem+json"
    assert sent.headers["Retry-After"] == "60"


def test_codes_are_unique_and_none_is_missing() -> None:
    classes = [
        c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.ProtocolError)
    ]
    assert sorted(c.code for c in classes if c.code) == sorted(BY_CODE)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (200, errors.MisbehaviourError),
        (400, errors.MalformedError),
        (404, errors.NotFoundError),
        (405, errors.MethodRefusedError),
        (413, errors.TooLargeError),
        (415, errors.WrongTypeError),
        (429, errors.RateLimitedError),
        (500, errors.UnavailableError),
        (502, errors.UnavailableError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code":3}', b'{"code":"no-such-code"}'])
def test_a_foreign_answer_means_what_its_status_means(
    status: int, cls: type[errors.ProtocolError], body: bytes
) -> None:
    assert type(from_problem(status, body)) is cls


def test_a_code_under_another_status_is_not_believed() -> None:
    assert type(from_problem(503, problem(errors.SignatureError("x")).body)) is errors.UnavailableError


@pytest.mark.parametrize("serial", [None, "7", True, -1, 2**40])
def test_a_conflict_without_its_number_is_no_conflict(serial: object) -> None:
    body = json.dumps({"code": "revision-conflict", "detail": "x", "serial": serial}).encode()
    assert type(from_problem(409, body)) is errors.MalformedError
    body = json.dumps({"code": "notice-conflict", "detail": "x", "seq": serial}).encode()
    assert type(from_problem(409, body)) is errors.MalformedError


@pytest.mark.parametrize("detail", ["\x1b[2J", "a\nb", "", "x" * 301, 5, None])
def test_a_detail_that_could_disturb_a_terminal_is_left_out(detail: object) -> None:
    body = json.dumps({"code": "not-found", "detail": detail}).encode()
    assert str(from_problem(404, body)) == "HTTP status 404"


def test_a_missing_time_to_wait_has_a_default() -> None:
    error = from_problem(429, b'{"code":"rate-limited","detail":"x"}')
    assert isinstance(error, errors.RateLimitedError)
    assert error.retry_after_s == 5


MEMBERS = st.dictionaries(
    st.sampled_from(["code", "detail", "serial", "seq", "retry_after_s"]),
    st.none() | st.integers() | st.text() | st.sampled_from(sorted(BY_CODE)),
).map(lambda members: json.dumps(members).encode())


@given(st.integers(100, 599), st.binary(max_size=200) | MEMBERS)
def test_any_answer_gives_an_error_of_the_tree(status: int, body: bytes) -> None:
    assert isinstance(from_problem(status, body), errors.ProtocolError)
