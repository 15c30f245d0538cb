"""The members of one JSON object (RFC 8259, Section 4), each taken once, by name and type.

As wire.Reader for bytes: ``finish`` refuses what nobody took, so an unknown member fails closed.
Errors name the place of a member and never its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from headcount_spec import text
from headcount_spec.errors import MalformedError
from headcount_spec.jcs import JSON

Labels = Mapping[str, str]  # language tag → text

T = TypeVar("T")

MAX_LANGUAGES = 64
# RFC 5646, Section 2.1, in lower case: a language, then script, region, variants.
LANGUAGE = re.compile(r"\A[a-z]{2,3}(?:-[a-z0-9]{2,8}){0,4}\Z")

LINE = re.compile(r"\A[^\n]+\Z")  # a text of one line


class Members:
    """Takes the members of an object."""

    __slots__ = ("_left", "path")

    def __init__(self, value: JSON, path: str) -> None:
        """Begin with a parsed JSON value.

        Raises:
            MalformedError: it is no object.
        """
        if not isinstance(value, dict):
            raise MalformedError(f"{path}: not an object")
        self._left = dict(value)
        self.path = path

    def has(self, name: str) -> bool:
        """Whether an optional member is there and not yet taken."""
        return name in self._left

    def take(self, name: str) -> JSON:
        """The value of a member, of any type.

        Raises:
            MalformedError: it is missing.
        """
        if name not in self._left:
            raise MalformedError(f"{self.path}.{name}: missing")
        value: JSON = self._left.pop(name)
        return value

    def finish(self) -> None:
        """End of the object.

        Raises:
            MalformedError: a member is left that the format does not know.
        """
        if self._left:
            raise MalformedError(f"{self.path}: {len(self._left)} unknown members")

    def text(self, name: str, max_chars: int, pattern: re.Pattern[str] | None = None) -> str:
        """A plain, non-empty string (text.is_plain) of at most max_chars characters.

        Raises:
            MalformedError: another type, empty, too long, not plain, or not of the pattern.
        """
        return check_text(self.take(name), f"{self.path}.{name}", max_chars, pattern)

    def texts(
        self, name: str, count: tuple[int, int], max_chars: int, pattern: re.Pattern[str]
    ) -> tuple[str, ...]:
        """A list of distinct strings, count = (fewest, most).

        Raises:
            MalformedError: another type, too few or many, one that ``text`` refuses, or one twice.
        """
        path = f"{self.path}.{name}"
        items = tuple(
            check_text(item, f"{path}[{i}]", max_chars, pattern)
            for i, item in enumerate(self._list(name, count))
        )
        check_unique(items, path)
        return items

    def integer(self, name: str, minimum: int, maximum: int = 2**53 - 1) -> int:
        """An integer from minimum to maximum.

        Raises:
            MalformedError: another type or out of range.
        """
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise MalformedError(f"{self.path}.{name}: not an integer")
        if not minimum <= value <= maximum:
            raise MalformedError(f"{self.path}.{name}: out of range")
        return value

    def day(self, name: str) -> int:
        """Days since 1970 of a date YYYY-MM-DD."""
        return self.decoded(name, text.parse_day)

    def hex32(self, name: str) -> bytes:
        """32 bytes in lower-case hex: an identifier or a hash."""
        return self.decoded(name, lambda value: text.decode_hex(value, 32))

    def sized(self, name: str, size_bytes: int) -> bytes:
        """Exactly size_bytes bytes in base64."""
        return self.decoded(name, lambda value: text.decode_base64(value, size_bytes))

    def base64(self, name: str, decode: Callable[[bytes], T]) -> T:
        """What decode makes of the bytes: keys and signatures."""
        return self.decoded(name, lambda value: decode(text.decode_base64(value)))

    def base64_list(
        self, name: str, count: tuple[int, int], check: Callable[[bytes], bytes]
    ) -> tuple[bytes, ...]:
        """A list of distinct byte strings, each passed by check."""
        path = f"{self.path}.{name}"
        items = tuple(
            _decode(item, f"{path}[{i}]", lambda value: check(text.decode_base64(value)))
            for i, item in enumerate(self._list(name, count))
        )
        check_unique(items, path)
        return items

    def boolean(self, name: str) -> bool:
        """True or false.

        Raises:
            MalformedError: another type.
        """
        value = self.take(name)
        if not isinstance(value, bool):
            raise MalformedError(f"{self.path}.{name}: not a boolean")
        return value

    def integer_or(self, name: str, default: int, minimum: int, maximum: int = 2**53 - 1) -> int:
        """As integer, and default where there is none."""
        return self.integer(name, minimum, maximum) if self.has(name) else default

    def text_or(self, name: str, default: str, max_chars: int, pattern: re.Pattern[str] | None = None) -> str:
        """As text, and default where there is none."""
        return self.text(name, max_chars, pattern) if self.has(name) else default

    def decoded(self, name: str, decode: Callable[[str], T]) -> T:
        """What decode makes of a string; decode raises only MalformedError."""
        return _decode(self.take(name), f"{self.path}.{name}", decode)

    def object(self, name: str) -> Members:
        """An object within this one."""
        return Members(self.take(name), f"{self.path}.{name}")

    def objects(self, name: str, count: tuple[int, int]) -> list[Members]:
        """A list of objects, count = (fewest, most)."""
        return [Members(item, f"{self.path}.{name}[{i}]") for i, item in enumerate(self._list(name, count))]

    def labels(
        self,
        name: str,
        languages: frozenset[str] | None,
        max_chars: int,
        pattern: re.Pattern[str] | None = None,
    ) -> Labels:
        """The same text in several languages, in exactly these if given.

        Raises:
            MalformedError: no language, a malformed tag, a language missing or too many, a text refused.
        """
        inner = self.object(name)
        tags = inner.languages(languages)
        return MappingProxyType({tag: inner.text(tag, max_chars, pattern) for tag in tags})

    def hashes(self, name: str, languages: frozenset[str]) -> Mapping[str, bytes]:
        """A SHA-256 for each of exactly these languages."""
        inner = self.object(name)
        return MappingProxyType({tag: inner.hex32(tag) for tag in inner.languages(languages)})

    def languages(self, expected: frozenset[str] | None) -> list[str]:
        """The names of all members, in order, as language tags."""
        tags = sorted(self._left)
        if expected is not None and frozenset(tags) != expected:
            raise MalformedError(f"{self.path}: not the languages of the title")
        if not 1 <= len(tags) <= MAX_LANGUAGES or not all(map(LANGUAGE.match, tags)):
            raise MalformedError(f"{self.path}: not a map of language tags")
        return tags

    def _list(self, name: str, count: tuple[int, int]) -> list[JSON]:
        value = self.take(name)
        if not isinstance(value, list):
            raise MalformedError(f"{self.path}.{name}: not a list")
        if not count[0] <= len(value) <= count[1]:
            raise MalformedError(
                f"{self.path}.{name}: {len(value)} items where {count[0]} to {count[1]} may be"
            )
        return value


def check_text(value: JSON, path: str, max_chars: int, pattern: re.Pattern[str] | None = None) -> str:
    """The value, if it is a plain string that every implementation reads alike.

    Raises:
        MalformedError: as Members.text.
    """
    if not isinstance(value, str):
        raise MalformedError(f"{path}: not a string")
    if not 1 <= len(value) <= max_chars:
        raise MalformedError(f"{path}: {len(value)} characters where 1 to {max_chars} may be")
    if not text.is_plain(value):
        raise MalformedError(f"{path}: not NFC, or with a character that is not assigned in Unicode 14")
    if pattern is not None and not pattern.match(value):
        raise MalformedError(f"{path}: not of the form that is demanded")
    return value


def check_unique(items: tuple[object, ...], path: str) -> None:
    """Refuse a list in which one item stands twice.

    Raises:
        MalformedError: it does.
    """
    if len(set(items)) != len(items):
        raise MalformedError(f"{path}: the same twice")


def _decode(value: JSON, path: str, decode: Callable[[str], T]) -> T:
    if not isinstance(value, str):
        raise MalformedError(f"{path}: not a string")
    try:
        return decode(value)
    except MalformedError as exc:
        raise MalformedError(f"{path}: {exc}") from exc
