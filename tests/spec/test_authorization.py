from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import authorization
from headcount_spec.authorization import (
    Challenge,
    format_authorization,
    format_www_authenticate,
    parse_authorization,
    parse_www_authenticate,
)
from headcount_spec.errors import MalformedError

challenges = st.builds(
    Challenge,
    st.binary(max_size=60),
    st.none() | st.binary(max_size=60),
    st.none() | st.integers(0, authorization.MAX_AGE_S),
)


@given(st.lists(challenges, max_size=4))
def test_challenges_round_trip(values: list[Challenge]) -> None:
    assert parse_www_authenticate(format_www_authenticate(values)) == tuple(values)


@given(st.binary(max_size=400))
def test_authorization_round_trip(token: bytes) -> None:
    assert parse_authorization(format_authorization(token)) == token


@given(
    st.text(max_size=60)
    | st.text('PrivateToken challenge=",=;\\ \tAQ+/_-max-age10', max_size=60).map("PrivateToken ".__add__)
)
def test_noise_is_refused_or_read(value: str) -> None:
    for parse in (parse_www_authenticate, parse_authorization):
        try:
            parse(value)
        except MalformedError:
            continue


ONE = (Challenge(b"\x01"),)
SAME = [
    'PrivateToken challenge="AQ=="',
    'privatetoken CHALLENGE="AQ=="',
    'PrivateToken   challenge = "AQ=="',
    '  PrivateToken challenge="AQ=="  ',
    ', ,PrivateToken challenge="AQ==",, ',
    'PrivateToken challenge="A\\Q=="',
    'PrivateToken unknown=token, challenge="AQ==", other="a, b=\\"c\\""',
    'Basic realm="x", PrivateToken challenge="AQ=="',
    'Basic, PrivateToken challenge="AQ=="',
    'Negotiate YWJj/+==, PrivateToken challenge="AQ==", Digest qop="auth, auth-int", nonce=abc',
]


@pytest.mark.parametrize("value", SAME)
def test_one_challenge_in_other_spellings(value: str) -> None:
    assert parse_www_authenticate(value) == ONE


def test_unquoted_values_are_read() -> None:
    value = "PrivateToken challenge=AQID, max-age=5"
    assert parse_www_authenticate(value) == (Challenge(b"\x01\x02\x03", None, 5),)


@pytest.mark.parametrize("value", ["", " ", ",", "Basic", 'Basic realm="PrivateToken challenge=AQID"'])
def test_no_challenge_of_ours(value: str) -> None:
    assert parse_www_authenticate(value) == ()


BAD = {
    "no-challenge": "PrivateToken",
    "no-challenge-but-others": "PrivateToken max-age=5",
    "token68": "PrivateToken AQID",
    "challenge-twice": "PrivateToken challenge=AQID, challenge=AQID",
    "challenge-twice-in-other-case": "PrivateToken challenge=AQID, Challenge=AQID",
    "max-age-twice": "PrivateToken challenge=AQID, max-age=1, max-age=1",
    "no-padding": 'PrivateToken challenge="AQ"',
    "loose-bits": 'PrivateToken challenge="AR=="',
    "standard-alphabet": 'PrivateToken challenge="+/+/"',
    "white-space-in-base64": 'PrivateToken challenge="AQ ID"',
    "unquoted-padding": "PrivateToken challenge=AQ==",
    "open-quote": 'PrivateToken challenge="AQID',
    "text-behind-the-quote": 'PrivateToken challenge="AQID"x',
    "no-comma": 'PrivateToken challenge="AQID" max-age=1',
    "semicolon": 'PrivateToken challenge="AQID"; max-age=1',
    "negative-age": "PrivateToken challenge=AQID, max-age=-1",
    "leading-zero-age": "PrivateToken challenge=AQID, max-age=05",
    "huge-age": "PrivateToken challenge=AQID, max-age=2147483648",
    "age-in-words": "PrivateToken challenge=AQID, max-age=ten",
    "empty-value": "PrivateToken challenge=",
    "line-feed": 'PrivateToken\nchallenge="AQID"',
    "tab-behind-the-scheme": 'PrivateToken\tchallenge="AQID"',
    "control-in-quotes": 'PrivateToken challenge="AQ\x00ID"',
    "not-ascii": 'PrivateToken challenge="AQÏD"',
    "parameter-first": "challenge=AQID",
    "bad-token-key": "PrivateToken challenge=AQID, token-key=A",
    "too-long": "PrivateToken challenge=AQID" + " " * authorization.MAX_HEADER_CHARS,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_challenges_are_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        parse_www_authenticate(BAD[name])


def test_authorization_in_other_spellings() -> None:
    for value in ('PrivateToken token="AQ=="', 'PRIVATETOKEN x=y, Token="AQ=="'):
        assert parse_authorization(value) == b"\x01"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "PrivateToken",
        "PrivateToken AQID",
        "PrivateToken challenge=AQID",
        "Bearer token=AQID",
        "Basic, PrivateToken token=AQID",
        "PrivateToken token=AQID, PrivateToken token=AQID",
        "PrivateToken token=AQID, token=AQID",
        'PrivateToken token="AQ"',
        "PrivateToken token=AQID,,, x",
    ],
)
def test_bad_authorizations_are_refused(value: str) -> None:
    with pytest.raises(MalformedError):
        parse_authorization(value)


def test_long_headers_take_linear_time() -> None:
    for piece in ('a="', "a=b,", " ,", "\\", "A", "a ", '"\\'):
        for parse in (parse_www_authenticate, parse_authorization):
            with pytest.raises(MalformedError):
                parse(
                    "PrivateToken token=" + piece * (authorization.MAX_HEADER_CHARS // len(piece) - 19) + '"'
                )
