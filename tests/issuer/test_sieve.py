from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from headcount_issuer import sieve
from headcount_issuer.sieve import Sieve

TAGS = st.lists(st.binary(min_size=32, max_size=32), max_size=20)


@given(TAGS, st.binary(min_size=32, max_size=32))
def test_a_used_tag_never_passes(used: list[bytes], other: bytes) -> None:
    ours = Sieve()
    ours.add(used)
    assert not any(ours.passes([other, tag]) or ours.passes([tag]) for tag in used)
    beginnings = {int.from_bytes(tag[:4], "big") >> 32 - sieve.BITS for tag in used}
    assert ours.passes([other]) == (int.from_bytes(other[:4], "big") >> 32 - sieve.BITS not in beginnings)


def test_nearly_all_others_pass() -> None:
    ours = Sieve()
    ours.add(hashlib.sha256(b"used %d" % i).digest() for i in range(20_000))
    passed = sum(ours.passes([hashlib.sha256(b"unused %d" % i).digest()]) for i in range(20_000))
    assert 19_900 < passed < 20_000  # 0.03 % of the bits are set: 6 are expected to be caught
