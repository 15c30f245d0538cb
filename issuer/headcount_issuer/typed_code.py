"""Codes of eight digits that a person carries from a mail or a page to the session that asked."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from headcount_spec.errors import CodeRefusedError, MalformedError
from headcount_spec.jcs import JSON

DIGITS = 8
LIFETIME_S = 600
TRIES = 5


def draw_code() -> str:
    """A fresh code."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"


class TypedCode:
    """One code: it works once, for ten minutes, and five tries. One thread at a time."""

    __slots__ = ("_expires_at", "_tries", "text")

    def __init__(self, now: int, draw: Callable[[], str] = draw_code) -> None:
        self.text = draw()
        self._expires_at = now + LIFETIME_S
        self._tries = TRIES

    def void(self) -> None:
        """No try is left."""
        self._tries = 0

    def check(self, typed: JSON, now: int) -> None:
        """Compare; spaces do not matter.

        Raises:
            MalformedError: not a string.
            CodeRefusedError: wrong, late or used; a try is used up.
        """
        if not isinstance(typed, str):
            raise MalformedError("evidence.code: not a string")
        if now >= self._expires_at or self._tries <= 0:
            raise CodeRefusedError("the code is wrong or no longer valid")
        self._tries -= 1
        if not hmac.compare_digest(
            typed.replace(" ", "").encode("utf-8", "surrogatepass"), self.text.encode()
        ):
            raise CodeRefusedError("the code is wrong or no longer valid")
        self._tries = 0

    def __repr__(self) -> str:
        return "TypedCode()"
