"""The other end of a webhook, for a partner's site: who has sent it, and whether it was taken before.

    receiver = WebhookReceiver.from_files("webhook.key", "webhooks.sqlite")

    @app.post("/hooks/headcount")
    def hook():
        receiver.take(request.headers, request.get_data(), show)
        return "", 204

``take`` calls show(event) once for each event, or raises a ProtocolError, whose status is the answer. It
takes what Standard Webhooks describes, from our verifier or from anybody else who has the key.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from headcount_spec import jcs, webhook
from headcount_spec.errors import ConfigurationError, MalformedError, TooLargeError, UnavailableError

MAX_BODY_BYTES = 1 << 16
REMEMBERED_S = 30 * 86_400  # longer than a sender tries
_BUSY_S = 10.0
_MAX_KEY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Event:
    """What was told."""

    id: str
    type: str
    timestamp: str  # of the event; ours say the day
    data: Mapping[str, Any]

    @classmethod
    def from_body(cls, id: str, body: bytes) -> Event:
        """Read it.

        Raises:
            MalformedError: not an object with type, timestamp and data.
        """
        value = jcs.parse_json(body, MAX_BODY_BYTES)
        if not isinstance(value, dict):
            raise MalformedError("a webhook's body is an object")
        type, timestamp, data = value.get("type"), value.get("timestamp"), value.get("data")
        if not isinstance(type, str) or not isinstance(timestamp, str) or not isinstance(data, dict):
            raise MalformedError("a webhook's body has type, timestamp and data")
        return cls(id, type, timestamp, data)


class WebhookReceiver:
    """Checks webhooks and remembers their ids in a file. Threads and processes may share it."""

    def __init__(
        self, keys: Sequence[webhook.Checker], memory: Path, clock: Callable[[], float] = time.time
    ) -> None:
        """Any one of the keys is enough, so that one can be changed for another.

        Raises:
            ConfigurationError: the file of the ids cannot be opened.
        """
        self._keys = tuple(keys)
        self._memory = memory
        self._clock = clock
        with _configured(memory), self._open() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID"
            )

    @classmethod
    def from_files(cls, keys: str | PathLike[str], memory: str | PathLike[str]) -> WebhookReceiver:
        """A receiver with the keys of a file, whsec_… or whpk_…, one on each line.

        Raises:
            ConfigurationError: a file cannot be read or opened, or has something else.
        """
        path = Path(keys)
        with _configured(path):
            with path.open("rb") as file:
                lines = file.read(_MAX_KEY_BYTES).decode("ascii", "replace").split()
            found = [webhook.parse_checker(line) for line in lines]
        if not found:
            raise ConfigurationError(f"{path.name} has no keys")
        return cls(found, Path(memory))

    def check(self, headers: Mapping[str, str], body: bytes) -> Event:
        """The event, if it was signed just now by one of the keys; whether it was taken before is not asked.

        Raises:
            TooLargeError, MalformedError: it is no webhook.
            SignatureError: no key of ours has signed it, or not within five minutes.
        """
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"the body is longer than {MAX_BODY_BYTES} bytes")
        head = webhook.Head.from_headers(headers)
        webhook.check(self._keys, head, body, int(self._clock()))
        return Event.from_body(head.id, body)

    def take(self, headers: Mapping[str, str], body: bytes, action: Callable[[Event], object]) -> bool:
        """Do something once about an event; False if it was done before.

        What action raises is raised, and the event is not remembered: it will be sent again.

        Raises:
            ProtocolError: as check, or the ids cannot be asked now.
        """
        event = self.check(headers, body)
        now = int(self._clock())
        with self._open() as database:
            # Held while the action runs: of two that come at once, the second waits and sees the first.
            try:
                database.execute("BEGIN IMMEDIATE")
                database.execute("DELETE FROM seen WHERE time < ?", (now - REMEMBERED_S,))
                done = database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (event.id, now)).rowcount
            except sqlite3.OperationalError as exc:
                raise UnavailableError("the ids of webhooks cannot be asked now") from exc
            try:
                if done == 1:
                    action(event)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        return done == 1

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # autocommit: the transactions are ours
        with contextlib.closing(
            sqlite3.connect(self._memory, timeout=_BUSY_S, isolation_level=None)
        ) as database:
            yield database


@contextlib.contextmanager
def _configured(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, MalformedError) as exc:
        raise ConfigurationError(f"{path.name} cannot be used: {exc}") from exc
