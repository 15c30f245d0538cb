from __future__ import annotations

import contextlib
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.errors import MalformedError
from headcount_spec.merkle import leaf_hash
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_over, chain_start
from mutations import spoilt_bytes

SEAL = Seal(0, 0, 2, 2, 20000, GENESIS, GENESIS, GENESIS, b"\x01" * 32, b"\x02" * 32)

u64, bytes32 = st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)


@st.composite
def seals(draw: st.DrawFn) -> Seal:
    total = draw(u64)
    hashes = [draw(bytes32) for _ in range(5)]
    return Seal(
        draw(u64), draw(u64), draw(st.integers(0, total)), total, draw(st.integers(0, 2**32 - 1)), *hashes
    )


def test_the_layout() -> None:
    data = SEAL.to_bytes()
    assert len(data) == 198
    assert data[:2] == b"\x02\x01"
    assert data[34:38] == (20000).to_bytes(4, "big")
    assert data[-64:] == b"\x01" * 32 + b"\x02" * 32


def test_the_chain_starts_at_the_origin_and_takes_every_leaf_hash() -> None:
    start = hashlib.sha256(b"ledger.example\n").digest()
    leaf = leaf_hash(b"entry")
    assert chain_start("ledger.example") == start
    assert chain_extend(start, leaf) == hashlib.sha256(b"\x02" + start + leaf).digest()
    other = leaf_hash(b"another")
    assert chain_over(start, [leaf, other]) == chain_extend(chain_extend(start, leaf), other)
    assert chain_over(start, []) == start


@given(seals())
def test_a_seal_is_read_as_written(seal: Seal) -> None:
    assert Seal.from_bytes(seal.to_bytes()) == seal


@given(spoilt_bytes(SEAL.to_bytes()))
def test_any_bytes_are_a_seal_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Seal.from_bytes(data).to_bytes() == data
