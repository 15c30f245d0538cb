"""Issuance over HTTP, beside the bare signatures of ``openssl speed`` on as many cores.

The sessions are proved before; each request is a person's first, checked, signed, and its quota durable
before the answer. The load generator runs on the same cores. One server stays up; short rounds of load and of
the yardstick take turns, and each is compared with the mean of the yardstick before and after it: the
machine's noise lasts for seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import load
from yardstick import openssl_speed

ROUNDS = 11
SECONDS = 2
PEOPLE_PER_S = 6000  # more than any round signs
CONNECTIONS = 64
BEARER_CHARS = 43
REQUEST_BYTES = 259


def issue(folder: Path) -> dict[str, float]:
    """``issue.http_*``."""
    cores = os.cpu_count() or 1
    rounds: list[tuple[float, load.Load]] = []
    with _server(folder / "issue") as post:
        before, _ = openssl_speed(cores)
        for _ in range(ROUNDS):
            found = post()
            after, _ = openssl_speed(cores)
            rounds.append(((before + after) / 2, found))
            before = after
    errors = sum(result.errors for _, result in rounds)
    if errors:
        raise SystemExit(f"issue: {errors} requests were not answered with a signature")
    return {
        "issue.http_rate": statistics.median(result.rate for _, result in rounds),
        "issue.http_p50_ms": statistics.median(result.p50_ms for _, result in rounds),
        "issue.http_p99_ms": statistics.median(result.p99_ms for _, result in rounds),
        "issue.openssl_multi_sign_per_s": statistics.median(sign for sign, _ in rounds),
        "issue.http_over_openssl": statistics.median(result.rate / sign for sign, result in rounds),
    }


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[Callable[[], load.Load]]:
    """An issuer, as what loads it for a round with people who have not asked yet."""
    folder.mkdir()
    requests, port, asked = folder / "requests", load.free_port(), 0
    people = (ROUNDS + 1) * SECONDS * PEOPLE_PER_S

    def post() -> load.Load:
        nonlocal asked
        found = _post(port, requests, asked)
        asked += found.requests + CONNECTIONS  # some were asked and not answered when the time was over
        return found

    try:
        with load.server(["issuer_server.py", str(port), str(folder), str(requests), str(people)], port):
            post()  # starts what starts with the first request
            yield post
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _post(port: int, requests: Path, first: int) -> load.Load:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "10s"]
    command += ["-s", str(load.BENCH / "issue.lua"), f"http://127.0.0.1:{port}", "--"]
    command += [str(requests), str(BEARER_CHARS), str(REQUEST_BYTES), str(first)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS + 30)
    return load.result(ran.stdout)
