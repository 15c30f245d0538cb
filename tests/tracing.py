"""Runs an operation of a ledger in a process of its own, under strace, which makes single calls fail."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import victim
from headcount_ledger.config import LedgerConfig

CALLS = (
    "openat",
    "rename",
    "renameat",
    "renameat2",
    "fsync",
    "fdatasync",
    "syncfs",
    "write",
    "pwrite64",
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "rmdir",
    "ftruncate",
    "close",
)
EFFECTS = ("error=EIO", "signal=KILL")

_LINE = re.compile(r"^(?P<thread>\d+) +(?P<call>\w+)\((?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class Call:
    """One file-system call of an operation: the number-th of its name, from 1."""

    name: str
    number: int
    text: str  # as strace shows it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the process had done when it ended."""

    signed: tuple[bytes, ...]
    answers: tuple[bytes, ...]
    failure: str  # class of the exception, empty without
    is_done: bool


class Victims:
    """The process that forks the victims."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0
        self._process = subprocess.Popen(
            [sys.executable, "-B", victim.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self, operation: str, config: LedgerConfig, day: int, entry: bytes = b"", inject: str | None = None
    ) -> tuple[Outcome, str]:
        """Run one operation; inject is strace's expression. What happened, and the trace."""
        self._runs += 1
        folder = self._folder / str(self._runs)
        folder.mkdir()
        record, trace, go = folder / "record", folder / "trace", folder / "go"
        record.write_bytes(bytes(victim.RECORD_BYTES))
        os.mkfifo(go)
        order = {
            "operation": operation,
            "directory": str(config.directory),
            "day": day,
            "entry": entry.hex(),
            "record": str(record),
            "go": str(go),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        process = self._process.stdout.readline().strip()
        command = ["strace", "-f", "-y", "-s", "200", "-o", str(trace), "-p", process]
        command += ["-e", f"trace={','.join(CALLS)}"]
        command += ["-e", f"inject={inject}"] if inject else []
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            first = strace.stderr.readline()
            with contextlib.ExitStack() as stack:
                descriptor = os.open(go, os.O_WRONLY)
                stack.callback(os.close, descriptor)
                os.write(descriptor, b"!")
                ended = self._process.stdout.readline()
            strace.stderr.read()
        assert "attached" in first, first
        assert ended.startswith("ended"), ended
        lines = victim.read_record(record)
        outcome = Outcome(
            tuple(value.encode() for kind, value in lines if kind == "signed"),
            tuple(bytes.fromhex(value) for kind, value in lines if kind == "answered"),
            next((value for kind, value in lines if kind == "failed"), ""),
            any(kind == "done" for kind, _ in lines),
        )
        return outcome, trace.read_text()


def calls_of(trace: str, directory: Path) -> list[Call]:
    """The calls on a ledger's files, counted as strace counts them: by name, in each thread."""
    numbers: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, int], Call] = {}
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        numbers[match["thread"], match["call"]] += 1
        number = numbers[match["thread"], match["call"]]
        if str(directory) in match["rest"]:
            call = Call(match["call"], number, match["rest"].replace(str(directory), ""))
            found.setdefault((call.name, call.number), call)
    return list(found.values())


@contextlib.contextmanager
def victims(folder: Path) -> Iterator[Victims]:
    forker = Victims(folder)
    try:
        yield forker
    finally:
        forker.close()
