from __future__ import annotations

import re

import pytest

from headcount_spec import errors
from headcount_spec.errors import ProtocolError


def tree(kind: type[ProtocolError] = ProtocolError) -> list[type[ProtocolError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]


KINDS = [kind for kind in tree() if kind.__module__ == errors.__name__]
ABSTRACT = {errors.ProtocolError, errors.VerificationError, errors.RefusedError}
# "├─ MalformedError     malformed     400   1    remark"
LINE = re.compile(r"^[ │├└─]*(\w+Error) +(\(abstract\)|[a-z-]+)? *(\d{3})? *(\d)?(?: |$)", re.M)


def test_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    table = {
        name: (code, status, exit_code) for name, code, status, exit_code in LINE.findall(errors.__doc__)
    }
    assert set(table) == {kind.__name__ for kind in KINDS}
    for kind in KINDS[1:]:
        code, status, exit_code = table[kind.__name__]
        assert code == ("(abstract)" if kind in ABSTRACT else kind.code)
        assert kind in ABSTRACT or int(status) == kind.status
        if exit_code:
            assert int(exit_code) == kind.exit_code


def test_codes_are_unique_and_in_kebab_case() -> None:
    codes = [kind.code for kind in KINDS if kind not in ABSTRACT]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert all(kind.code == "" for kind in ABSTRACT)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ABSTRACT])
def test_each_error_has_a_status_and_an_exit_code(kind: type[ProtocolError]) -> None:
    assert 400 <= kind.status <= 599
    assert 1 <= kind.exit_code <= 5
    assert kind.__doc__


def test_errors_carry_their_data() -> None:
    assert errors.RevisionConflictError("x", 3).serial == 3
    assert errors.NoticeConflictError("x", 4).seq == 4
    assert errors.RateLimitedError("x", 5).retry_after_s == 5
    assert errors.UnavailableError("x").retry_after_s == 5
    assert errors.MisbehaviourError("x", (b"a", b"b")).evidence == (b"a", b"b")


def test_text_of_an_error_is_its_message_alone() -> None:
    for error in (
        errors.RevisionConflictError("text", 3),
        errors.NoticeConflictError("text", 4),
        errors.MisbehaviourError("text", (b"evidence",)),
        errors.RateLimitedError("text", 5),
    ):
        assert str(error) == "text"
