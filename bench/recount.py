"""``headcount audit`` on published ledgers of real pledges: rate, memory and a resumed audit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import factory
import published

SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
LARGE = {"10m": 10_000_000}
JOBS = 2
YARDSTICK_S = 3
SAMPLE_S = 0.1  # between two looks at the memory


def recount(folder: Path, large: bool) -> dict[str, float]:
    """``audit.*`` of whole audits; process starts are included everywhere."""
    if not shutil.which("openssl"):
        raise SystemExit("bench: the openssl command is missing; it is the yardstick")
    figures: dict[str, float] = {}
    for name, size in {**SIZES, **(LARGE if large else {})}.items():
        more = max(size // 100, 1)
        entries = factory.read_pledges(size + more)
        target, policy, state = folder / "published", folder / "policy", folder / "state"
        policy.write_bytes(published.policy().to_bytes())
        publisher = published.publish(target, islice(entries, size))
        before = openssl_multi()
        took, peak = _audit(target, policy)
        yardstick = (before + openssl_multi()) / 2
        figures[f"audit.pledges_per_s_at_{name}"] = size / took
        figures[f"audit.rate_over_openssl_multi2_at_{name}"] = size / took / yardstick
        figures[f"audit.peak_mb_{name}"] = peak
        with_state, _ = _audit(target, policy, "--resume", str(state))
        publisher.pledges(list(entries))
        resumed, _ = _audit(target, policy, "--resume", str(state))
        figures[f"audit.resume_s_at_{name}"] = resumed
        figures[f"audit.resume_cost_1pct_at_{name}"] = resumed / with_state
        shutil.rmtree(target)
        state.unlink()
    last = list(figures)[-1].rpartition("_at_")[2]
    figures["audit.resume_cost_1pct"] = figures[f"audit.resume_cost_1pct_at_{last}"]
    figures["audit.rate_over_openssl_multi2"] = figures["audit.rate_over_openssl_multi2_at_1m"]
    return figures


def openssl_multi() -> float:
    """RSA-2048 verifications a second by ``openssl speed`` on JOBS cores."""
    command = ["openssl", "speed", "-multi", str(JOBS), "-seconds", str(YARDSTICK_S), "rsa2048"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+[0-9.]+\s+([0-9.]+)", done.stdout)
    if match is None:
        raise SystemExit("openssl speed prints what this program does not understand")
    return float(match[1])


def _audit(target: Path, policy: Path, *options: str) -> tuple[float, float]:
    """Seconds, and the most memory of all processes together in MB (proportional set size)."""
    command = [sys.executable, "-m", "headcount", "audit", str(target), "--policy", str(policy)]
    command += ["--jobs", str(JOBS), "--json", *options]
    paths = os.pathsep.join(p for p in sys.path if p)
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_pss, _family(process.pid))))
            time.sleep(SAMPLE_S)
        took = time.perf_counter() - began
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
    # The ledger of the benchmark publishes no issuance; all is of one day, so that nothing is overdue.
    if not report["ok"]:
        raise SystemExit(f"bench: the audited ledger is not sound: {report['faults'][:3]}")
    return took, peak / 1e6


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    except OSError:
        pass
    return found


def _pss(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
