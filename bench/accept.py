"""One pledge a request over HTTP, answered when durable, beside a Flask view that answers a constant.

Alternates the two on the same cores in one run; the figures are medians, and the ratio is the median of
the ratios of neighbours, so that what else the machine does falls on both.
"""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import factory
import load

ROUNDS = 3
SECONDS = 4
_SHAPES = ((1, 4), (2, 1), (2, 2))  # Granian's workers and blocking threads


def accept(folder: Path, rounds: int = ROUNDS, seconds: int = SECONDS) -> dict[str, float]:
    """``accept.*`` but the loss."""
    entries = factory.pledges(load.MAX_RATE * seconds)
    best = max(_SHAPES, key=lambda shape: _constant(shape, entries, 2).rate)
    pairs = []
    for _ in range(rounds):
        pairs.append((_constant(best, entries, seconds), _node(folder, entries, seconds)))
    flask, ours = zip(*pairs, strict=True)
    if any(one.errors for one in ours + flask):
        raise SystemExit("accept: some answers were errors; the figures would mean nothing")
    middle = statistics.median
    return {
        "accept.rate": middle(one.rate for one in ours),
        "accept.flask_constant_rate": middle(one.rate for one in flask),
        "accept.rate_over_flask_constant": middle(b.rate / a.rate for a, b in pairs),
        "accept.p50_ms_c64": middle(one.p50_ms for one in ours),
        "accept.p99_ms_c64": middle(one.p99_ms for one in ours),
        "accept.flask_constant_p99_ms_c64": middle(one.p99_ms for one in flask),
    }


def loss(folder: Path, number: int, name: str) -> dict[str, float]:
    """How much slower acceptance is with so many nullifiers in the spent set, as a share."""
    entries = factory.pledges(load.MAX_RATE * SECONDS)
    spent = factory.spent_ledger(number)
    losses = []
    for _ in range(ROUNDS):
        empty = _node(folder, entries, SECONDS)
        factory.unstage(spent)
        full = _post(spent.directory.parent, entries, SECONDS)
        losses.append(1 - full.rate / empty.rate)
    factory.unstage(spent)
    return {f"accept.loss_at_{name}": statistics.median(losses)}


def _constant(shape: tuple[int, int], entries: Path, seconds: int) -> load.Load:
    port = load.free_port()
    with load.constant(port, *shape):
        return load.post(port, entries, seconds)


def _node(folder: Path, entries: Path, seconds: int) -> load.Load:
    try:
        factory.new_ledger(folder / "ledger", load.today())
        return _post(folder, entries, seconds)
    finally:
        shutil.rmtree(folder / "ledger", ignore_errors=True)


def _post(folder: Path, entries: Path, seconds: int) -> load.Load:
    port = load.free_port()
    with load.existing_node(folder, port):
        return load.post(port, entries, seconds)
