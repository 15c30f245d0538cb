"""Files that are made to be shown to others: complete under their name, or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headcount_spec.errors import ConfigurationError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name in the same folder to write to, which takes the file's name at the end; nothing if it fails.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Replace the file.

    Raises:
        ConfigurationError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)
