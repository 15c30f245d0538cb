"""A node of real processes under load."""

from __future__ import annotations

import http.client
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fakes
import manifests
from headcount_ledger import staged
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger, create
from headcount_node.config import CONFIG_VARIABLE
from headcount_node.serve import Processes
from headcount_spec.entry import MEDIA_TYPE
from headcount_spec.promise import Promise
from ports import free_ports

SCOPE = manifests.manifest(
    title=manifests.both("For a hundred years", "Pour cent ans"),
    opens="2020-01-01",
    freezes="2119-01-01",
    closes="2120-01-01",
    action=None,
)
CLIENTS = 8


@dataclass
class Node:
    folder: Path
    port: int
    processes: Processes
    restarted: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def writer(self) -> subprocess.Popen[bytes]:
        return self.processes._children[0]

    def restart_writer(self) -> None:
        environment = {**os.environ, CONFIG_VARIABLE: str(self.folder / "headcount.toml")}
        command = [sys.executable, "-m", "headcount_node.serve", "ledger"]
        self.restarted.append(subprocess.Popen(command, env=environment))

    def post(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/pledges", body, {"Content-Type": MEDIA_TYPE})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        try:
            return (self.folder / "ledger" / "writer.sock").exists() and self.post(b"")[0] == 400
        except OSError:
            return False

    def ledger(self) -> Ledger:
        return Ledger.open(LedgerConfig(self.folder / "ledger"))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    (tmp_path / "ledger").mkdir()
    config = LedgerConfig(tmp_path / "ledger")
    create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
    with Ledger.open(config) as ledger:
        fakes.open_scopes(ledger, SCOPE, day=int(time.time()) // 86400)
    (tmp_path / "scopes").mkdir()
    (tmp_path / "scopes" / f"{SCOPE.scope_id.hex()}.json").write_bytes(SCOPE.raw)
    (port,) = free_ports(0)
    (tmp_path / "headcount.toml").write_text(
        f'[node]\npublic = "127.0.0.1:{port}"\n\n[ledger]\ndirectory = "ledger"\ntick_s = 86400\n\n'
        f'[verifier]\nledger = "http://127.0.0.1:{port}/ledger"\nscopes = "scopes"\n'
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    node = Node(tmp_path, port, Processes(tmp_path / "headcount.toml", tmp_path / "log"))
    wait_until(node.ready)
    yield node
    for child in node.restarted:
        child.terminate()
        child.wait(20)
    node.processes.stop()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def wait_until(condition: object, timeout_s: float = 40) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Load:
    """Clients that post pledges until each is acknowledged or told to stop."""

    node: Node
    waiting: queue.SimpleQueue[bytes] = field(default_factory=queue.SimpleQueue)
    promises: dict[bytes, bytes] = field(default_factory=dict)
    failures: list[int | str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        deadline = time.monotonic() + 60
        while not self.stop.is_set() and time.monotonic() < deadline:
            try:
                body = self.waiting.get(timeout=0.1)
            except queue.Empty:
                return
            try:
                status, answer = self.node.post(body)
            except (OSError, http.client.HTTPException) as exc:
                status, answer = 0, type(exc).__name__.encode()
            if status == 200:
                self.promises[body] = answer
            else:
                self.failures.append(status)
                self.waiting.put(body)
                time.sleep(0.05)


def test_a_writer_that_is_killed_loses_nothing_that_was_acknowledged(node: Node) -> None:
    pledges = [manifests.pledge(SCOPE, i).to_bytes() for i in range(300)]
    load = Load(node)
    for pledge in pledges:
        load.waiting.put(pledge)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.run) for _ in range(CLIENTS)]
        wait_until(lambda: len(load.promises) > 80)
        node.writer.send_signal(signal.SIGKILL)
        node.writer.wait()
        acknowledged = dict(load.promises)
        wait_until(lambda: load.failures)
        with node.ledger() as ledger:
            for body in acknowledged:
                nullifier = Promise.from_bytes(acknowledged[body]).nullifier
                assert ledger.look(lambda tx, n=nullifier: staged.find_pledge(tx, n)) is not None
        node.restart_writer()
        for client in clients:
            client.result(60)
    assert set(load.failures) <= {503}
    assert load.promises.keys() == set(pledges)
    with node.ledger() as ledger:
        assert ledger.waiting() == len(pledges)  # what was not acknowledged and tried again counts once
    for body, promise in list(acknowledged.items())[:5]:
        assert node.post(body) == (200, promise)


def test_a_node_that_is_stopped_finishes_what_it_has_begun(node: Node) -> None:
    load = Load(node)
    for i in range(2000):
        load.waiting.put(manifests.pledge(SCOPE, i % 200).to_bytes())
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.run) for _ in range(CLIENTS)]
        try:
            wait_until(lambda: len(load.promises) > 50)
            assert node.processes.stop() == 0
        finally:
            load.stop.set()
        for client in clients:
            client.result(30)
    with node.ledger() as ledger:
        assert ledger.waiting() == len(load.promises)
    assert not (node.folder / "ledger" / "writer.sock").exists()
    assert "Traceback" not in (node.folder / "log").read_text()


def test_a_hundred_connections_share_the_processes(node: Node) -> None:
    connections = [http.client.HTTPConnection("127.0.0.1", node.port, timeout=20) for _ in range(100)]
    body = manifests.pledge(SCOPE, 1).to_bytes()
    for connection in connections:
        connection.request("POST", "/pledges", body, {"Content-Type": MEDIA_TYPE})
    answers = [connection.getresponse() for connection in connections]
    assert {(answer.status, len(answer.read())) for answer in answers} == {(200, 137)}
    assert all("server" not in {name.lower() for name in answer.headers} for answer in answers)
    for connection in connections:
        connection.close()
