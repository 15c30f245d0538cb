"""Single durable appends by 64 clients at once, beside pymerkle's SQLite log, which commits each alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import factory
import load
from pymerkle import SqliteTree

from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_ledger.work import StagePledge
from headcount_ledger.writer_client import WriterClient

ROUNDS = 3
CLIENTS = 64
OURS = 20_000
THEIRS = 400


def append(folder: Path) -> dict[str, float]:
    """``append.*``."""
    entries = list(factory.read_pledges(OURS))
    pairs = [(_pymerkle(folder, entries[:THEIRS]), _ours(folder, entries)) for _ in range(ROUNDS)]
    return {
        "append.rate": statistics.median(b for _, b in pairs),
        "append.pymerkle_rate": statistics.median(a for a, _ in pairs),
        "append.vs_pymerkle": statistics.median(b / a for a, b in pairs),
    }


def _pymerkle(folder: Path, entries: list[bytes]) -> float:
    path = folder / "pymerkle.sqlite"
    path.unlink(missing_ok=True)
    with SqliteTree(str(path)) as tree:  # one connection, one thread: clients would take turns
        began = time.perf_counter()
        for entry in entries:
            tree.append_entry(entry)
        took = time.perf_counter() - began
    path.unlink()
    return len(entries) / took


def _ours(folder: Path, entries: list[bytes]) -> float:
    config = factory.new_ledger(folder / "ledger", load.today())
    command = [sys.executable, str(Path(__file__)), str(folder / "ledger")]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        while not config.socket.exists():
            time.sleep(0.05)
        return asyncio.run(_post(config, [factory.work(entry) for entry in entries]))
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
        shutil.rmtree(folder / "ledger", ignore_errors=True)


async def _post(config: LedgerConfig, works: list[StagePledge]) -> float:
    client = WriterClient(config.socket, CLIENTS)
    waiting, loop = iter(works), asyncio.get_running_loop()

    async def one() -> None:
        for work in waiting:
            staged: asyncio.Future[object] = loop.create_future()
            client.ask(work, staged.set_result)
            if await staged is not True:
                raise SystemExit("append: a pledge was refused")

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CLIENTS)))
    took = time.perf_counter() - began
    client.close()
    return len(works) / took


def _serve(directory: Path) -> None:
    with Ledger.open(LedgerConfig(directory), checkpoints=False) as ledger:
        server = ledger.writer_server()
        signal.signal(signal.SIGTERM, lambda _signal, _frame: server.stop())
        server.serve()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
