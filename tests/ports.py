"""Free ports for servers that cannot be given port 0."""

from __future__ import annotations

import random
import socket


def free_ports(*offsets: int) -> tuple[int, ...]:
    """Ports at these offsets from a base at which all of them were free a moment ago."""
    for _ in range(200):
        base = random.randrange(20_000, 32_000)
        if all(map(_is_free, (base + offset for offset in offsets))):
            return tuple(base + offset for offset in offsets)
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
