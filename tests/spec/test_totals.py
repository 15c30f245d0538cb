from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.errors import MalformedError
from headcount_spec.scope import ScopeId
from headcount_spec.totals import decode_totals, encode_totals, totals_path
from mutations import spoilt_bytes

counts = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(
    lambda pair: (max(pair), min(pair))
)
totals = st.dictionaries(st.binary(min_size=32, max_size=32).map(ScopeId), counts, max_size=5)
VALID = encode_totals({ScopeId(bytes([i]) * 32): (i + 1, i) for i in range(3)})


def test_the_path_is_decimal() -> None:
    assert totals_path(0) == "totals/0"
    assert totals_path(1234) == "totals/1234"


@given(totals)
def test_totals_are_read_as_written(value: dict[ScopeId, tuple[int, int]]) -> None:
    decoded = decode_totals(encode_totals(value))
    assert decoded == value
    assert list(decoded) == sorted(value)


@given(spoilt_bytes(VALID))
def test_any_bytes_are_totals_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert encode_totals(decode_totals(data)) == data
