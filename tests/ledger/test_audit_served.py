from __future__ import annotations

import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import crowds
import ledgers
from headcount_ledger.audit import AuditReport, Fault, audit
from headcount_ledger.audit.sample import sample
from headcount_ledger.reader.fetch import Web, directory_fetch, http_fetch
from headcount_ledger.reader.transport import HttpTransport
from ledgers import Batch, Ledger

TIMEOUT_S = 0.4
BOMB = gzip.compress(bytes(20 * 2**20), 1)


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0


@dataclass
class Host:
    """Serves a ledger's files, except where it was told otherwise."""

    ledger: Ledger
    special: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path in self.special:
            return self.special[path]()
        if path not in self.ledger.files:
            return Answer(status=404)
        return Answer(self.ledger.files[path])

    def always(self, path: str, answer: Answer) -> None:
        self.special[path] = lambda: answer

    def audit(self) -> AuditReport:
        with HttpTransport(timeout_s=TIMEOUT_S) as transport:
            return audit(http_fetch(self.url, transport), self.ledger.policy, connections=4)


@contextmanager
def serving(ledger: Ledger) -> Iterator[Host]:
    host = Host(ledger)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = host.answer(self.path.removeprefix("/"))
            time.sleep(answer.delay_s)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:
                self.close_connection = True  # the reader has left

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        host.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    with serving(crowds.crowd()) as host:
        yield host


def named(report: AuditReport, code: str) -> Fault:
    return next(fault for fault in report.faults if fault.code == code)


def test_a_good_ledger_on_the_web(host: Host) -> None:
    report = host.audit()
    assert report.ok
    first = [path for path in host.asked if path.startswith("tile/entries/000")]
    assert len(first) == len(set(first)) == 3  # with two partial ones, each once
    with ThreadPoolExecutor(2) as pool:  # and read by each worker
        assert audit(Web(host.url), host.ledger.policy, executor=pool).to_json() == report.to_json()


def test_a_truncated_tile(host: Host) -> None:
    tile = host.ledger.files["tile/0/001"]
    host.ledger.files["tile/0/001"] = tile[:1000]
    fault = named(host.audit(), "broken-tile")
    assert (fault.offset, fault.detail) == (1000, "tile/0/001 has 1000 bytes instead of 8192")


def test_a_truncated_bundle(host: Host) -> None:
    bundle = host.ledger.files["tile/entries/001"]
    host.ledger.files["tile/entries/001"] = bundle[:-5]
    report = host.audit()
    assert named(report, "malformed-bundle").index == 256
    missing = named(report, "deleted-entry")
    assert (missing.index, missing.batch) == (511, 4)


def test_trailing_bytes_in_a_bundle(host: Host) -> None:
    bundle = host.ledger.files["tile/entries/001"]
    host.ledger.files["tile/entries/001"] = bundle + b"\0\1x"
    (fault,) = host.audit().faults
    assert (fault.code, fault.index, fault.offset) == ("malformed-bundle", 256, len(bundle))
    assert fault.detail == "bundle 1: 3 bytes follow the last entry"


def test_an_entry_of_unknown_type() -> None:
    strange = b"\x09\x01" + bytes(40)
    with serving(ledgers.build(crowds.batches(more=[(3, strange)]))) as host:
        index = host.ledger.leaves.index(strange)
        fault = named(host.audit(), "malformed-entry")
    assert (fault.batch, fault.index) == (3, index)
    bundle = host.ledger.files[f"tile/entries/{index // 256:03d}"]
    assert fault.offset is not None
    assert bundle[fault.offset + 2 :].startswith(strange)


def test_a_checkpoint_of_ten_megabytes(host: Host) -> None:
    host.ledger.files["checkpoint"] = b"x" * 10_000_000
    (fault,) = host.audit().faults
    assert (fault.code, fault.detail.split(":")[0]) == ("unreadable-file", "checkpoint")


@pytest.mark.parametrize(
    "path", ["checkpoint", "tile/entries/001", "tile/0/000", "totals/3", "checkpoints/2"]
)
def test_a_server_that_stalls(host: Host, path: str) -> None:
    host.always(path, Answer(host.ledger.files[path], delay_s=2 * TIMEOUT_S))
    report = host.audit()
    fault = named(report, "unreadable-file")
    assert "does not answer in time" in fault.detail or "missing" in fault.detail


def test_a_server_that_stops_to_answer(host: Host) -> None:
    for path in host.ledger.files:
        if path.startswith(("tile/", "totals/")):
            host.always(path, Answer(delay_s=2 * TIMEOUT_S))
    began = time.monotonic()
    report = host.audit()
    assert any(fault.detail.startswith("the host has stopped to answer") for fault in report.faults)
    assert time.monotonic() - began < 30 * TIMEOUT_S


def test_a_server_that_redirects_elsewhere(host: Host) -> None:
    with serving(crowds.crowd()) as other:
        for path in ("tile/entries/001", "totals/0"):
            host.always(path, Answer(status=302, headers={"Location": f"{other.url}/{path}"}))
        details = [fault.detail for fault in host.audit().faults if fault.code == "unreadable-file"]
        assert other.asked == []
    assert any("redirects elsewhere" in detail and "totals/0" in detail for detail in details)
    assert any("redirects elsewhere" in detail and "tile/entries/001" in detail for detail in details)


@pytest.mark.parametrize("path", ["checkpoint", "tile/entries/001", "tile/0/001", "totals/2"])
def test_a_gzip_bomb(host: Host, path: str) -> None:
    host.always(path, Answer(BOMB, headers={"Content-Encoding": "gzip"}))
    report = host.audit()
    # The totals of a million scopes may be larger than this one.
    refused = any("answers with more than" in fault.detail for fault in report.faults)
    assert refused or (path == "totals/2" and named(report, "edited-count").batch == 2)
    host.always(path, Answer(gzip.compress(host.ledger.files[path]), headers={"Content-Encoding": "gzip"}))
    assert host.audit().ok


def test_files_of_another_ledger(host: Host) -> None:
    other = ledgers.build([Batch(item.day, item.entries[:-1]) for item in crowds.batches()])
    for path in ("tile/0/001", "tile/entries/001"):
        host.always(path, Answer(other.files[path]))
    codes = {fault.code for fault in host.audit().faults}
    assert codes & {"wrong-root", "deleted-entry", "broken-tile"}


def test_a_server_that_changes_its_files_meanwhile(host: Host) -> None:
    other = ledgers.build(crowds.batches(more=[(4, crowds.pledges()[3].to_bytes())]))
    turns = iter(range(1_000_000))
    for path in ("tile/entries/001", "tile/0/001", "totals/4"):
        host.special[path] = lambda path=path: Answer(  # type: ignore[misc]
            (host.ledger if next(turns) % 2 else other).files[path]
        )
    for _ in range(2):
        report = host.audit()
        # Whatever it got to see: sound only if all of it was the ledger that is signed.
        assert not report.ok or report.root == host.ledger.checkpoint.root
        next(turns)


def test_a_folder_that_changes_while_it_is_read(tmp_path: Path) -> None:
    ledger = crowds.crowd()
    fetch = directory_fetch(ledger.write(tmp_path / "public"))
    bundle = tmp_path / "public" / "tile" / "entries" / "000"

    def progress(done: int, total: int) -> None:
        bundle.write_bytes(b"")

    report = audit(fetch, ledger.policy, progress=progress)
    assert report.ok or named(report, "unreadable-file")
    report = audit(fetch, ledger.policy)
    assert not report.ok


def test_two_faults_are_both_reported(host: Host) -> None:
    bundle = host.ledger.files["tile/entries/001"]
    host.ledger.files["tile/entries/001"] = bundle + b"\0"
    host.ledger.files["totals/2"] = b""
    report = host.audit()
    assert {(fault.code, fault.batch, fault.index) for fault in report.faults} == {
        ("malformed-bundle", 2, 256),
        ("edited-count", 2, None),
    }


def test_a_sample_is_verified_and_says_what_it_is_not(host: Host) -> None:
    with HttpTransport(timeout_s=TIMEOUT_S) as transport:
        report = sample(http_fetch(host.url, transport), host.ledger.policy, 400)
        assert report.ok
        assert report.entries == 400
        assert 0.9 < (1 - report.bad_fraction) ** report.pledges * 100 < 1.1
        gross, live = report.said[ledgers.campaign().scope_id]
        assert (gross, live) == (crowds.ONE, crowds.ONE)
        host.ledger.files["totals/6"] = b""
        report = sample(http_fetch(host.url, transport), host.ledger.policy, 1)
        assert [fault.code for fault in report.faults] == ["edited-count"]


def test_a_sample_meets_forged_pledges_as_often_as_it_says() -> None:
    forged = [ledgers.forged_pledge(ledgers.campaign(), 9000 + i).to_bytes() for i in range(60)]
    ledger = ledgers.build(crowds.batches(more=[(2, entry) for entry in forged]))
    assert {fault.code for fault in sample(ledger.fetch, ledger.policy, 10_000).faults} == {"foreign-key"}
    met = [not sample(ledger.fetch, ledger.policy, 8).ok for _ in range(60)]
    assert 0.3 < sum(met) / len(met) < 0.85  # a tenth of the pledges is bad: 1 - 0.9^8 = 0.57
    good = ledger.copy()
    good.files["tile/entries/000"] = good.files["tile/entries/001"]
    assert not sample(good.fetch, good.policy, 500).ok
