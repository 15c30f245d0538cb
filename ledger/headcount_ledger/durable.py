"""Files that survive a power cut: write aside, fsync, rename, fsync the directory.

After a failed fsync nobody knows what is on the disk, and asking again does not tell (the kernel may
have dropped the pages): the process ends and recovers from what it finds when it starts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from headcount_spec.errors import CorruptionError, UnavailableError

PUBLIC_MODE = 0o644
PRIVATE_MODE = 0o600


def create_files(files: Iterable[tuple[Path, bytes]], mode: int = PUBLIC_MODE) -> None:
    """Write files that never change; all are durable on return.

    A file that exists must have the same bytes: that is how work is taken up again after a crash.

    Raises:
        CorruptionError: a file exists with other bytes.
        UnavailableError: the disk is full or does not let us write.
        SystemExit: fsync failed.
    """
    directories: set[Path] = set()
    for path, data in files:
        _check_or_write(path, data, mode)
        directories.add(path.parent)
    for directory in sorted(directories):
        sync_directory(directory)


def replace_file(path: Path, data: bytes, mode: int = PUBLIC_MODE) -> None:
    """Write a file in the place of whatever is there, at once and durably.

    Raises:
        UnavailableError: the disk is full or does not let us write.
        SystemExit: fsync failed.
    """
    make_directory(path.parent)
    _write(path, data, mode)
    sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, durably; that it is not there is no error.

    Raises:
        UnavailableError: the disk does not let us.
        SystemExit: fsync failed.
    """
    if path.exists():
        with writing():
            path.unlink()
        sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory of files, durably; that it is not there is no error.

    Raises:
        UnavailableError: the disk does not let us, or it holds another directory.
        SystemExit: fsync failed.
    """
    if not path.is_dir():
        return
    with writing():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, each durable in the one above."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with writing():
        path.mkdir(0o755, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with reading():
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def sync(descriptor: int, path: Path) -> None:
    """Make what was written durable.

    Raises:
        SystemExit: it is not known whether it is.
    """
    try:
        os.fsync(descriptor)
    except OSError as exc:
        raise SystemExit(f"fsync of {path.name} failed: {exc.strerror}") from exc


def _check_or_write(path: Path, data: bytes, mode: int) -> None:
    try:
        with reading():
            existing = path.read_bytes()
    except FileNotFoundError:
        make_directory(path.parent)
        _write(path, data, mode)
        return
    if existing != data:
        raise CorruptionError(f"{path.name} exists with other bytes than those to be written")
    # It may be the work of a process that died before its fsync.
    with reading():
        descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int) -> None:
    aside = path.with_name(f".{path.name}.new")
    with writing():
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            sync(file.fileno(), path)
        os.rename(aside, path)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turn the refusal of a write into an error of ours.

    Raises:
        UnavailableError: the disk is full or does not let us write.
    """
    try:
        yield
    except OSError as exc:
        raise UnavailableError(f"cannot write: {exc.strerror}") from exc


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn the refusal of a read into an error of ours; that there is no such file stays what it is.

    Raises:
        UnavailableError: the disk does not let us read.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise
    except OSError as exc:
        raise UnavailableError(f"cannot read: {exc.strerror}") from exc
