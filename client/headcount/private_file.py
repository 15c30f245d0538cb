"""Files that hold a person's secrets: readable by their owner only, and never half written.

Every write goes to a temporary file in the same folder, is flushed, takes the name in one step, and
the folder is flushed after it: after a crash the file is the old one or the new one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from headcount_spec.errors import ConfigurationError

MAX_BYTES = 2**20


def write(path: Path, data: bytes) -> None:
    """Replace the file, mode 0600.

    Raises:
        ConfigurationError: it cannot be written.
    """
    _place(path, data, os.replace)


def create(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, mode 0600.

    Raises:
        ConfigurationError: it exists, or it cannot be written.
    """
    _place(path, data, _link)


def _link(source: str, target: str) -> None:
    os.link(source, target)  # fails if the target exists, which a rename does not
    os.unlink(source)


def _place(path: Path, data: bytes, take_name: Callable[[str, str], None]) -> None:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            take_name(str(temporary), str(path))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as exc:
        raise ConfigurationError(f"{path.name} exists already") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc


def read(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of the file.

    Raises:
        ConfigurationError: missing, unreadable, or longer than max_bytes.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    if len(data) > max_bytes:
        raise ConfigurationError(f"{path.name} is longer than {max_bytes} bytes")
    return data
