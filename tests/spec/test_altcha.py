from __future__ import annotations

import contextlib
import dataclasses
import json

import altcha
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.altcha import WorkChallenge, WorkSolution
from headcount_spec.errors import MalformedError
from headcount_spec.members import Members
from headcount_spec.text import decode_base64, encode_base64

KEY = bytes(range(32))
CHALLENGE = WorkChallenge.make(KEY, bytes(16), 77, 100, 2_000_000_000)


def test_who_tries_finds_the_number():
    solution = CHALLENGE.solve()
    assert solution.number == 77
    assert solution.expires_at == 2_000_000_000
    assert WorkSolution.from_text(solution.to_text()) == solution
    assert WorkChallenge.read(Members(CHALLENGE.to_json(), "work")) == CHALLENGE
    assert solution.solves(KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 78},
        {"signature": "0" * 64},
        {"challenge": "0" * 64},
        {"salt": CHALLENGE.salt.replace("2000000000", "2000000001")},
        # A digit of the number moved into the time, where nothing ends the time.
        {"salt": CHALLENGE.salt.replace("&", "7&"), "number": 7},
    ],
)
def test_what_was_changed_does_not_solve(change):
    assert not dataclasses.replace(CHALLENGE.solve(), **change).solves(KEY)
    assert not CHALLENGE.solve().solves(bytes(32))


def test_a_challenge_without_solution_ends():
    broken = dataclasses.replace(CHALLENGE, challenge="0" * 64)
    with pytest.raises(MalformedError):
        broken.solve()


def test_the_library_of_altcha_solves_and_verifies_ours():
    theirs = altcha.ChallengeV1(
        **{"max_number" if k == "maxnumber" else k: v for k, v in CHALLENGE.to_json().items()}
    )
    found = altcha.solve_challenge_v1(theirs, CHALLENGE.salt, "SHA-256", 100, 0)
    assert found is not None
    assert found.number == 77
    verified, error = altcha.verify_solution_v1(CHALLENGE.solve().to_text(), KEY.decode("latin-1"), False)
    assert (verified, error) == (True, None)


def test_the_widget_says_how_long_it_took():
    value = json.loads(decode_base64(CHALLENGE.solve().to_text())) | {"took": 123}
    text = encode_base64(json.dumps(value).encode())
    assert WorkSolution.from_text(text).solves(KEY)


GOOD = json.loads(decode_base64(CHALLENGE.solve().to_text()))


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "SHA-1"},
        {"number": -1},
        {"number": "77"},
        {"number": 10**9},
        {"salt": "00" * 16},
        {"salt": "00" * 16 + "?expires=1"},
        {"salt": "00" * 16 + "?expires=01&"},
        {"challenge": "A" * 64},
        {"signature": None},
        {"surprise": 1},
    ],
)
def test_a_solution_of_another_form_is_malformed(change):
    with pytest.raises(MalformedError):
        WorkSolution.from_text(encode_base64(json.dumps(GOOD | change).encode()))


@pytest.mark.parametrize("change", [{"maxnumber": 10**9}, {"maxnumber": 0}, {"salt": "x"}, {"extra": 1}])
def test_a_client_does_not_work_for_ever(change):
    with pytest.raises(MalformedError):
        WorkChallenge.read(Members({**CHALLENGE.to_json(), **change}, "work"))


def test_a_long_solution_is_malformed_before_it_is_read():
    with pytest.raises(MalformedError):
        WorkSolution.from_text("A" * 1028)


@given(st.text(max_size=60) | st.binary(max_size=60).map(encode_base64))
def test_any_text_is_read_or_malformed(text):
    with contextlib.suppress(MalformedError):
        WorkSolution.from_text(text)
