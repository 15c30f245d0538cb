"""What an audit leaves for the next one, so that only new entries cost anything.

    struct {
        opaque magic[24] = "headcount/audit-state/1\n";
        uint64 header_bytes, pledges;
        opaque header[header_bytes];       canonical JSON, see AuditState
        opaque padding[];                  zeros up to a multiple of 8
        uint64 prefixes[pledges];          first 64 bits of each nullifier, ascending; little-endian
        uint64 indices[pledges];           in the log; little-endian
        opaque hash[32];                   SHA-256 of everything before
    }

Kept only where nothing is wrong. Whoever can write the file can make the next audit believe anything
about the entries that it covers: it is as private as a remembered checkpoint, and the report names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headcount_ledger.audit.spent import Before, Indices, Prefixes
from headcount_spec.errors import ConfigurationError

MAGIC = b"headcount/audit-state/1\n"
_HEAD = len(MAGIC) + 16
_HASH_BYTES = 32
_CHUNK = 2**22


@dataclass(frozen=True, slots=True)
class AuditState:
    """Where an audit has come to; all of it is JSON."""

    origin: str
    policy: str  # hex SHA-256 of the trust policy
    size: int  # entries that are verified; the last of them is a seal
    root: str
    checkpoint: str | None  # signed, if one was published for this size and is verified
    tree: dict[str, Any]
    seals: dict[str, Any]
    scopes: list[dict[str, Any]]
    rows: list[list[Any]]
    revised: list[list[int]]  # index, choice, serial and batch of the revision of each revised pledge


@dataclass(frozen=True, slots=True)
class LoadedState:
    """A state and the pledges that it knows, in a file that is mapped into memory."""

    state: AuditState
    before: Before


def load_state(path: Path) -> LoadedState | None:
    """The state in a file; None if there is no such file yet.

    Raises:
        ConfigurationError: it cannot be read, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{path.name} is not a state of an audit") from exc
    broken = ConfigurationError(f"{path.name} is damaged or not a state of an audit; remove it to begin anew")
    if len(data) < _HEAD + _HASH_BYTES or data[: len(MAGIC)] != MAGIC:
        raise broken
    if _hash(data, len(data) - _HASH_BYTES) != data[-_HASH_BYTES:]:
        raise broken
    header, pledges = (int.from_bytes(data[at : at + 8], "big") for at in (len(MAGIC), len(MAGIC) + 8))
    start = _padded(_HEAD + header)
    if start + 16 * pledges + _HASH_BYTES != len(data):
        raise broken
    try:
        state = AuditState(**json.loads(data[_HEAD : _HEAD + header]))
    except (ValueError, TypeError) as exc:
        raise broken from exc
    prefixes: Prefixes = np.frombuffer(data, "<u8", pledges, start)
    indices: Indices = np.frombuffer(data, "<i8", pledges, start + 8 * pledges)
    return LoadedState(state, Before(prefixes, indices))


def save_state(path: Path, state: AuditState, placed: Iterable[tuple[Prefixes, Indices]]) -> None:
    """Write a state in place of the one before, wholly or not at all.

    Raises:
        ConfigurationError: it cannot be written.
    """
    header = json.dumps(asdict(state), separators=(",", ":"), sort_keys=True).encode()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent or ".")
        try:
            with os.fdopen(handle, "w+b") as file, tempfile.TemporaryFile(dir=path.parent or ".") as second:
                file.write(bytes(_padded(_HEAD + len(header))))
                pledges = 0
                for prefixes, indices in placed:
                    file.write(prefixes.astype("<u8").tobytes())
                    second.write(indices.astype("<i8").tobytes())
                    pledges += len(prefixes)
                second.seek(0)
                shutil.copyfileobj(second, file, _CHUNK)
                file.seek(0)
                file.write(MAGIC + len(header).to_bytes(8, "big") + pledges.to_bytes(8, "big") + header)
                file.flush()
                size = os.fstat(file.fileno()).st_size
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as written:
                    digest = _hash(written, size)
                file.seek(size)
                file.write(digest)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _hash(data: mmap.mmap, size: int) -> bytes:
    digest = hashlib.sha256()
    for at in range(0, size, _CHUNK):
        digest.update(data[at : min(at + _CHUNK, size)])
    return digest.digest()
