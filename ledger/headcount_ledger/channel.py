"""Between the processes that serve HTTP and the one that owns the database: works out, results back.

    request   u32 length | u32 number | work              (work.py)
    answer    u32 length | u32 number | u8 outcome | …    0 False, 1 True, 2 error: u16 status, problem

Over a Unix socket that only the owner of the ledger can open; both ends run the same program.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from headcount_ledger.work import Work
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import MalformedError, ProtocolError
from headcount_spec.problem import from_problem, problem

MAX_FRAME_BYTES = MAX_ENTRY_BYTES + 128

_HEAD = struct.Struct(">II")


class Frames:
    """Cuts what arrives into numbered frames."""

    def __init__(self) -> None:
        self._data = b""

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The (number, payload) of each frame that is complete with these bytes.

        Raises:
            MalformedError: a frame is longer than any can be.
        """
        data = self._data + data if self._data else data
        at, end = 0, len(data)
        try:
            while end - at >= 8:
                length, number = _HEAD.unpack_from(data, at)
                if length > MAX_FRAME_BYTES:
                    raise MalformedError("a frame is too long")
                if end - at < 8 + length:
                    break
                yield number, data[at + 8 : at + 8 + length]
                at += 8 + length
        finally:
            self._data = data[at:]


def frame(number: int, payload: bytes) -> bytes:
    """One frame; 0 <= number < 2^32."""
    return _HEAD.pack(len(payload), number) + payload


def request(number: int, work: Work) -> bytes:
    """The frame that asks for a work."""
    return frame(number, work.to_bytes())


def answer(number: int, result: Any) -> bytes:
    """The frame that tells the result of a work, or its error."""
    if isinstance(result, ProtocolError):
        document = problem(result)
        return frame(number, b"\x02" + document.status.to_bytes(2, "big") + document.body)
    return frame(number, b"\x01" if result else b"\x00")


def result(payload: bytes) -> bool:
    """What an answer tells.

    Raises:
        ProtocolError: the error that it carries.
    """
    if payload == b"\x01":
        return True
    if payload == b"\x00":
        return False
    raise from_problem(int.from_bytes(payload[1:3], "big"), payload[3:])
