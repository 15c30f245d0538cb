"""The batch between its building and its publication: one file of objects and one plan, in ``pending/``.

The objects are exactly what will be published, so that what is checked before signing and what is
written after the commit are the same bytes. One file, because one fsync is cheaper than a thousand.

Where the database is PostgreSQL they stand in it instead (``pending_tables``), for another machine to
take over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from headcount_ledger import durable
from headcount_spec import jcs
from headcount_spec.errors import CorruptionError, MalformedError, NotFoundError
from headcount_spec.merkle import RootHash
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_hex
from headcount_spec.wire import u16, u32


class NewObjects(Protocol):
    """Takes the objects of a batch that is being built."""

    def add(self, path: str, data: bytes) -> None:
        """Append one object."""
        ...

    def finish(self) -> bytes:
        """The SHA-256 of their file, whether there is a file or not; durable when the writer's block ends."""
        ...


class PendingObjects(Protocol):
    """The objects of a batch, read back from where they stand."""

    def __iter__(self) -> Iterator[tuple[str, bytes]]: ...

    def __contains__(self, path: object) -> bool: ...

    def read(self, path: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFoundError: the batch has none of this path.
        """
        ...

    def digest(self) -> bytes:
        """What ``NewObjects.finish`` gave, computed again from what is stored."""
        ...


class PendingBatch(Protocol):
    """The place of the batch that is on its way; it holds one at most."""

    def writer(self) -> AbstractContextManager[NewObjects]:
        """Begin a batch, in the place of whatever is there."""
        ...

    def objects(self) -> PendingObjects:
        """The objects as they are stored.

        Raises:
            CorruptionError: there are none.
        """
        ...

    def save(self, plan: Plan) -> None:
        """Keep the plan, durably."""
        ...

    def load(self, batch: int) -> Plan:
        """The plan of a batch that the head says is committed.

        Raises:
            CorruptionError: it is missing, another batch's, or its objects are not those that were planned.
        """
        ...

    def is_empty(self) -> bool:
        """Whether nothing is there, not even a part of a batch."""
        ...

    def clear(self) -> None:
        """Remove what is there: published, or never committed."""
        ...


def frame(path: str, data: bytes) -> tuple[bytes, ...]:
    """The parts of one object as it stands in the file, and in the digest."""
    name = path.encode("ascii")
    return u16(len(name)), name, u32(len(data)), data


# struct {
#     opaque path<0..2^16-1>;
#     opaque data<0..2^32-1>;
# } Object;     the file is a sequence of them
class ObjectWriter:
    """Writes the file of objects; durable after ``finish``."""

    def __init__(self, path: Path) -> None:
        durable.make_directory(path.parent)
        self._path = path
        with durable.writing():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, durable.PRIVATE_MODE)
            self._file = os.fdopen(descriptor, "wb", buffering=1 << 20)
        self._digest = hashlib.sha256()

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a write that failed, closing tries to write the rest once more and fails again.
        with contextlib.suppress(OSError) if exc is not None else durable.writing():
            self._file.close()

    def add(self, path: str, data: bytes) -> None:
        """Append one object."""
        with durable.writing():
            for part in frame(path, data):
                self._digest.update(part)
                self._file.write(part)

    def finish(self) -> bytes:
        """Make the file durable; its SHA-256."""
        with durable.writing():
            self._file.flush()
        durable.sync(self._file.fileno(), self._path)
        self._file.close()
        durable.sync_directory(self._path.parent)
        return self._digest.digest()


class Objects:
    """Reads the file of objects back from the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}  # path → offset, length
        for name, offset, length in self._scan():
            self._places[name] = (offset, length)

    def _scan(self) -> Iterator[tuple[str, int, int]]:
        size = self._path.stat().st_size
        with durable.reading(), self._path.open("rb") as file:
            at = 0
            while at < size:
                name = file.read(int.from_bytes(file.read(2), "big")).decode("ascii", "replace")
                length = int.from_bytes(file.read(4), "big")
                at = file.tell()
                yield name, at, length
                at = file.seek(length, os.SEEK_CUR)
            if at != size:
                raise CorruptionError("the pending batch is truncated")

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        with durable.reading(), self._path.open("rb") as file:
            for name, (offset, length) in self._places.items():
                file.seek(offset)
                yield name, file.read(length)

    def __contains__(self, path: object) -> bool:
        return path in self._places

    def read(self, path: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFoundError: the batch has none of this path.
        """
        place = self._places.get(path)
        if place is None:
            raise NotFoundError(f"no {path} in the batch")
        with durable.reading(), self._path.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])

    def digest(self) -> bytes:
        """SHA-256 of the file."""
        with durable.reading(), self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()


@dataclass(frozen=True, slots=True)
class Plan:
    """What must be known of a committed batch to publish it: the batch manifest of the design."""

    batch: int
    old_size: int
    size: int
    root: RootHash
    objects: bytes  # SHA-256 of the file of objects
    hints: tuple[ScopeId, ...]  # scopes whose list of notices has grown

    def to_bytes(self) -> bytes:
        """JSON, RFC 8785."""
        return jcs.canonicalise(
            {
                "batch": self.batch,
                "old_size": self.old_size,
                "size": self.size,
                "root": self.root.hex(),
                "objects": self.objects.hex(),
                "hints": [scope.hex() for scope in self.hints],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Read what ``to_bytes`` wrote.

        Raises:
            CorruptionError: it is something else.
        """
        try:
            value: Any = jcs.parse_canonical(data, 1 << 28)
            return cls(
                int(value["batch"]),
                int(value["old_size"]),
                int(value["size"]),
                RootHash(decode_hex(value["root"], 32)),
                decode_hex(value["objects"], 32),
                tuple(ScopeId(decode_hex(scope, 32)) for scope in value["hints"]),
            )
        except (MalformedError, KeyError, TypeError) as exc:
            raise CorruptionError("the plan of the pending batch is damaged") from exc


class Pending:
    """The directory of the batch that is on its way; it holds one at most."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def objects_path(self) -> Path:
        """The file of objects."""
        return self._directory / "objects"

    @property
    def plan_path(self) -> Path:
        """The file of the plan."""
        return self._directory / "plan"

    def writer(self) -> ObjectWriter:
        """Begin a new file of objects."""
        return ObjectWriter(self.objects_path)

    def objects(self) -> Objects:
        """The objects as they stand on the disk.

        Raises:
            CorruptionError: there are none.
        """
        try:
            return Objects(self.objects_path)
        except FileNotFoundError as exc:
            raise CorruptionError("the objects of the pending batch are missing") from exc

    def save(self, plan: Plan) -> None:
        """Keep the plan, durably."""
        durable.replace_file(self.plan_path, plan.to_bytes(), durable.PRIVATE_MODE)

    def load(self, batch: int) -> Plan:
        """The plan of a batch that the head says is committed.

        Raises:
            CorruptionError: it is missing, another batch's, or its objects are not those that were planned.
        """
        stored: bytes | None = None
        with contextlib.suppress(FileNotFoundError), durable.reading():
            stored = self.plan_path.read_bytes()
        return check_plan(stored, batch, self)

    def is_empty(self) -> bool:
        """Whether neither file is there."""
        return not (self.objects_path.exists() or self.plan_path.exists())

    def clear(self) -> None:
        """Remove what is there: published, or never committed."""
        for path in (self.plan_path, self.objects_path):
            durable.remove_file(path)


def check_plan(stored: bytes | None, batch: int, pending: PendingBatch) -> Plan:
    """The stored plan of a batch that the head says is committed; see ``PendingBatch.load``."""
    if stored is None:
        raise CorruptionError("the plan of the pending batch is missing")
    plan = Plan.from_bytes(stored)
    if plan.batch != batch:
        raise CorruptionError("the pending plan is another batch's")
    if pending.objects().digest() != plan.objects:
        raise CorruptionError("the objects of the pending batch are not those that were planned")
    return plan
