"""Sealing: from staged pledges to durable tiles and a published checkpoint, the whole of ``Ledger.seal``."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import statistics
import time
from pathlib import Path

import factory
import load

from headcount_ledger.ledger import Ledger

ROUNDS = 3
SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
LARGE = {"1m": 1_000_000, "10m": 10_000_000}


def seal(folder: Path, large: bool) -> dict[str, float]:
    """``seal.*``: the curve of the cost of an entry, and the rate at 100,000."""
    figures: dict[str, float] = {}
    for name, size in {**SIZES, **(LARGE if large else {})}.items():
        runs = [_seal(folder, size) for _ in range(ROUNDS if size < 1_000_000 else 1)]
        figures[f"seal.us_per_entry_at_{name}"] = statistics.median(took for took, _ in runs) / size * 1e6
        figures[f"seal.memory_mib_at_{name}"] = max(mib for _, mib in runs)
    figures["seal.entries_per_s"] = 1e6 / figures["seal.us_per_entry_at_100k"]
    last = "10m" if large else "100k"
    over = figures[f"seal.us_per_entry_at_{last}"] / figures["seal.us_per_entry_at_10k"]
    figures[f"seal.cost_at_{last}_over_10k"] = over
    return figures


def _seal(folder: Path, size: int) -> tuple[float, float]:
    """Seconds, and the most memory in MiB, of a process that does nothing else."""
    config = factory.new_ledger(folder / "ledger", load.today())
    factory.fill(config, factory.read_pledges(size))
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[float, float]] = context.Queue()
    child = context.Process(target=_run, args=(folder / "ledger", results))
    child.start()
    try:
        return results.get(timeout=3600)
    finally:
        child.join()
        shutil.rmtree(folder / "ledger", ignore_errors=True)


def _run(directory: Path, results: multiprocessing.Queue[tuple[float, float]]) -> None:
    from headcount_ledger.config import LedgerConfig

    with Ledger.open(LedgerConfig(directory)) as ledger:
        began = time.perf_counter()
        batch = ledger.seal(load.today())
        took = time.perf_counter() - began
    if batch is None:
        raise SystemExit("seal: nothing was sealed")
    results.put((took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
