from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import wire
from headcount_spec.errors import MalformedError

INTEGERS: list[tuple[Callable[[int], bytes], Callable[[wire.Reader], int], int]] = [
    (wire.u8, wire.Reader.u8, 1),
    (wire.u16, wire.Reader.u16, 2),
    (wire.u32, wire.Reader.u32, 4),
    (wire.u64, wire.Reader.u64, 8),
]


@pytest.mark.parametrize(("write", "read", "size"), INTEGERS, ids=["u8", "u16", "u32", "u64"])
@given(data=st.data())
def test_integers_round_trip(
    write: Callable[[int], bytes], read: Callable[[wire.Reader], int], size: int, data: st.DataObject
) -> None:
    value = data.draw(st.integers(0, 2 ** (8 * size) - 1))
    encoded = write(value)
    assert encoded == value.to_bytes(size, "big")
    reader = wire.Reader(encoded)
    assert read(reader) == value
    reader.finish()
    with pytest.raises(MalformedError):
        read(wire.Reader(encoded[:-1]))
    for bug in (-1, 2 ** (8 * size)):
        with pytest.raises(OverflowError):
            write(bug)


@given(st.binary(max_size=255), st.binary(max_size=300), st.binary(max_size=20))
def test_opaque_round_trip(short: bytes, long: bytes, rest: bytes) -> None:
    reader = wire.Reader(wire.opaque8(short) + wire.opaque16(long) + rest)
    assert (reader.opaque8(), reader.opaque16(), reader.left) == (short, long, len(rest))
    assert reader.take(len(rest)) == rest
    reader.finish()


@pytest.mark.parametrize("data", ["", "01", "0200", "ff00"])
def test_truncated_opaque8_is_refused(data: str) -> None:
    with pytest.raises(MalformedError):
        wire.Reader(bytes.fromhex(data)).opaque8()


@pytest.mark.parametrize("data", ["", "00", "0001", "ffff00"])
def test_truncated_opaque16_is_refused(data: str) -> None:
    with pytest.raises(MalformedError):
        wire.Reader(bytes.fromhex(data)).opaque16()


def test_opaque_that_is_too_long_is_a_bug() -> None:
    with pytest.raises(OverflowError):
        wire.opaque8(bytes(256))
    with pytest.raises(OverflowError):
        wire.opaque16(bytes(65536))


def test_left_over_bytes_are_refused() -> None:
    reader = wire.Reader(b"ab")
    reader.take(1)
    with pytest.raises(MalformedError, match="1 trailing bytes"):
        reader.finish()


def test_expect() -> None:
    reader = wire.Reader(b"\x01\x02\x03")
    reader.expect(b"\x01\x02", "header")
    with pytest.raises(MalformedError, match="wrong header"):
        reader.expect(b"\x04", "header")
    with pytest.raises(MalformedError, match="truncated"):
        wire.Reader(b"\x01").expect(b"\x01\x02", "header")


def test_failed_take_takes_nothing() -> None:
    reader = wire.Reader(b"abc")
    with pytest.raises(MalformedError):
        reader.take(4)
    assert reader.take(3) == b"abc"
