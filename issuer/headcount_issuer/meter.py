"""Counting how often, in memory, under keys that are drawn anew: mailboxes, networks, mails in all.

What is counted is kept as an HMAC under a random key, which is forgotten with the stretch of time it was for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import Counter
from dataclasses import dataclass

from headcount_spec.errors import RateLimitedError
from headcount_spec.members import Members

HOUR_S = 3600
_NEVER = -(2**62)
_MAX_MARKS = 1_000_000  # beyond, newcomers of the same stretch share one count


class Meter:
    """At most so many of the same in a stretch of time."""

    def __init__(self, maximum: int, stretch_s: int) -> None:
        self._maximum = maximum
        self._stretch_s = stretch_s
        self._lock = threading.Lock()
        self._began_at = _NEVER
        self._key = b""
        self._counts: Counter[bytes] = Counter()

    def take(self, value: str, now: int) -> bool:
        """Count one; whether it was still allowed."""
        with self._lock:
            self._turn(now)
            mark = hmac.new(self._key, value.encode(), hashlib.sha256).digest()
            if mark not in self._counts and len(self._counts) >= _MAX_MARKS:
                mark = b""
            self._counts[mark] += 1
            return self._counts[mark] <= self._maximum

    def left_s(self, now: int) -> int:
        """Seconds until it counts anew."""
        return max(1, self._began_at + self._stretch_s - now)

    def _turn(self, now: int) -> None:
        if not self._began_at <= now < self._began_at + self._stretch_s:
            self._began_at, self._key = now, secrets.token_bytes(32)
            self._counts = Counter()


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
        address = _parse((forwarded or "").rpartition(",")[2]) or _parse(peer or "")
        if address is None or address.is_loopback:
            return
        if not self._meter.take(prefix(address), now):
            raise RateLimitedError("too many people of this network ask at once", self._meter.left_s(now))


def prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The network that an address is counted with: /24, or /48; an address of either form alike."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
