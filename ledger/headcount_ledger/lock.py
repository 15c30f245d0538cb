"""The lock of the one sequencer, or the one writer, on one machine: a locked file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from headcount_spec.errors import UnavailableError


class FileLock:
    """Held while it exists; the operating system drops it with the process."""

    def __init__(self, path: Path, name: str = "sequencer") -> None:
        """Take it.

        Raises:
            UnavailableError: another one of this name has it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            raise UnavailableError(f"another {name} runs on this ledger") from exc
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Let another have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
