"""A process whose file-system calls a test makes fail: ``python victim.py`` forks one for each line it reads.

Everything is imported and has run once before, so that a victim's calls are those of the ledger. What a
victim has signed and answered stands in a file that it has mapped: noting it takes no call.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import manifests
from headcount_ledger import sequencer
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger

RECORD_BYTES = 1 << 16
_PR_SET_PTRACER, _ANY = 0x59616D61, -1


class Record:
    """Lines in shared memory, which outlive a killed process."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), RECORD_BYTES)
        self._end = 0

    def add(self, kind: str, value: str) -> None:
        line = json.dumps([kind, value]).encode() + b"\n"
        self._memory[self._end : self._end + len(line)] = line
        self._end += len(line)


def read_record(path: Path) -> list[tuple[str, str]]:
    lines = path.read_bytes().rstrip(b"\0").splitlines()
    return [(kind, value) for kind, value in map(json.loads, lines)]


def operation(
    name: str, config: LedgerConfig, entry: bytes, day: int, record: Record
) -> Callable[[], object]:
    """Prepare an operation; what it returns is the part that is disturbed."""
    if name == "open":
        return lambda: Ledger.open(config).head()
    ledger = Ledger.open(config)

    def accept() -> None:
        answer = ledger.accept(entry, day)
        record.add("answered", (answer if isinstance(answer, bytes) else answer.to_bytes()).hex())

    if name == "accept":
        return accept
    if name == "close":
        accept()
        return ledger.close
    return lambda: ledger.seal(day)


def victim(order: dict[str, Any]) -> None:
    record = Record(Path(order["record"]))
    signed = sequencer.sign_checkpoint

    def sign_checkpoint(*args: Any) -> bytes:
        raw = signed(*args)
        record.add("signed", raw.decode())
        return raw

    sequencer.sign_checkpoint = sign_checkpoint
    config = LedgerConfig(Path(order["directory"]))
    run = operation(order["operation"], config, bytes.fromhex(order["entry"]), order["day"], record)
    go = os.open(order["go"], os.O_RDWR)  # with a writer of its own, reading waits
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)  # fails where every tracer is welcome
    print(os.getpid(), flush=True)
    os.read(go, 1)
    try:
        run()
    except BaseException as exc:  # noqa: BLE001 the test asks what it was
        record.add("failed", type(exc).__name__)
        os._exit(5)
    record.add("done", "")
    os._exit(0)


def rehearse() -> None:
    with tempfile.TemporaryDirectory() as folder, fakes.new_ledger(Path(folder) / "ledger") as ledger:
        scope = manifests.manifest(min_batch=1)
        fakes.open_scopes(ledger, scope)
        ledger.accept(manifests.pledge(scope, 0).to_bytes(), fakes.DAY)
        ledger.seal(fakes.DAY)


if __name__ == "__main__":
    rehearse()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            victim(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(f"ended {status}", flush=True)
