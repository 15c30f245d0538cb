"""Files that survive a power cut: write aside, fsync, rename, fsync the directory.

After a failed fsync nobody knows what is on the disk, and asking again does not tell (the kernel may
have dropped the pages): the process ends and recovers from what it finds when it starts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from headcount_ledger.syncfs import sync_filesystem
from headcount_spec.errors import CorruptionError, UnavailableError

PUBLIC_MODE = 0o644
PRIVATE_MODE = 0o600
GROUP = 256  # files that are open at once
MANY = 8  # files from which on one syncfs is cheaper than an fsync of each


def create_files(files: Iterable[tuple[Path, bytes]], mode: int = PUBLIC_MODE) -> None:
    """Write files that never change; all are durable on return.

    A file that exists must have the same bytes: that is how work is taken up again after a crash.

    Raises:
        CorruptionError: a file exists with other bytes.
        UnavailableError: the disk is full or does not let us write.
        SystemExit: fsync failed.
    """
    files = iter(files)
    while group := list(islice(files, GROUP)):
        _create_group(group, mode)


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


def _create_group(files: Sequence[tuple[Path, bytes]], mode: int) -> None:
    """Write all aside, sync all, rename all, fsync their directories.

    A name appears only after its bytes are durable, as if each file were alone.
    """
    written: list[tuple[int, Path]] = []
    aside: list[Path] = []
    try:
        for path, data in files:
            if _exists(path, data):
                # It may be the work of a process that died before its fsync.
                with reading():
                    written.append((os.open(path, os.O_RDONLY), path))
                continue
            make_directory(path.parent)
            with writing():
                # Kept open until its fsync: an error of the disk is told to those that have it open.
                written.append((os.open(_aside(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), path))
                _write_all(written[-1][0], data)
            aside.append(path)
        _sync_all(written)
    finally:
        for descriptor, _ in written:
            os.close(descriptor)
    with writing():
        for path in aside:
            os.rename(_aside(path), path)
    for directory in sorted({path.parent for path, _ in files}):
        sync_directory(directory)


def _sync_all(files: Sequence[tuple[int, Path]]) -> None:
    """Make open files durable: many by one syncfs, which was opened for before the first was written.

    Raises:
        SystemExit: it is not known whether they are.
    """
    if len(files) >= MANY and len({os.fstat(descriptor).st_dev for descriptor, _ in files}) == 1:
        try:
            if sync_filesystem(files[0][0]):
                return
        except OSError as exc:
            raise SystemExit(f"syncfs failed: {exc.strerror}") from exc
    for descriptor, path in files:
        sync(descriptor, path)


def _exists(path: Path, data: bytes) -> bool:
    """Whether the file is there, with these bytes.

    Raises:
        CorruptionError: with others.
    """
    try:
        with reading():
            existing = path.read_bytes()
    except FileNotFoundError:
        return False
    if existing != data:
        raise CorruptionError(f"{path.name} exists with other bytes than those to be written")
    return True


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write(path: Path, data: bytes, mode: int) -> None:
    aside = _aside(path)
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
