"""Hypothesis strategies that spoil valid input, for the fuzz tests of parsers."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoilt_bytes(draw: st.DrawFn, valid: bytes) -> bytes:
    """Arbitrary bytes, or the valid ones cut, extended, or changed in some places."""
    kind = draw(st.sampled_from(("any", "cut", "extended", "changed", "doubled")))
    if kind == "any":
        return draw(st.binary(max_size=400))
    if kind == "cut":
        return valid[: draw(st.integers(0, len(valid)))]
    if kind == "extended":
        return valid + draw(st.binary(min_size=1, max_size=40))
    if kind == "doubled":
        start = draw(st.integers(0, len(valid)))
        return valid[:start] + valid[draw(st.integers(0, start)) :]
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@st.composite
def spoilt_json(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """The valid value with one member, somewhere inside, replaced, removed or added."""
    value = copy.deepcopy(valid)
    place: Any = value
    while True:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        name = draw(st.sampled_from(names))
        if isinstance(place[name], dict | list) and place[name] and draw(st.booleans()):
            place = place[name]
            continue
        kind = draw(st.sampled_from(("replace", "remove", "add")))
        if kind == "remove":
            del place[name]
        elif kind == "add" and isinstance(place, dict):
            place[draw(st.text(max_size=10))] = draw(JSON_VALUES)
        else:
            place[name] = draw(JSON_VALUES)
        return value
