from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import witnessing
from headcount_spec.tlog_witness import monitoring_path
from ports import free_ports
from witnessing import LOG, OTHER, request


def headcount(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headcount", *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vkey = LOG.verification_key.to_text()
    command = headcount("witness", "create", str(tmp_path / "w"), "--name", "w.example/1", "--log", vkey)
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "w"


@contextlib.contextmanager
def served(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = headcount("witness", "serve", str(folder), "--listen", f"127.0.0.1:{port}")
    log = (folder / "log").open("ab")
    with log, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
        process.kill()


def post(port: int, body: bytes) -> tuple[int, bytes]:
    answer = httpx.post(f"http://127.0.0.1:{port}/add-checkpoint", content=body, trust_env=False)
    return answer.status_code, answer.content


def test_a_served_witness_is_neither_stopped_by_the_slow_nor_forgetful_after_a_kill(folder: Path) -> None:
    (port,) = free_ports(0)
    with served(folder, port) as process:
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 5000\r\n\r\nold 0"
        with contextlib.ExitStack() as slow:
            for _ in range(40):
                connection = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
                connection.sendall(head)
            assert post(port, request(0, 5))[0] == 200
        assert post(port, request(0, 5)) == (409, b"5\n")
        # The server has a worker of its own: the whole session is killed.
        subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=True)
    (port,) = free_ports(0)
    with served(folder, port) as process:
        assert post(port, request(5, 5, OTHER))[0] == 422
        assert post(port, request(5, 8))[0] == 200
        shown = httpx.get(f"http://127.0.0.1:{port}/{monitoring_path(LOG.name)}", trust_env=False)
        assert shown.content.startswith(witnessing.checkpoint(8))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert len(list((folder / "evidence").glob("fork-*.json"))) == 1
    said = (folder / "log").read_text()
    assert "fork" in said
    assert "127.0.0.1" not in said
