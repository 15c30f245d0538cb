"""Big-endian fixed-layout structures in the presentation language of RFC 8446, Section 3.

A reader takes fields from the front and ends with ``finish``: nothing may be left over.
"""

from __future__ import annotations

from headcount_spec.errors import MalformedError


class Reader:
    """Takes fields from the front of a byte string."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size_bytes: int) -> bytes:
        """The next size_bytes bytes.

        Raises:
            MalformedError: fewer are left.
        """
        end = self._at + size_bytes
        if end > len(self._data):
            raise MalformedError(f"truncated: {size_bytes} bytes expected at offset {self._at}")
        field = self._data[self._at : end]
        self._at = end
        return field

    def u8(self) -> int:
        """The next uint8."""
        return self.take(1)[0]

    def u16(self) -> int:
        """The next uint16."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """The next uint32."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """The next uint64."""
        return int.from_bytes(self.take(8), "big")

    def opaque8(self) -> bytes:
        """The next ``opaque<0..2^8-1>``."""
        return self.take(self.u8())

    def opaque16(self) -> bytes:
        """The next ``opaque<0..2^16-1>``."""
        return self.take(self.u16())

    def expect(self, constant: bytes, name: str) -> None:
        """Take exactly these bytes.

        Raises:
            MalformedError: other bytes stand there.
        """
        if self.take(len(constant)) != constant:
            raise MalformedError(f"wrong {name}")

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._at

    def finish(self) -> None:
        """End of the structure.

        Raises:
            MalformedError: bytes are left over.
        """
        if self.left:
            raise MalformedError(f"{self.left} trailing bytes")


def u8(value: int) -> bytes:
    """uint8; a value out of range is a bug and raises OverflowError."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """uint16."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """uint32."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """uint64."""
    return value.to_bytes(8, "big")


def opaque8(value: bytes) -> bytes:
    """``opaque<0..2^8-1>``."""
    return u8(len(value)) + value


def opaque16(value: bytes) -> bytes:
    """``opaque<0..2^16-1>``."""
    return u16(len(value)) + value
