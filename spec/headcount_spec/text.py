"""Values inside text, each with one spelling: base64 (RFC 4648), hex, decimals, days, NFC strings.

Python's own ``int()`` and ``b64decode()`` take many spellings of one value; these take one.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import re
import unicodedata
from collections.abc import Callable

from headcount_spec.errors import MalformedError
from headcount_spec.unicode14 import is_character

_DECIMAL = re.compile(r"\A(?:0|[1-9][0-9]{0,19})\Z", re.ASCII)
_HEX = re.compile(r"\A(?:[0-9a-f]{2})*\Z", re.ASCII)
_DAY = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_LAST_DAY = datetime.date.max.toordinal() - _EPOCH


def encode_base64(data: bytes) -> str:
    """RFC 4648, Section 4: standard alphabet, padded."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, size_bytes: int | None = None) -> bytes:
    """The bytes of the one canonical encoding, of size_bytes if given.

    Raises:
        MalformedError: another alphabet, white space, missing or loose padding bits, another length.
    """
    return _decode(text, base64.b64decode, encode_base64, size_bytes)


def encode_base64url(data: bytes) -> str:
    """RFC 4648, Section 5: URL-safe alphabet, padded (RFC 9577, Section 2)."""
    return base64.urlsafe_b64encode(data).decode("ascii")


def decode_base64url(text: str, size_bytes: int | None = None) -> bytes:
    """As decode_base64, in the URL-safe alphabet."""
    return _decode(text, base64.urlsafe_b64decode, encode_base64url, size_bytes)


def _decode(
    text: str,
    decode: Callable[..., bytes],
    encode: Callable[[bytes], str],
    size_bytes: int | None,
) -> bytes:
    try:
        data = decode(text.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error) as exc:
        raise MalformedError("not canonical base64") from exc
    if encode(data) != text:
        raise MalformedError("not canonical base64")
    if size_bytes is not None and len(data) != size_bytes:
        raise MalformedError(f"{len(data)} bytes where {size_bytes} are expected")
    return data


def decode_hex(text: str, size_bytes: int | None = None) -> bytes:
    """The bytes of lower-case hex.

    Raises:
        MalformedError: upper case, white space, odd or another length.
    """
    if not _HEX.match(text):
        raise MalformedError("not lower-case hex")
    data = bytes.fromhex(text)
    if size_bytes is not None and len(data) != size_bytes:
        raise MalformedError(f"{len(data)} bytes where {size_bytes} are expected")
    return data


def parse_decimal(text: str, maximum: int = 2**63 - 1) -> int:
    """An ASCII decimal without sign or leading zeros, at most maximum.

    Raises:
        MalformedError: any other spelling, or a larger value.
    """
    if not _DECIMAL.match(text):
        raise MalformedError("not a canonical decimal")
    value = int(text)
    if value > maximum:
        raise MalformedError("decimal out of range")
    return value


def parse_day(text: str) -> int:
    """Days since 1970-01-01 of an ISO 8601 date YYYY-MM-DD from 1970 on.

    Raises:
        MalformedError: another spelling, or no such day.
    """
    if not _DAY.match(text):
        raise MalformedError("not a date YYYY-MM-DD")
    try:
        day = datetime.date.fromisoformat(text).toordinal() - _EPOCH
    except ValueError as exc:
        raise MalformedError("no such day") from exc
    if day < 0:
        raise MalformedError("a day before 1970")
    return day


def format_day(day: int) -> str:
    """The date of a day number, YYYY-MM-DD; beyond the year 9999, which 32 bits can say, "day N"."""
    if day > _LAST_DAY:
        return f"day {day}"
    return datetime.date.fromordinal(day + _EPOCH).isoformat()


def day_of(seconds: int) -> int:
    """The UTC day of a time in seconds since 1970."""
    return seconds // 86400


def is_plain(text: str) -> bool:
    """Whether every implementation reads this text alike: NFC, assigned in Unicode 14, no control characters.

    Newline is allowed; other controls, surrogates, private use and unassigned characters are not.
    """
    if not all(c == "\n" or is_character(c) for c in text):
        return False
    # Of characters that were assigned then, every later version of Unicode has the same NFC.
    return unicodedata.is_normalized("NFC", text)
