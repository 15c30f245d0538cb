"""Servers under load: start one, let wrk post pledges for some seconds, stop it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import factory

BENCH = Path(__file__).parent
MAX_RATE = 20_000  # pledges a second for which there are enough of them
_START_S = 20


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    rate: float  # requests a second
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int  # answers that are not 2xx, and what broke


def has_wrk() -> bool:
    """Whether the load generator is installed."""
    return shutil.which("wrk") is not None


def post(port: int, entries: Path, seconds: int, connections: int = 64) -> Load:
    """Post the entries of a file, one a request, from one thread."""
    arguments = [str(entries), str(factory.PLEDGE_BYTES), str(MAX_RATE * seconds), "/pledges"]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s"]
    command += [str(BENCH / "post.lua"), f"http://127.0.0.1:{port}", "--", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    return result(ran.stdout)


def result(printed: str) -> Load:
    """What our scripts for wrk print at the end."""
    line = next(line for line in printed.splitlines() if line.startswith("RESULT "))
    requests, duration_us, p50_us, p99_us, errors = map(int, line.split()[1:])
    return Load(requests / duration_us * 1e6, p50_us / 1000, p99_us / 1000, requests, errors)


@contextlib.contextmanager
def server(command: Sequence[str], port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own, answering on the port while the block runs."""
    path = os.pathsep.join([*sys.path, str(BENCH)])
    child = subprocess.Popen(
        [sys.executable, *command],
        cwd=BENCH,
        env={**os.environ, "PYTHONPATH": path, **environment},
        start_new_session=True,
    )
    try:
        _wait(child, port)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def constant(
    port: int, workers: int, threads: int
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """The Flask view under Granian on both cores."""
    return server(["constant.py", str(port), str(workers), str(threads)], port)


@contextlib.contextmanager
def existing_node(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A node on the ledger in folder/ledger: the writer, two processes on the public origin."""
    scopes = folder / "scopes"
    scopes.mkdir(exist_ok=True)
    (scopes / f"{factory.manifest().scope_id.hex()}.json").write_bytes(factory.manifest().raw)
    config = folder / "headcount.toml"
    config.write_text(
        f'[node]\npublic = "127.0.0.1:{port}"\n\n[ledger]\ndirectory = "ledger"\ntick_s = 3600\n\n'
        f'[verifier]\nledger = "http://127.0.0.1:{port}/ledger"\nscopes = "scopes"\n'
    )
    with server(["-c", "from headcount_node.cli import serve; serve()", str(config)], port) as child:
        _wait_for_writer(folder, child)
        yield child


def today() -> int:
    """Days since 1970."""
    return int(time.time()) // 86400


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_writer(folder: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while not (folder / "ledger" / "writer.sock").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("a node does not start")
        time.sleep(0.1)
    time.sleep(2.0)  # the processes of the public origin


def _wait(child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            time.sleep(1.0)  # all its processes, not only the first
            return
        time.sleep(0.1)
    raise SystemExit("a server does not start")
