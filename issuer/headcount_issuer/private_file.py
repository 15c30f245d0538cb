"""Files of secrets: readable by their owner only, written in one step, destroyed rather than deleted."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from headcount_spec.errors import ConfigurationError

_MAX_BYTES = 65536


def write_private(path: Path, data: bytes) -> None:
    """Write a file that must not exist, mode 0600, durably and in one step.

    Raises:
        ConfigurationError: it exists, or cannot be written.
    """
    _write(path, data, replace=False)


def replace_private(path: Path, data: bytes) -> None:
    """Put other bytes in the place of a private file, and destroy the old ones.

    Raises:
        ConfigurationError: it cannot be written.
    """
    old = path.with_name(f".{path.name}.old")
    try:
        if not old.exists():  # else an earlier attempt was stopped after the replacement
            os.link(path, old)  # so that there is something left to overwrite
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc
    _write(path, data, replace=True)
    destroy(old)


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner may read.

    Raises:
        ConfigurationError: missing, too long, or readable by others.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigurationError(f"{path.name} is open to others: chmod 600")
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path.name} is too long")
    return data


def destroy(path: Path) -> bool:
    """Overwrite a file, remove it, and make both durable; whether it was there.

    A file system that copies on write, a flash disk or a backup may keep the old blocks: they are to
    be encrypted, and backups of keys to be thrown away with them.

    Raises:
        ConfigurationError: it cannot be destroyed.
    """
    try:
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.write(secrets.token_bytes(size))
            file.flush()
            os.fsync(file.fileno())
        os.unlink(path)
        _sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise ConfigurationError(f"cannot destroy {path.name}: {exc.strerror}") from exc
    return True


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.rename(temporary, path)
            else:
                os.link(temporary, path)  # unlike a rename, fails if path exists
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except FileExistsError as exc:
        raise ConfigurationError(f"{path.name} exists already") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
