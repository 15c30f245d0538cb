"""Measure what this project set itself; write bench/results.json and print a table; a whole run writes
docs/performance.md too.

    make bench                       everything that ends by itself within some ten minutes
    make bench ARGS='--only seal'    one part
    make bench ARGS=--large          ten million pledges as well: an hour to make them, 6 GB in bench/cache
    make bench ARGS='--large --only loss --prepare'    only make the ledgers that the loss is measured with

All servers listen on the loopback only and are stopped at the end. Absolute figures depend on the machine
and on what else it does; the ratios are taken in one run, alternating, as medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import factory
import load
import performance
from accept import accept, loss
from append import append
from ingest import ingest
from issue import issue
from open import open_contacts
from peers import peers
from recount import recount
from rich.console import Console
from rich.table import Table
from seal import seal
from yardstick import engines

from web import web

RESULTS = Path(__file__).parent / "results.json"

# What the project sets itself: figure, bound, whether more is better.
BOUNDS = {
    "issue.blind_sign_over_openssl": (0.9, True),
    "issue.http_over_openssl": (0.45, True),
    "accept.rate_over_flask_constant": (1.0, True),
    "ingest.rate_over_verify": (0.5, True),
    "seal.entries_per_s": (50_000, True),
    "seal.cost_at_10m_over_10k": (2.5, False),
    "append.vs_pymerkle": (20, True),
    "accept.loss_at_10m": (0.2, False),
    "web.audit_chromium_per_s": (8_000, True),
    "web.seal_chromium_ms": (10, False),
    "web.blind_chromium_ms": (10, False),
    "web.sign_script_kb": (60, False),
    "web.counter_script_kb": (8, False),
    "web.sign_ready_cpu_ms_4x": (1_000, False),
    "web.click_to_promise_ms_4x": (1_500, False),
    "audit.rate_over_openssl_multi2": (0.65, True),
    "audit.peak_mb_10m": (400, False),
    "audit.resume_cost_1pct_at_10m": (0.02, False),
    "audit.vs_belenios": (300, True),
    "audit.vs_privacypass_ts": (1, True),
    "open.blobs_per_s": (1_500, True),
    "open.over_raw": (0.6, True),
}


PARTS = ("engines", "append", "seal", "open", "ingest", "issue", "accept", "loss", "audit", "peers", "web")


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description="Measure Headcount on this machine.")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--large", action="store_true", help="ten million pledges as well")
    parser.add_argument("--prepare", action="store_true", help="make the spent sets for the loss, and end")
    options = parser.parse_args()
    if options.prepare:
        for number in (1_000_000, 10_000_000) if options.large else (1_000_000,):
            factory.spent_ledger(number)
        return
    wanted = set(options.only or PARTS)
    if not load.has_wrk():
        print(
            "wrk is missing (Debian: apt-get install wrk): issue, accept and loss are left out",
            file=sys.stderr,
        )
        wanted -= {"issue", "accept", "loss"}
    factory.CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=factory.CACHE))  # the same disk as the repository
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "engines": engines,
        "append": lambda: append(folder),
        "seal": lambda: seal(folder, options.large),
        "open": lambda: open_contacts(options.large),
        "ingest": lambda: ingest(folder),
        "issue": lambda: issue(folder),
        "accept": lambda: accept(folder),
        "loss": lambda: loss(folder, 1_000_000, "1m"),
        "audit": lambda: recount(folder, options.large),
        "peers": lambda: peers(folder),
        "web": web,
    }
    figures = {"machine.cores": float(os.cpu_count() or 1), "machine.load_before": os.getloadavg()[0]}
    try:
        for name, measure in parts.items():
            if name in wanted:
                print(f"{name} …", file=sys.stderr, flush=True)
                figures.update(measure())
        if options.large and "loss" in wanted:
            figures.update(loss(folder, 10_000_000, "10m"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures["machine.load_after"] = os.getloadavg()[0]
    RESULTS.write_text(
        json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=2) + "\n"
    )
    if wanted == set(PARTS):
        performance.write(figures, BOUNDS)
    show(figures)


def show(figures: dict[str, float]) -> None:
    """A table for people."""
    table = Table("figure", "value", "bound", "")
    for name, value in figures.items():
        bound, more = BOUNDS.get(name, (None, True))
        if bound is None:
            table.add_row(name, f"{value:,.3f}", "", "")
        else:
            met = value >= bound if more else value <= bound
            table.add_row(
                name, f"{value:,.3f}", f"{'≥' if more else '≤'} {bound:,g}", "" if met else "missed"
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
