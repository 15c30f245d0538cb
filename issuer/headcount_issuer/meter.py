"""What an issuer allows in an hour: mails in all, and sessions from one network."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from headcount_engine.meter import Meter, network
from headcount_spec.errors import RateLimitedError
from headcount_spec.members import Members

HOUR_S = 3600
_NEVER = -(2**62)


class Budget:
    """At most so many in an hour, whoever asks."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._lock = threading.Lock()
        self._began_at = _NEVER
        self._spent = 0

    def check(self, now: int) -> None:
        """Refuse when nothing is left.

        Raises:
            RateLimitedError: come back when the hour is over.
        """
        with self._lock:
            self._check(now)

    def take(self, now: int) -> None:
        """Spend one.

        Raises:
            RateLimitedError: as check.
        """
        with self._lock:
            self._check(now)
            self._spent += 1

    def _check(self, now: int) -> None:
        if not self._began_at <= now < self._began_at + HOUR_S:
            self._began_at, self._spent = now, 0
        if self._spent >= self._maximum:
            raise RateLimitedError(
                "so many mails were sent that we pause", max(1, self._began_at + HOUR_S - now)
            )


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The table ``[issuer.networks]``: what one network may ask."""

    sessions_per_hour: int = 600  # of one /24 or /48; a mobile carrier hides thousands behind one
    proxy_header: str | None = None  # in which a proxy of the operator's own tells the address, last

    @classmethod
    def read(cls, members: Members) -> NetworkConfig:
        """Take it from the node's file."""
        config = cls(
            members.integer_or("sessions_per_hour", 600, 1, 10_000_000),
            members.text("proxy_header", 64) if members.has("proxy_header") else None,
        )
        members.finish()
        return config


class Networks:
    """At most so many sessions an hour from one network."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._meter = Meter(config.sessions_per_hour, HOUR_S)

    @property
    def proxy_header(self) -> str | None:
        """The header in which the operator's proxy tells who asks."""
        return self._config.proxy_header

    def take(self, peer: str | None, forwarded: str | None, now: int) -> None:
        """Count a session of whoever asks.

        Those who come from this machine itself are not counted: behind a proxy that tells nothing, or an
        onion service, that is everybody.

        Raises:
            RateLimitedError: too many came from there.
        """
        whose = network(peer, forwarded)
        if whose is not None and not self._meter.take(whose, now):
            raise RateLimitedError("too many people of this network ask at once", self._meter.left_s(now))
