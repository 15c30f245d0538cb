"""Compiled code, kept in a file for the next process: to read it takes milliseconds.

    struct {
        opaque hash[32];                   SHA-256 of the code
        opaque code[];                     an object file
    }

The file is named after all that the code follows from: our sources, the processor and LLVM's version. It is
in $XDG_CACHE_HOME/headcount (~/.cache/headcount), as Python keeps its byte code beside the sources, and as
theirs its word is taken: what another user owns or could write is neither read nor written over. The hash
is against decay. Nothing is lost with the file, and where it cannot be kept, code is compiled each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

MAX_BYTES = 2**20  # the code takes 24 kB
_HASH_BYTES = 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def kept(processor: str, make: Callable[[], bytes]) -> bytes:
    """The code for a processor of this name: as it was kept, or made now and kept."""
    path = None if os.name != "posix" else _path(processor)
    if path is None:
        return make()
    code = _read(path)
    if code is None:
        code = make()
        with contextlib.suppress(OSError):
            _write(path, code)
    return code


def _path(processor: str) -> Path | None:
    """Where; None without sources to tell versions by, or without a home."""
    digest = hashlib.sha256(processor.encode())
    try:
        sources = sorted(Path(__file__).parent.glob("*.py"))
        if not sources:
            return None
        for source in sources:
            digest.update(hashlib.sha256(source.read_bytes()).digest())
        caches = os.environ.get("XDG_CACHE_HOME", "")
        # The specification of base directories has it that a relative path is none.
        folder = Path(caches) if Path(caches).is_absolute() else Path.home() / ".cache"
    except (OSError, RuntimeError):
        return None
    return folder / "headcount" / f"lanes-{digest.hexdigest()[:32]}.o"


def _read(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode) or not _is_ours(about):
                return None
            data = file.read(MAX_BYTES)
    except OSError:
        return None
    code = data[_HASH_BYTES:]
    return code if hashlib.sha256(code).digest() == data[:_HASH_BYTES] else None


def _write(path: Path, code: bytes) -> None:
    """Raises OSError where it cannot be kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(path.parent.stat()):
        raise PermissionError("the folder is somebody else's")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _is_ours(about: os.stat_result) -> bool:
    """Whether nobody else has made it, or could have changed it."""
    return about.st_uid == os.geteuid() and not about.st_mode & _OTHERS_WRITE
