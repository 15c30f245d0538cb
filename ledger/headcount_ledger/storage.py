"""Where the published tree stands: a directory, or whatever else keeps these five promises."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from headcount_ledger import durable
from headcount_spec.errors import CorruptionError, NotFoundError

CHECKPOINT = "checkpoint"
PARTIAL_SUFFIX = ".p"  # tlog-tiles: of the folder of a tile's partial versions


class Storage(Protocol):
    """Objects by path below the ledger's prefix. Whatever a method has written is durable when it returns."""

    def read(self, path: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFoundError: there is none.
        """
        ...

    def create(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Write objects that never change; one that exists must have the same bytes.

        Raises:
            CorruptionError: one exists with other bytes.
        """
        ...

    def swap(self, path: str, data: bytes, previous: bytes | None) -> None:
        """Replace an object that has the previous bytes (None: is not there); repeating it does no harm.

        Raises:
            CorruptionError: it has neither the previous bytes nor the new ones: somebody else writes too.
        """
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write an object over whatever is there: for hints, which nothing relies on."""
        ...

    def collect(self, path: str) -> None:
        """Remove the partial versions (path.p/…) of a full tile or bundle; repeating it does no harm.

        Raises:
            CorruptionError: the full one is not there; nothing is removed.
        """
        ...


class DirectoryStorage:
    """The tree as files of a local directory, which any web server can serve."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, path: str) -> bytes:
        """The bytes of a file; paths are made by us or checked by the caller."""
        try:
            with durable.reading():
                return (self.directory / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
            raise NotFoundError(f"no {path} in the ledger") from exc

    def create(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Write files that never change."""
        durable.create_files((self.directory / path, data) for path, data in objects)

    def swap(self, path: str, data: bytes, previous: bytes | None) -> None:
        """Replace a file; the sequencer's lock keeps others away between the look and the write."""
        current = find(self, path)
        if current not in (previous, data):
            raise CorruptionError(f"{path} was changed by somebody else")
        self.put(path, data)

    def put(self, path: str, data: bytes) -> None:
        """Write a file over whatever is there."""
        durable.replace_file(self.directory / path, data)

    def collect(self, path: str) -> None:
        """Remove the folder of partial files beside a full one."""
        full = self.directory / path
        if not full.is_file():
            raise CorruptionError(f"{path} should be there in full")
        durable.remove_directory(full.with_name(f"{full.name}{PARTIAL_SUFFIX}"))


def find(storage: Storage, path: str) -> bytes | None:
    """The bytes of an object, None if there is none."""
    try:
        return storage.read(path)
    except NotFoundError:
        return None
