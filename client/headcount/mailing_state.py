"""How far a mailing is, encrypted: which mail was handed over, refused or put off, by number of its reader.

    "headcount/mailing/v1\\0" || nonce[12] || uint32 size || box            the mailing itself
    (nonce[12] || AES-256-GCM(uint32 number || uint8 outcome))*             33 bytes each, as they are written

Before a mail's text leaves, "trying" is on the disk; after the answer, what came of it. What was being tried
when everything stopped may have arrived: it is never sent again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headcount import private_file
from headcount.contact_list import derive
from headcount_spec.errors import ConfigurationError
from headcount_spec.wire import u8, u32

_MAGIC = b"headcount/mailing/v1\x00"
_NONCE_BYTES = 12
_RECORD_BYTES = _NONCE_BYTES + 5 + 16
_MAX_BYTES = 2**30


class Outcome(IntEnum):
    """What became of one mail."""

    TRYING = 1
    SENT = 2
    REFUSED = 3  # for good
    PUT_OFF = 4  # by the server, before it took the text: it may be tried again
    BOUNCED = 5  # came back after it was taken


class MailingState:
    """The file of one mailing."""

    def __init__(
        self, path: Path, contact_key: bytes, draw: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._path = path
        self._box = AESGCM(derive(contact_key, b"mailing"))
        self._draw = draw
        self._file: int | None = None
        self.outcomes: dict[int, Outcome] = {}

    def exists(self) -> bool:
        """Whether this mailing was begun."""
        return self._path.exists()

    def begin(self, content: bytes) -> None:
        """Write a new file for a mailing.

        Raises:
            ConfigurationError: it exists or cannot be written.
        """
        nonce = self._draw(_NONCE_BYTES)
        box = self._box.encrypt(nonce, content, _MAGIC)
        private_file.create(self._path, _MAGIC + nonce + u32(len(box)) + box)
        self._open()

    def load(self) -> bytes:
        """The mailing; the outcomes so far are in outcomes.

        Raises:
            ConfigurationError: it cannot be read, is of another key, or in another program's hands.
        """
        self._open()
        data = private_file.read(self._path, _MAX_BYTES)
        at = len(_MAGIC) + _NONCE_BYTES
        if not data.startswith(_MAGIC) or len(data) < at + 4:
            raise ConfigurationError(f"{self._path.name} is not the state of a mailing")
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        try:
            content = self._box.decrypt(data[len(_MAGIC) : at], data[at + 4 : end], _MAGIC)
            # A record that was cut by a crash is of a mail whose text had not left.
            whole = end + (len(data) - end) // _RECORD_BYTES * _RECORD_BYTES
            for start in range(end, whole, _RECORD_BYTES):
                nonce = data[start : start + _NONCE_BYTES]
                box = data[start + _NONCE_BYTES : start + _RECORD_BYTES]
                record = self._box.decrypt(nonce, box, _MAGIC)
                self.outcomes[int.from_bytes(record[:4], "big")] = Outcome(record[4])
        except InvalidTag as exc:
            raise ConfigurationError(f"{self._path.name} is of another contact key, or was changed") from exc
        if whole != len(data):
            os.truncate(self._path, whole)
        return content

    def note(self, number: int, outcome: Outcome) -> None:
        """Write down durably what became of the mail to a recipient.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        nonce = self._draw(_NONCE_BYTES)
        record = nonce + self._box.encrypt(nonce, u32(number) + u8(outcome), _MAGIC)
        try:
            if os.write(self._open(), record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the next load cuts it off
            os.fsync(self._open())
        except OSError as exc:
            raise ConfigurationError(f"cannot write {self._path.name}: {exc.strerror}") from exc
        self.outcomes[number] = outcome

    def _open(self) -> int:
        """The file, in nobody else's hands: two that send from one state would send each mail twice."""
        if self._file is None:
            try:
                file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BaseException:
                    os.close(file)
                    raise
            except BlockingIOError as exc:
                raise ConfigurationError(f"{self._path.name} is in use by another program") from exc
            except OSError as exc:
                raise ConfigurationError(f"cannot open {self._path.name}: {exc.strerror}") from exc
            self._file = file
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> MailingState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
