"""Counting how often, in memory, under keys that are drawn anew: what comes from one network.

What is counted is kept as an HMAC under a random key, which is forgotten with the stretch of time it was for.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
from collections import Counter

_NEVER = -(2**62)
_WITH_PORT = re.compile(r"\A(?:\[([^\]]*)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)\Z")
_MAX_MARKS = 1_000_000  # beyond, newcomers of the same stretch share one count


class Meter:
    """At most so many of the same in a stretch of time. Threads may share it."""

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
            mark = self._mark(value)
            self._counts[mark] += 1
            return self._counts[mark] <= self._maximum

    def is_used_up(self, value: str, now: int) -> bool:
        """Whether one more would be too many; nothing is counted."""
        with self._lock:
            self._turn(now)
            return self._counts[self._mark(value)] >= self._maximum

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted, at least since it last began anew."""
        return not self._counts

    def left_s(self, now: int) -> int:
        """Seconds until it counts anew."""
        return max(1, self._began_at + self._stretch_s - now)

    def _mark(self, value: str) -> bytes:
        mark = hmac.new(self._key, value.encode(), hashlib.sha256).digest()
        is_new = mark not in self._counts and len(self._counts) >= _MAX_MARKS
        return b"" if is_new else mark

    def _turn(self, now: int) -> None:
        if not self._began_at <= now < self._began_at + self._stretch_s:
            self._began_at, self._key = now, secrets.token_bytes(32)
            self._counts = Counter()


def network(peer: str | None, forwarded: str | None = None) -> str | None:
    """The network that whoever asks is counted with: /24, or /48; an address of either form alike.

    forwarded is what the operator's own proxy says, its own word last. None for this machine itself:
    behind a proxy that tells nothing, or an onion service, that is everybody; and for what is no address.
    """
    # What the proxy says is never replaced by the proxy's own address: all would share one count.
    address = _parse(forwarded.rpartition(",")[2] if forwarded else peer or "")
    if address is None:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip()
    match = _WITH_PORT.match(text)
    try:
        return ipaddress.ip_address(match[1] or match[2] if match else text)
    except ValueError:
        return None
