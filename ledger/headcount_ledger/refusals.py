"""Who sends many entries that must be refused is told to wait: refusing them costs what accepting does.

What is accepted is not counted: each pledge needs a token, and those limit themselves. Revisions are
counted apart: a verifier can tell a bad pledge before it sends it here, but a bad revision only the ledger
can, so that strangers could shut a whole verifier out by sending it nonsense.
"""

from __future__ import annotations

from typing import NamedTuple

from headcount_engine.meter import Meter, network
from headcount_ledger.config import LedgerConfig
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    NotFoundError,
    NoticeConflictError,
    RateLimitedError,
    SignatureError,
    UnknownKeyError,
)

STRETCH_S = 60
_REVISION = b"\x03"  # first byte of the entry

# Not what an honest client is told too, about the day, the load or what others did.
_COUNTED = (
    MalformedError,
    NotEligibleError,
    NotFoundError,
    NoticeConflictError,
    SignatureError,
    UnknownKeyError,
)


class Sender(NamedTuple):
    """Who sends an entry, as far as HTTP tells; forgotten with the request."""

    peer: str | None  # address of the connection
    forwarded: str | None  # what the operator's own proxy says


class Refusals:
    """Counts refused entries by network, in this process."""

    def __init__(self, config: LedgerConfig) -> None:
        self.proxy_header = config.proxy_header
        self._revisions = Meter(config.refusals_per_minute, STRETCH_S)
        self._others = Meter(config.refusals_per_minute, STRETCH_S)

    def check(self, sender: Sender, now: int, entry: bytes) -> None:
        """Refuse an entry of whoever has sent too many of its kind; now in seconds since 1970.

        Raises:
            RateLimitedError: try again in at most a minute.
        """
        meter = self._meter(entry)
        if meter.is_empty:  # nearly always, and then it costs nothing
            return
        where = network(*sender)
        if where is not None and meter.is_used_up(where, now):
            raise RateLimitedError("too many entries of this network were refused", meter.left_s(now))

    def count(self, sender: Sender, now: int, entry: bytes, came: object) -> None:
        """Note what came of an entry: an answer or an error."""
        if isinstance(came, _COUNTED):
            where = network(*sender)
            if where is not None:
                self._meter(entry).take(where, now)

    def _meter(self, entry: bytes) -> Meter:
        return self._revisions if entry[:1] == _REVISION else self._others
