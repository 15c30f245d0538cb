"""Telling events to a web address: each is kept as a file until the other side has taken it.

The body is JSON with an id that one event keeps, however often it is sent: who has seen the id ignores it.
The header ``Headcount-Signature`` is ``sha256=`` and the HMAC-SHA-256 of the body, in hex, under a secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headcount import private_file
from headcount.finding import Event
from headcount_ledger.reader.transport import Transport
from headcount_spec import jcs
from headcount_spec.errors import ConfigurationError, UnavailableError

MIN_SECRET_BYTES = 16
_FIRST_PAUSE_S, _MAX_PAUSE_S = 2, 3600
_MEDIA_TYPE = "application/json"


def sign(secret: bytes, body: bytes) -> str:
    """The value of the header."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def read_secret(path: Path) -> bytes:
    """The shared secret in a file, without the newline at its end.

    Raises:
        ConfigurationError: it cannot be read or is shorter than 16 bytes.
    """
    secret = private_file.read(path).rstrip(b"\r\n")
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"{path.name} is shorter than {MIN_SECRET_BYTES} bytes")
    return secret


@dataclass(slots=True)
class Outbox:
    """Events that wait for one address, as files in a folder."""

    folder: Path
    url: str
    secret: bytes
    transport: Transport
    _pause_s: int = _FIRST_PAUSE_S
    _not_before: float = 0.0

    def put(self, event: Event) -> None:
        """Keep an event until it is delivered; durable on return.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{event.time:012}-{event.id}.json"
        private_file.write(path, jcs.canonicalise(event.to_json()))

    def waiting(self) -> list[Path]:
        """The files of events that were not taken yet, the oldest first."""
        return sorted(self.folder.glob("*.json"))

    def deliver(self, now: float) -> int:
        """Send what waits, in order, unless the last failure was just now; how many were not taken."""
        if now < self._not_before:
            return len(self.waiting())
        for path in self.waiting():
            if not self._send(private_file.read(path)):
                self._not_before = now + self._pause_s
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
                break
            path.unlink(missing_ok=True)
            self._pause_s = _FIRST_PAUSE_S
        return len(self.waiting())

    def deliver_now(self, tries: int, pause: Callable[[float], object]) -> int:
        """Send what waits, trying again after pauses; how many were not taken."""
        now = 0.0
        self._not_before = 0.0
        for _ in range(tries):
            left = self.deliver(now)
            if not left:
                return 0
            if self._not_before > now:
                pause(self._not_before - now)
                now = self._not_before
        return len(self.waiting())

    def _send(self, body: bytes) -> bool:
        headers = {"Content-Type": _MEDIA_TYPE, "Headcount-Signature": sign(self.secret, body)}
        try:
            answer = self.transport("POST", self.url, body=body, headers=headers)
        except UnavailableError:
            return False
        return 200 <= answer.status < 300
