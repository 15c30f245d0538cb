from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import vectors
from headcount_spec import errors
from headcount_spec.errors import ProtocolError

CASES = [pytest.param(file, case, id=f"{file}:{name}") for file, name, case in vectors.cases()]


def codes(kind: type[ProtocolError] = ProtocolError) -> Iterator[str]:
    if kind.code:
        yield kind.code
    for child in kind.__subclasses__():
        yield from codes(child)


def test_every_file_has_a_maker_and_every_maker_a_file() -> None:
    assert vectors.files() == sorted(vectors.MAKERS)


@pytest.mark.parametrize("file", sorted(vectors.MAKERS))
def test_a_file_regenerates_byte_for_byte(file: str) -> None:
    made = vectors.makers.encode(vectors.MAKERS[file].make())
    assert made == (vectors.FOLDER / file).read_bytes(), "run make vectors"


@pytest.mark.parametrize("file", vectors.files())
def test_a_file_says_what_it_is(file: str) -> None:
    content = vectors.load(file)
    assert list(content) == ["about", "source", "cases"]
    assert content["about"]
    assert content["source"]
    names = [case["name"] for case in content["cases"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    allowed = {"ok", *codes(errors.ProtocolError)}
    expected = {case["expect"] for case in content["cases"]}
    assert expected <= allowed
    assert "ok" in expected


@pytest.mark.parametrize(("file", "case"), CASES)
def test_a_case_ends_as_expected(file: str, case: dict[str, Any]) -> None:
    check = vectors.MAKERS[file].check
    if case["expect"] == "ok":
        check(case)
    else:
        with pytest.raises(ProtocolError) as caught:
            check(case)
        assert caught.value.code == case["expect"]
