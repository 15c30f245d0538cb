from __future__ import annotations

import datetime
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import text, unicode14
from headcount_spec.errors import MalformedError


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert text.decode_base64(text.encode_base64(data), len(data)) == data
    assert text.decode_base64url(text.encode_base64url(data), len(data)) == data


@given(st.text(max_size=12) | st.text("AQgw+/-_= \n", max_size=12))
def test_base64_has_one_spelling(value: str) -> None:
    for decode, encode in (
        (text.decode_base64, text.encode_base64),
        (text.decode_base64url, text.encode_base64url),
    ):
        try:
            data = decode(value)
        except MalformedError:
            continue
        assert encode(data) == value


@pytest.mark.parametrize(
    "value",
    ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q Q==", "QQ==QQ==", "QQ===", "nN#D", "=", "Q===", "QQ﹦﹦"],
)
def test_base64_in_another_spelling_is_refused(value: str) -> None:
    for decode in (text.decode_base64, text.decode_base64url):
        with pytest.raises(MalformedError):
            decode(value)


def test_base64_alphabets_are_not_mixed() -> None:
    assert text.decode_base64("+/+/") == text.decode_base64url("-_-_") == b"\xfb\xff\xbf"
    for decode, value in ((text.decode_base64, "-_-_"), (text.decode_base64url, "+/+/")):
        with pytest.raises(MalformedError):
            decode(value)


@pytest.mark.parametrize("decode", [text.decode_base64, text.decode_base64url])
def test_base64_of_another_length_is_refused(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(MalformedError, match="1 bytes where 2 are expected"):
        decode("QQ==", 2)


@given(st.binary(max_size=40))
def test_hex_round_trip(data: bytes) -> None:
    assert text.decode_hex(data.hex(), len(data)) == data


@pytest.mark.parametrize("value", ["AB", "aB", "a", "0x00", "00 ", " 00", "0 0", "00\n", "٠٠", "gg", "-1"])
def test_hex_in_another_spelling_is_refused(value: str) -> None:
    with pytest.raises(MalformedError):
        text.decode_hex(value)


def test_hex_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedError):
        text.decode_hex("00", 2)


@given(st.integers(0, 2**63 - 1))
def test_decimal_round_trip(value: int) -> None:
    assert text.parse_decimal(str(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        "01",
        "+1",
        "-0",
        "-1",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "٥",
        "१",
        "1.0",
        "1e3",
        "0x1",
        "9" * 20,
        "9" * 5000,
    ],
)
def test_decimal_in_another_spelling_is_refused(value: str) -> None:
    with pytest.raises(MalformedError):
        text.parse_decimal(value)


def test_decimal_has_a_maximum() -> None:
    assert text.parse_decimal("255", 255) == 255
    with pytest.raises(MalformedError):
        text.parse_decimal("256", 255)
    with pytest.raises(MalformedError):
        text.parse_decimal(str(2**63))


@given(st.dates(min_value=datetime.date(1970, 1, 1)))
def test_day_round_trip(date: datetime.date) -> None:
    day = text.parse_day(date.isoformat())
    assert text.format_day(day) == date.isoformat()
    assert text.day_of(day * 86400) == text.day_of(day * 86400 + 86399) == day


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1969-12-31",
        "0000-01-01",
        "2026-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-1-1",
        "20260101",
        "2026-W01-1",
        "2026-01-01T00:00",
        " 2026-01-01",
        "2026-01-01\n",
        "٢٠٢٦-01-01",
    ],
)
def test_other_days_are_refused(value: str) -> None:
    with pytest.raises(MalformedError):
        text.parse_day(value)


def test_a_day_beyond_the_year_9999_is_a_number() -> None:
    assert text.format_day(text.parse_day("9999-12-31")) == "9999-12-31"
    assert text.format_day(text.parse_day("9999-12-31") + 1) == "day 2932897"
    assert text.format_day(2**32 - 1) == "day 4294967295"


def test_day_zero() -> None:
    assert text.parse_day("1970-01-01") == 0


@pytest.mark.parametrize("value", ["", "plain", "é", "日本", "two\nlines", "مرحبا", "👋"])
def test_plain_text(value: str) -> None:
    assert text.is_plain(value)


@pytest.mark.parametrize(
    "value",
    ["e\u0301", "a\x00", "a\tb", "a\r\n", "\x7f", "\x85", "\ud800", "\ue000", "\U0010ffff", "\u0378"],
    ids=ascii,
)
def test_text_that_is_not_plain(value: str) -> None:
    assert not text.is_plain(value)


@pytest.mark.parametrize("value", ["\U0001fae8", "\u1c89", "\U00011f00"], ids=ascii)
def test_what_was_assigned_after_unicode_14_is_not_plain(value: str) -> None:
    assert not text.is_plain(value)


def test_the_table_is_that_of_unicode_14() -> None:
    # A newer Python knows more characters and forgets none.
    same = unicodedata.unidata_version == "14.0.0"
    for code in range(sys.maxunicode + 1):
        known = unicodedata.category(chr(code)) not in ("Cc", "Cs", "Co", "Cn")
        plain = unicode14.is_character(chr(code))
        assert plain == known if same else plain <= known, hex(code)
