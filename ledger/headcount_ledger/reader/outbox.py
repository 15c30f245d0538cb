"""Telling another site by webhook: each event is a file until the other side has taken it.

What is sent keeps its order as long as the receiver does not answer, or says that it cannot now. An event
that it refuses (3xx, 4xx) is set aside and tried again by itself: those behind it go on. After sixteen tries,
nearly two days, an event is given up, which is said in the log. After a crash an event may be sent twice,
under the same id. An outbox belongs to one thread; ``put`` may be called by another.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headcount_ledger.durable import PRIVATE_MODE, remove_file, replace_file
from headcount_ledger.reader.transport import Answer, Transport, origin_of
from headcount_spec import jcs, webhook
from headcount_spec.errors import ConfigurationError, MalformedError, UnavailableError
from headcount_spec.text import decode_base64, encode_base64, parse_decimal

MAX_TRIES = 16
MAX_WAITING = 1000  # events; beyond, the oldest are given up
FIRST_PAUSE_S, PAUSE_FACTOR, MAX_PAUSE_S = 2, 3, 21_600
MAX_BODY_BYTES = 1 << 16
_MAX_FILE_BYTES = 1 << 18
_MAX_KEY_BYTES = 4096
_MAX_ANSWER_BYTES = 1 << 20  # of an answer whose status alone is read
_DAY_S = 86_400  # the longest Retry-After that is honoured
_NOT_NOW = (408, 425, 429)  # of the 4xx: about the moment, not the event
_GONE = 410  # whoever answers this wants it no more
_SUFFIX = ".json"

_SPREAD = secrets.SystemRandom()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that waits."""

    id: str
    body: bytes
    tries: int = 0
    not_before: int = 0  # seconds since 1970
    is_refused: bool = False  # by the last try: those behind it need not wait

    @classmethod
    def from_bytes(cls, data: bytes) -> Letter:
        """Read a file of the outbox.

        Raises:
            MalformedError: it is none.
        """
        value: Any = jcs.parse_json(data, _MAX_FILE_BYTES)
        try:
            if value["headcount_outbox"] != 1 or not isinstance(value["is_refused"], bool):
                raise MalformedError("not a file of an outbox")
            return cls(
                id=str(value["id"]),
                body=decode_base64(value["body"]),
                tries=parse_decimal(value["tries"]),
                not_before=parse_decimal(value["not_before"]),
                is_refused=value["is_refused"],
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise MalformedError("not a file of an outbox") from exc

    def to_bytes(self) -> bytes:
        """The file."""
        return jcs.canonicalise(
            {
                "headcount_outbox": 1,
                "id": self.id,
                "body": encode_base64(self.body),
                "tries": str(self.tries),
                "not_before": str(self.not_before),
                "is_refused": self.is_refused,
            }
        )


class Outbox:
    """The events that wait for one receiver, as files in a folder."""

    def __init__(
        self,
        folder: Path,
        url: str,
        signers: Sequence[webhook.Signer],
        transport: Transport,
        draw: Callable[[], float] = _SPREAD.random,
    ) -> None:
        """draw gives a number from 0 to 1: no two receivers that came back are told at the same moment."""
        self.folder = folder
        self._url = url
        self._who = origin_of(url)  # the rest of the address may be a secret
        self._signers = tuple(signers)
        self._transport = transport
        self._draw = draw

    def put(self, id: str, order: int, body: bytes) -> None:
        """Keep an event until it is taken, durable on return; one that waits already is left as it is.

        Events are sent by ascending order.

        Raises:
            UnavailableError: the file cannot be written.
        """
        path = self.folder / f"{order:012}-{id}{_SUFFIX}"
        if not path.exists():
            replace_file(path, Letter(id, body).to_bytes(), PRIVATE_MODE)

    def waiting(self) -> list[Path]:
        """The files of events that were not taken yet, in their order."""
        return sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))

    def deliver(self, now: float) -> int:
        """Send what is due at now, in seconds since 1970; how many events still wait.

        Raises:
            UnavailableError: a file cannot be written or removed.
        """
        for path in self.waiting()[:-MAX_WAITING]:
            _log.error("webhook to %s: an event is given up, more than %d wait", self._who, MAX_WAITING)
            remove_file(path)
        for path, letter in self._letters():
            # A clock that was wrong must not make an event wait for years.
            if now < letter.not_before <= now + _DAY_S:
                if letter.is_refused:
                    continue
                break
            after = self._send(letter, int(now))
            if after is None:
                remove_file(path)
                continue
            replace_file(path, after.to_bytes(), PRIVATE_MODE)
            if not after.is_refused:
                break
        return len(self.waiting())

    def due(self) -> int | None:
        """When something can be sent, in seconds since 1970; None if nothing waits."""
        found = None
        for _, letter in self._letters():
            found = letter.not_before if found is None else min(found, letter.not_before)
            if not letter.is_refused:
                break
        return found

    def deliver_now(
        self, patience_s: float, clock: Callable[[], float], pause: Callable[[float], object]
    ) -> int:
        """Send what is due, trying again as long as the pauses end within patience; how many still wait."""
        last = clock() + patience_s
        while left := self.deliver(clock()):
            due = self.due()
            if due is None or due > last:
                return left
            pause(max(0.1, due - clock()))
        return 0

    def _letters(self) -> Iterator[tuple[Path, Letter]]:
        for path in self.waiting():
            try:
                with path.open("rb") as file:
                    yield path, Letter.from_bytes(file.read(_MAX_FILE_BYTES + 1))
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise UnavailableError(f"cannot read {path.name}: {exc.strerror}") from exc
            except MalformedError:
                _log.error("webhook to %s: %s is no event, and set aside", self._who, path.name)
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".broken"))

    def _send(self, letter: Letter, now: int) -> Letter | None:
        """What is left to be done about an event after a try; None if nothing is."""
        head = webhook.sign(self._signers, letter.id, now, letter.body)
        headers = {"Content-Type": "application/json", **head.to_headers()}
        try:
            answer = self._transport(
                "POST", self._url, body=letter.body, headers=headers, max_bytes=_MAX_ANSWER_BYTES
            )
        except UnavailableError:
            answer = Answer(0, b"")
        if 200 <= answer.status < 300:
            return None
        tries, said = letter.tries + 1, f"answer {answer.status}" if answer.status else "no answer"
        if tries >= MAX_TRIES or answer.status == _GONE:
            _log.error("webhook to %s: %s is given up after %d tries: %s", self._who, letter.id, tries, said)
            return None
        if tries == 1:
            _log.warning("webhook to %s: %s was not taken: %s", self._who, letter.id, said)
        is_refused = 300 <= answer.status < 500 and answer.status not in _NOT_NOW
        pause = max(self._pause(tries), retry_after(answer, now))
        return replace(letter, tries=tries, not_before=now + pause, is_refused=is_refused)

    def _pause(self, tries: int) -> int:
        longest = float(min(FIRST_PAUSE_S * PAUSE_FACTOR ** (tries - 1), MAX_PAUSE_S))
        return max(1, round(longest * (1 + self._draw()) / 2))


def retry_after(answer: Answer, now: int) -> int:
    """The seconds to wait that an answer asks for, a day at most; 0 where it asks for none.

    RFC 9110, Section 10.2.3.
    """
    text = answer.headers.get("retry-after", "").strip()
    try:
        seconds = parse_decimal(text)
    except MalformedError:
        try:
            seconds = round(email.utils.parsedate_to_datetime(text).timestamp()) - now
        except (ValueError, OverflowError):
            return 0
    return max(0, min(seconds, _DAY_S))


def check_url(url: str) -> str:
    """The address of a receiver, if nobody on the way can read or change what is sent there.

    Raises:
        MalformedError: no http(s) URL, or http to another machine.
    """
    origin_of(url)
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise MalformedError("a webhook to another machine goes by https")
    return url


def read_signers(path: Path) -> tuple[webhook.Signer, ...]:
    """The keys in a file, one on each line; all of them sign, so that a receiver can change over.

    Raises:
        ConfigurationError: it cannot be read, or has none, or something else.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_KEY_BYTES).decode("ascii").split()
        signers = tuple(webhook.parse_signer(line) for line in lines)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except (UnicodeDecodeError, MalformedError) as exc:
        raise ConfigurationError(
            f"{path.name} has no keys of webhooks: make one with headcount webhooks key"
        ) from exc
    if not 1 <= len(signers) <= webhook.MAX_SIGNATURES:
        raise ConfigurationError(f"{path.name} must have 1 to {webhook.MAX_SIGNATURES} keys")
    return signers
