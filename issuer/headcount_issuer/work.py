"""Proofs of work before mail is sent: given out, and taken once each.

In memory, under a key that dies with the process.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from headcount_spec.altcha import SALT_BYTES, WorkChallenge, WorkSolution
from headcount_spec.errors import CodeRefusedError, UnavailableError

LIFETIME_S = 600
_MAX_USED = 1_000_000  # in a lifetime; each has cost somebody the work


class Work:
    """What an issuer asks of a program before it sends a mail for it."""

    def __init__(self, maxnumber: int, draw: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """maxnumber is twice the hashes that it takes on average; 0 asks for nothing."""
        self._maxnumber = maxnumber
        self._draw = draw
        self._key = draw(32)
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}  # salt → when it expires anyway
        self._purge_at = 0

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to solve."""
        return self._maxnumber > 0

    def challenge(self, now: int) -> WorkChallenge:
        """A fresh challenge; nothing is kept of it."""
        number = secrets.randbelow(self._maxnumber + 1)
        return WorkChallenge.make(
            self._key, self._draw(SALT_BYTES), number, self._maxnumber, now + LIFETIME_S
        )

    def take(self, solution: WorkSolution | None, now: int) -> None:
        """Use a solution up.

        Raises:
            CodeRefusedError: missing, wrong, expired or used already.
            UnavailableError: too many were solved lately.
        """
        if not self.is_asked:
            return
        if solution is None or not solution.solves(self._key) or now >= solution.expires_at:
            raise CodeRefusedError("the proof of work is missing, wrong or no longer valid")
        with self._lock:
            if now >= self._purge_at:
                self._purge_at = now + LIFETIME_S // 10
                self._used = {salt: end for salt, end in self._used.items() if now < end}
            if solution.salt in self._used:
                raise CodeRefusedError("the proof of work is missing, wrong or no longer valid")
            if len(self._used) >= _MAX_USED:
                raise UnavailableError("too many people are proving themselves at this moment", 60)
            self._used[solution.salt] = solution.expires_at
