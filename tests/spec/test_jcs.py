from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import jcs
from headcount_spec.errors import MalformedError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_round_trip(value: jcs.JSON) -> None:
    data = jcs.canonicalise(value)
    assert jcs.parse_canonical(data) == value
    assert json.loads(data) == value


@given(values)
def test_any_spelling_parses_but_only_one_is_canonical(value: jcs.JSON) -> None:
    for data in (json.dumps(value).encode(), json.dumps(value, indent=1, ensure_ascii=False).encode()):
        assert jcs.parse_json(data) == value
        if data != jcs.canonicalise(value):
            with pytest.raises(MalformedError):
                jcs.parse_canonical(data)


@given(st.binary(max_size=30) | st.text('{}[]":,0123456789.eE-+ tfn\\u', max_size=30).map(str.encode))
def test_noise_is_refused_or_read(data: bytes) -> None:
    for parse in (jcs.parse_json, jcs.parse_canonical):
        try:
            value = parse(data)
        except MalformedError:
            continue
        assert jcs.parse_json(jcs.canonicalise(value)) == value


def test_keys_are_sorted_by_utf_16() -> None:
    # RFC 8785, Section 3.2.3: U+1F600 is a surrogate pair and comes before U+FB33.
    assert jcs.canonicalise({"\ufb33": 1, "\U0001f600": 2, "a": 3, "": 4}) == (
        '{"":4,"a":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )


REFUSED = {
    "empty": b"",
    "not-utf-8": b'"\xff"',
    "utf-16": '"a"'.encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbf1",
    "trailing-text": b"1 2",
    "trailing-comma": b"[1,]",
    "single-quotes": b"{'a':1}",
    "comment": b"1 // one",
    "duplicate-key": b'{"a":1,"a":1}',
    "duplicate-key-escaped": b'{"a":1,"\\u0061":2}',
    "duplicate-key-inside": b'[{"b":{"a":1,"a":2}}]',
    "float": b"1.0",
    "exponent": b"1e3",
    "nan": b"NaN",
    "infinity": b"-Infinity",
    "2-to-the-53": b"9007199254740992",
    "minus-2-to-the-53": b"-9007199254740992",
    "5000-digits": b"1" * 5000,
    "minus-zero": b"-0",
    "leading-zero": b"01",
    "plus": b"+1",
    "lone-surrogate": b'"\\ud800"',
    "lone-surrogate-in-a-key": b'{"\\udfff":1}',
    "control-character": b'"\x01"',
    "depth-33": b"[" * 33 + b"]" * 33,
    "depth-30000": b"[" * 30000 + b"]" * 30000,
    "unclosed-depth": b'{"a":' * 10000,
    "too-long": b" " * 65535 + b"1",
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_json_is_refused(name: str) -> None:
    for parse in (jcs.parse_json, jcs.parse_canonical):
        with pytest.raises(MalformedError):
            parse(REFUSED[name])


def test_depth_32_is_read() -> None:
    data = b"[" * 32 + b"]" * 32
    assert jcs.canonicalise(jcs.parse_json(data)) == data


def test_largest_integers_are_read() -> None:
    assert jcs.parse_canonical(b"[9007199254740991,-9007199254740991]") == [2**53 - 1, 1 - 2**53]


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), 2**53, "\ud800", {"\ud800": 1}, b"", {1, 2}, {1: 2}, ()]
)
def test_other_values_are_not_canonicalised(value: object) -> None:
    with pytest.raises(MalformedError):
        jcs.canonicalise(value)  # type: ignore[arg-type]


def test_limit_is_an_argument() -> None:
    assert jcs.parse_json(b"123", 3) == 123
    with pytest.raises(MalformedError):
        jcs.parse_json(b"123", 2)
