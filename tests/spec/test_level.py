from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.errors import MalformedError
from headcount_spec.level import Level


@pytest.mark.parametrize(
    ("text", "parts", "needed"),
    [
        ("email", ("email",), 1),
        ("email+in-person", ("email", "in-person"), 2),
        ("2-of:email,oidc,device", ("email", "oidc", "device"), 2),
        ("3-of:a,b,c,d", ("a", "b", "c", "d"), 3),
        ("5-of:a,b,c,d,e,f,g,h", tuple("abcdefgh"), 5),
    ],
)
def test_a_level_has_one_spelling(text, parts, needed):
    level = Level.from_text(text)
    assert (level.parts, level.needed) == (parts, needed)
    assert str(level) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "email+",
        "+email",
        "Email",
        "email in-person",
        "email--x",
        "email\n",
        "email+email",
        "email,oidc",
        "1-of:email,oidc",
        "2-of:email",
        "2-of:email,oidc",
        "2-of:a,b,c,d",
        "3-of:a,b,c,d,e,f",
        "2-of:a,b,b",
        "02-of:a,b,c",
        "2-of:a+b,c,d",
        "2-of:a,b,c+d",
        "8-of:a,b,c,d,e,f,g,h,i",
        "a+b+c+d+e+f+g+h+i",
        "+".join(f"attester{i}" for i in range(8)) + "-with-a-name-that-is-much-too-long-for-a-level",
    ],
)
def test_what_is_no_level_is_malformed(text):
    with pytest.raises(MalformedError):
        Level.from_text(text)


@given(st.integers(2, 8), st.integers(1, 8))
def test_a_choice_leaves_nobody_enough_for_a_second_time(n, k):
    names = [f"a{i}" for i in range(n)]
    text = f"{k}-of:{','.join(names)}"
    pairs = itertools.product(itertools.combinations(names, k), repeat=2)
    allowed = all(set(one) & set(other) for one, other in pairs) and k < n
    if allowed and k <= 7:
        assert Level.from_text(text).needed == k
    else:
        with pytest.raises(MalformedError):
            Level.from_text(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_malformed(text):
    with contextlib.suppress(MalformedError):
        assert str(Level.from_text(text)) == text


def test_what_issuers_ask_together_is_the_level():
    both = Level.from_text("email+device")
    assert both.names([["email"], ["device"]])
    assert both.names([["email", "device"], ["email"]])
    assert not both.names([["device"], ["email"]])
    assert not both.names([["email"]])
    assert both.needed_of(["email"]) == 1
    some = Level.from_text("2-of:email,oidc,device")
    assert some.names([["email", "oidc", "device"]] * 2)
    assert not some.names([["email", "oidc", "device"], ["email", "oidc"]])
    assert some.needed_of(["email", "oidc", "device"]) == 2
