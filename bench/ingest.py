"""Bundles of pledges from a partner's verifier, beside the bare verification of the same pledges."""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import factory
import load

from headcount_engine.acceptance import ScopeVerifier
from headcount_ledger.exchange import ANSWERS_TYPE, BUNDLE_TYPE, open_answers
from headcount_spec.pledge import Pledge

ROUNDS = 3
PLEDGES = 24_000
BUNDLE = 1000
SENDERS = 4


def ingest(folder: Path) -> dict[str, float]:
    """``ingest.*``."""
    entries = list(factory.read_pledges(PLEDGES))
    pairs = [(_verify_rate(entries), _ingest_rate(folder, entries)) for _ in range(ROUNDS)]
    return {
        "ingest.rate": statistics.median(b for _, b in pairs),
        "ingest.verify_rate": statistics.median(a for a, _ in pairs),
        "ingest.rate_over_verify": statistics.median(b / a for a, b in pairs),
    }


def _verify_rate(entries: Sequence[bytes]) -> float:
    """Pledges a second that all cores verify, and do nothing else with."""
    workers = os.cpu_count() or 1
    parts = [entries[i::workers] for i in range(workers)]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_verify, [part[:10] for part in parts]))  # start the processes
        began = time.perf_counter()
        list(pool.map(_verify, parts))
        return len(entries) / (time.perf_counter() - began)


def _verify(entries: Sequence[bytes]) -> None:
    verifier = ScopeVerifier(factory.manifest())
    for entry in entries:
        verifier.verify_pledge(Pledge.from_bytes(entry))


def _ingest_rate(folder: Path, entries: Sequence[bytes]) -> float:
    bundles = [
        b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries[at : at + BUNDLE])
        for at in range(0, len(entries), BUNDLE)
    ]
    port = load.free_port()
    factory.new_ledger(folder / "ledger", load.today())
    try:
        with load.existing_node(folder, port), ThreadPoolExecutor(SENDERS) as pool:
            began = time.perf_counter()
            accepted = sum(pool.map(lambda bundle: _send(port, bundle), bundles))
            took = time.perf_counter() - began
    finally:
        shutil.rmtree(folder / "ledger", ignore_errors=True)
    if accepted != len(entries):
        raise SystemExit(f"ingest: {len(entries) - accepted} pledges were refused")
    return len(entries) / took


def _send(port: int, bundle: bytes) -> int:
    """How many of a bundle were accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/ledger/bundles", bundle, {"Content-Type": BUNDLE_TYPE})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.headers["Content-Type"] != ANSWERS_TYPE:
        raise SystemExit(f"ingest: HTTP status {answer.status}")
    return sum(isinstance(one, bytes) for one in open_answers(body, BUNDLE))
