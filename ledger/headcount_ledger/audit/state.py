"""What an audit leaves for the next one, so that only new entries cost anything.

    struct {
        opaque magic[24] = "headcount/audit-state/2\n";
        uint64 end;                        bytes of the file that count
        opaque hash[32];                   SHA-256 of the runs
        Run runs[];                        up to end
    }

    struct {
        uint64 header_bytes, pledges;
        opaque header[header_bytes];       canonical JSON, see AuditState; the last run's counts
        opaque padding[];                  zeros up to a multiple of 8
        uint64 prefixes[pledges];          first 64 bits of each nullifier, ascending; little-endian
        uint64 indices[pledges];           in the log; little-endian
    } Run;

Each audit appends what is new as a run of its own, and of many runs makes one again: what it writes grows
with what the ledger has grown by. A run counts when ``end`` and ``hash`` are written over it, which one
sector of a disk does wholly or not at all; what follows ``end`` is left of an interrupted audit.

Kept only where nothing is wrong. Whoever can write the file can make the next audit believe anything
about the entries that it covers: it is as private as a remembered checkpoint, and the report names it.
The hash, over every byte, is against decay and mistakes, not against such a person.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from headcount_ledger.audit.spent import Before, Indices, Prefixes
from headcount_spec.errors import ConfigurationError

MAGIC = b"headcount/audit-state/2\n"
MAX_RUNS = 32  # more are merged into one: each is searched for every new pledge
_HASH_BYTES = 32
_HEAD = len(MAGIC) + 8 + _HASH_BYTES
_RUN_HEAD = 16
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


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> _Hash: ...


@dataclass(frozen=True, slots=True)
class Extension:
    """What is known of a state file by whoever may append to it."""

    end: int
    hash: _Hash  # of the runs so far
    runs: int

    @property
    def head(self) -> bytes:
        """The first bytes of such a file."""
        return MAGIC + self.end.to_bytes(8, "big") + self.hash.copy().digest()


@dataclass(frozen=True, slots=True)
class LoadedState:
    """A state and the pledges that it knows, in a file that is mapped into memory.

    What it says may be used at once, and is worth nothing before it is verified.
    """

    state: AuditState
    before: tuple[Before, ...]
    runs: int
    end: int
    name: str
    expected: bytes
    hashing: Future[_Hash]

    def verify(self) -> _Hash:
        """The hash of the runs, when all of them are read and it is what the file says.

        Raises:
            ConfigurationError: the file is damaged.
        """
        found = self.hashing.result()
        if found.digest() != self.expected:
            raise _broken(self.name)
        return found

    @property
    def extension(self) -> Extension:
        """What may be appended to.

        Raises:
            ConfigurationError: the file is damaged.
        """
        return Extension(self.end, self.verify(), self.runs)


def load_state(path: Path) -> LoadedState | None:
    """The state in a file; None if there is no such file yet. It is hashed from now on, beside other work.

    Raises:
        ConfigurationError: it cannot be read, or is damaged so that it makes no sense.
    """
    broken = _broken(path.name)
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # not while another audit appends
            head = file.read(_HEAD)
            end = int.from_bytes(head[len(MAGIC) : len(MAGIC) + 8], "big")
            if not head.startswith(MAGIC) or not _HEAD < end <= os.fstat(file.fileno()).st_size:
                raise broken
            data = mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ)
            fcntl.flock(file, fcntl.LOCK_UN)  # the map holds the file open, and with it the lock
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{path.name} is not a state of an audit") from exc
    before: list[Before] = []
    at, runs, header = _HEAD, 0, b""
    while at < end:
        runs += 1
        size, pledges = (int.from_bytes(data[at + i : at + i + 8], "big") for i in (0, 8))
        start = _padded(at + _RUN_HEAD + size)
        if start + 16 * pledges > end:
            raise broken
        header = data[at + _RUN_HEAD : at + _RUN_HEAD + size]
        prefixes: Prefixes = np.frombuffer(data, "<u8", pledges, start)
        indices: Indices = np.frombuffer(data, "<i8", pledges, start + 8 * pledges)
        if pledges:
            before.append(Before(prefixes, indices))
        at = start + 16 * pledges
    try:
        state = AuditState(**json.loads(header))
        is_sound = _is_sound(state)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise broken from exc
    if not is_sound:
        raise broken
    thread = ThreadPoolExecutor(1, "hash")
    hashing = thread.submit(_hash_of, data, end)
    thread.shutdown(wait=False)
    return LoadedState(state, tuple(before), runs, end, path.name, head[-_HASH_BYTES:], hashing)


def _hash_of(data: mmap.mmap, end: int) -> _Hash:
    digest = hashlib.sha256()
    with memoryview(data) as view:
        for at in range(_HEAD, end, _CHUNK):
            digest.update(view[at : min(at + _CHUNK, end)])
    return digest


def _broken(name: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is damaged or not a state of an audit; remove it to begin anew")


def _is_sound(state: AuditState) -> bool:
    """Whether what is counted with is numbers, names are text, and lists are lists."""
    lists, names = [state.rows, state.revised, state.scopes], [state.origin, state.policy]
    numbers = [state.size, *(value for row in state.revised for value in row)]
    numbers += [value for row in state.rows for value in row[:4]]
    if state.seals["last"] is not None:
        numbers += [state.seals["pledges"], state.seals["last"][0], state.seals["last"][3]]
    for scope in state.scopes:
        lists += [scope["notices"], scope["choices"]]
        names += [
            *scope["texts"],
            *scope["children"],
            *(k for keys in scope["destroyed"].values() for k in keys),
        ]
        numbers += [*scope["notices"], *(scope["reached"] or ())]
        numbers += [value for pair in scope["choices"] for value in pair]
        numbers += [] if scope["closed_in"] is None else [scope["closed_in"]]
        numbers += [seq for seq, _ in scope["previous"].values()]
        for name in ("openings", "issued", "slips", "issuance_day", "unjudged_since"):
            numbers += scope[name].values()
        numbers += [scope[name] for name in ("batch", "gross", "withdrawn")]
    is_plain = all(type(value) is list for value in lists) and all(type(value) is str for value in names)
    return is_plain and all(type(value) is int and value >= 0 for value in numbers)


@contextlib.contextmanager
def believing() -> Iterator[None]:
    """While a state is taken apart: whoever has written the file may have put anything there.

    Raises:
        ConfigurationError: something that no audit has written.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise ConfigurationError("the state is damaged; remove it to begin anew") from exc


def append_state(
    path: Path, state: AuditState, placed: Iterable[tuple[Prefixes, Indices]], known: Extension
) -> Extension | None:
    """Append a run to the file that is known so; None if it is another by now, or has runs enough.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if known.runs >= MAX_RUNS:
        return None
    try:
        with open(path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.read(_HEAD) != known.head:
                return None
            file.truncate(known.end)
            grown = _write_run(file, state, placed, known)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            file.write(grown.head)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    return grown


def save_state(path: Path, state: AuditState, placed: Iterable[tuple[Prefixes, Indices]]) -> Extension:
    """Write a state of one run in place of the one before, wholly or not at all.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent or ".")
        try:
            with os.fdopen(handle, "w+b") as file:
                written = _write_run(file, state, placed, Extension(_HEAD, hashlib.sha256(), 0))
                file.seek(0)
                file.write(written.head)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    return written


def _write_run(
    file: IO[bytes], state: AuditState, placed: Iterable[tuple[Prefixes, Indices]], known: Extension
) -> Extension:
    header = json.dumps(asdict(state), separators=(",", ":"), sort_keys=True).encode()
    start = _padded(known.end + _RUN_HEAD + len(header))
    with tempfile.TemporaryFile() as second:
        file.seek(start)
        pledges = 0
        for prefixes, indices in placed:
            file.write(prefixes.astype("<u8").tobytes())
            second.write(indices.astype("<i8").tobytes())
            pledges += len(prefixes)
        second.seek(0)
        while data := second.read(_CHUNK):
            file.write(data)
    lengths = len(header).to_bytes(8, "big") + pledges.to_bytes(8, "big")
    file.seek(known.end)
    file.write((lengths + header).ljust(start - known.end, b"\0"))
    digest = known.hash.copy()
    file.seek(known.end)
    while data := file.read(_CHUNK):
        digest.update(data)
    return Extension(start + 16 * pledges, digest, known.runs + 1)


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _unwritable(path: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot write {path.name}: {exc.strerror}")
