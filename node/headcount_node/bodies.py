"""How much memory the bodies of all requests of one process may take while they arrive and are answered.

Each body is bounded, and so is the number of connections, but not their product: thousands of
connections that each send a bundle up to its last byte would take gigabytes.
"""

from __future__ import annotations

from headcount_spec.errors import UnavailableError

MAX_BYTES = 1 << 27  # 128 MiB: sixty of the largest bundles, or three hundred thousand pledges
_RETRY_AFTER_S = 2


class Bodies:
    """Counts the bytes that are held. Belongs to one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self.held = 0  # bytes

    def hold(self) -> Held:
        """A new body, of which nothing is there yet."""
        return Held(self)

    def take(self, number: int) -> None:
        """Count so many bytes more.

        Raises:
            UnavailableError: that would be too many; nothing was counted.
        """
        if self.held + number > self._max_bytes:
            raise UnavailableError("too many bytes are arriving", _RETRY_AFTER_S)
        self.held += number


class Held:
    """The part of one body that is there."""

    __slots__ = ("_bodies", "_bytes")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._bytes = 0

    def take(self, number: int) -> None:
        """Count so many bytes more; raises as ``Bodies.take``."""
        self._bodies.take(number)
        self._bytes += number

    def release(self) -> None:
        """The body is dropped, or answered; again does nothing."""
        self._bodies.held -= self._bytes
        self._bytes = 0
