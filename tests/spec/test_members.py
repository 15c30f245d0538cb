from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given

from headcount_spec.errors import MalformedError
from headcount_spec.members import Members
from mutations import JSON_VALUES

WORD = re.compile(r"\A[a-z]+\Z")


def members(value: Any) -> Members:
    return Members({"it": value}, "$")


def test_what_nobody_took_is_refused() -> None:
    both = Members({"a": 1, "b": 2}, "$")
    both.integer("a", 0)
    with pytest.raises(MalformedError, match="1 unknown"):
        both.finish()
    both.integer("b", 0)
    both.finish()


def test_a_member_is_taken_once() -> None:
    one = members(1)
    assert one.has("it")
    one.take("it")
    assert not one.has("it")
    with pytest.raises(MalformedError, match="missing"):
        one.take("it")


def test_errors_name_the_place_and_not_the_value() -> None:
    with pytest.raises(MalformedError) as caught:
        Members({"a": [{"b": "secret"}]}, "$").objects("a", (1, 1))[0].integer("b", 0)
    assert str(caught.value) == "$.a[0].b: not an integer"


@pytest.mark.parametrize(
    "value", ["", "a" * 4, "A", 1, None, True, ["a"], "e\u0301", "\ud800", "a\n", "\x7f"]
)
def test_bad_texts(value: Any) -> None:
    with pytest.raises(MalformedError):
        members(value).text("it", 3, WORD)


@pytest.mark.parametrize("value", [[], ["a", "b", "c"], ["a", "a"], "ab", {"0": "a"}, ["a", 1], ["A"]])
def test_bad_lists_of_texts(value: Any) -> None:
    with pytest.raises(MalformedError):
        members(value).texts("it", (1, 2), 3, WORD)


@pytest.mark.parametrize("value", [0, 4, True, "1", None, 1.0])
def test_bad_integers(value: Any) -> None:
    with pytest.raises(MalformedError):
        members(value).integer("it", 1, 3)


@pytest.mark.parametrize("value", [["AA=="], ["AAA=", "AAA="], ["*"], [1], [], "AAA="])
def test_bad_lists_of_bytes(value: Any) -> None:
    def two(data: bytes) -> bytes:
        if len(data) != 2:
            raise MalformedError("not two bytes")
        return data

    with pytest.raises(MalformedError):
        members(value).base64_list("it", (1, 2), two)


@pytest.mark.parametrize(
    "value",
    [{}, {"EN": "a"}, {"english": "a"}, {"en_gb": "a"}, {"en": ""}, {"en": 1}, {"": "a"}, [], "a",
     {"en": "a", "fr": "b"}, {"fr": "a"}],
)  # fmt: skip
def test_bad_labels(value: Any) -> None:
    with pytest.raises(MalformedError):
        members(value).labels("it", frozenset({"en"}), 3)


@pytest.mark.parametrize("value", [{}, {"EN": "a"}, {str(i) * 3: "a" for i in range(9)}])
def test_bad_languages(value: Any) -> None:
    with pytest.raises(MalformedError):
        members(value).labels("it", None, 3)


def test_more_than_64_languages_are_refused() -> None:
    tags = [a + b for a in "abc" for b in "abcdefghijklmnopqrstuvwxyz"]
    members(dict.fromkeys(tags[:64], "a")).labels("it", None, 3)
    with pytest.raises(MalformedError):
        members(dict.fromkeys(tags[:65], "a")).labels("it", None, 3)


@pytest.mark.parametrize("tag", ["en", "fr", "ast", "zh-hant", "sr-latn-rs", "de-1996", "es-419"])
def test_good_language_tags(tag: str) -> None:
    assert members({tag: "a"}).labels("it", None, 3) == {tag: "a"}


@given(JSON_VALUES)
def test_every_reader_returns_or_raises_malformed(value: Any) -> None:
    for read in (
        lambda m: m.text("it", 10),
        lambda m: m.texts("it", (0, 3), 10, WORD),
        lambda m: m.integer("it", 0),
        lambda m: m.day("it"),
        lambda m: m.hex32("it"),
        lambda m: m.sized("it", 3),
        lambda m: m.base64("it", bytes),
        lambda m: m.base64_list("it", (0, 3), bytes),
        lambda m: m.object("it"),
        lambda m: m.objects("it", (0, 3)),
        lambda m: m.labels("it", None, 10),
        lambda m: m.hashes("it", frozenset({"en"})),
    ):
        with contextlib.suppress(MalformedError):
            read(members(value))
    with contextlib.suppress(MalformedError):
        Members(value, "$")


def test_what_need_not_be_there_has_a_default() -> None:
    members = Members({"a": 3, "b": "x", "c": False}, "m")
    assert (members.integer_or("a", 1, 0, 9), members.integer_or("z", 1, 0, 9)) == (3, 1)
    assert (members.text_or("b", "d", 9), members.text_or("z", "d", 9)) == ("x", "d")
    assert members.boolean("c") is False
    members.finish()
    for wrong in (0, 1, "true", None):
        with pytest.raises(MalformedError):
            Members({"c": wrong}, "m").boolean("c")
    with pytest.raises(MalformedError):
        Members({"a": 10}, "m").integer_or("a", 1, 0, 9)
