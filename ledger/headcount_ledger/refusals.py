"""Who sends many entries that must be refused is told to wait: refusing them costs what accepting does.

What is accepted is not counted: each pledge needs a token, and those limit themselves.
"""

from __future__ import annotations

from typing import NamedTuple

from headcount_engine.meter import Meter, network
from headcount_ledger.config import LedgerConfig
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    NotFoundError,
    RateLimitedError,
    SignatureError,
    UnknownKeyError,
)

STRETCH_S = 60

# Not what an honest client is told too, about the day, the load or what others did.
_COUNTED = (MalformedError, NotEligibleError, NotFoundError, SignatureError, UnknownKeyError)


class Sender(NamedTuple):
    """Who sends an entry, as far as HTTP tells; forgotten with the request."""

    peer: str | None  # address of the connection
    forwarded: str | None  # what the operator's own proxy says


class Refusals:
    """Counts refused entries by network, in this process."""

    def __init__(self, config: LedgerConfig) -> None:
        self.proxy_header = config.proxy_header
        self._meter = Meter(config.refusals_per_minute, STRETCH_S)

    def check(self, sender: Sender, now: int) -> None:
        """Refuse whoever has sent too many; now in seconds since 1970.

        Raises:
            RateLimitedError: try again in at most a minute.
        """
        if self._meter.is_empty:  # nearly always, and then it costs nothing
            return
        where = network(*sender)
        if where is not None and self._meter.is_used_up(where, now):
            raise RateLimitedError("too many entries of this network were refused", self._meter.left_s(now))

    def count(self, sender: Sender, now: int, came: object) -> None:
        """Note what came of an entry: an answer or an error."""
        if isinstance(came, _COUNTED):
            where = network(*sender)
            if where is not None:
                self._meter.take(where, now)
