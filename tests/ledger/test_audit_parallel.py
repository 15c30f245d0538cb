from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import corrupter
import crowds
import ledgers
import manifests
import parts
from engines import LANES
from headcount_engine import many
from headcount_ledger.audit import AuditReport, Receipt, audit, scan, spent
from headcount_ledger.audit.pool import dask, processes
from headcount_ledger.audit.scan import scan_unit
from headcount_ledger.audit.scopes import CountedPledge, ScopeRecount
from headcount_ledger.audit.spent import Before, Spent, watch_list
from headcount_ledger.audit.spool import Memory
from headcount_ledger.audit.unit import Extent, Unit
from headcount_ledger.reader.fetch import directory_fetch
from headcount_spec.pledge import Nullifier
from ledgers import Ledger


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        yield executor


class Broken(Executor):
    """Loses its workers after some calls."""

    def __init__(self, good: int) -> None:
        self.good = good

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        future: Future[object] = Future()
        self.good -= 1
        if self.good >= 0:
            future.set_result(fn(*args, **kwargs))
        else:
            from concurrent.futures.process import BrokenProcessPool

            future.set_exception(BrokenProcessPool("gone"))
        return future


def text(report: AuditReport) -> str:
    return json.dumps(report.to_json(), sort_keys=True) + repr(report.batch_rows) + repr(report.issuances)


def damaged() -> Iterator[tuple[str, Ledger]]:
    whole = crowds.crowd()
    yield "whole", whole
    for name, path, at in (
        ("authenticator", "tile/entries/001", 5000),
        ("length", "tile/entries/001", 359 * 7),
        ("hash", "tile/0/001", 300),
        ("first bundle", "tile/entries/000", 70_000),
    ):
        ledger = whole.copy()
        data = bytearray(ledger.files[path])
        data[at] ^= 1
        ledger.files[path] = bytes(data)
        yield name, ledger
    for path in ("tile/entries/001", "tile/0/001", "totals/3", "checkpoints/2"):
        ledger = whole.copy()
        del ledger.files[path]
        yield f"no {path}", ledger
    signed = crowds.pledges()
    forged = ledgers.forged_pledge(ledgers.campaign(), 9999).to_bytes()
    yield "replayed", ledgers.build(crowds.batches(more=[(4, signed[3].to_bytes())]))
    yield "two faults", ledgers.build(crowds.batches(more=[(2, forged), (4, signed[3].to_bytes())]))
    stranger = manifests.pledge(manifests.manifest(title=manifests.both("Other", "Autre")), 1)
    yield "unknown scope", ledgers.build(crowds.batches(more=[(3, stranger.to_bytes())]))


def test_every_executor_gives_the_same_report(pool: Executor) -> None:
    for name, ledger in damaged():
        alone = text(audit(ledger.fetch, ledger.policy))
        assert text(audit(ledger.fetch, ledger.policy, executor=pool)) == alone, name
        with ThreadPoolExecutor(3) as threads:
            assert text(audit(ledger.fetch, ledger.policy, executor=threads)) == alone, name
        assert ('"ok": true' in alone) == (name == "whole"), name


def test_signatures_verified_by_vectors_give_the_same_report(monkeypatch: pytest.MonkeyPatch) -> None:
    parts.require(find_spec("llvmlite"), "llvmlite")
    if not LANES:
        pytest.skip("this processor has no AVX-512 IFMA")
    expected = {name: text(audit(ledger.fetch, ledger.policy)) for name, ledger in damaged()}
    vectors = many.Vectors(lambda: LANES[0], patience=-1)
    monkeypatch.setattr(many, "_OURS", vectors)
    scan._scope.cache_clear()  # of the checkers that were made before
    try:
        found = {name: text(audit(ledger.fetch, ledger.policy)) for name, ledger in damaged()}
    finally:
        scan._scope.cache_clear()
    assert vectors.engine is LANES[0]
    assert found == expected


@pytest.mark.parametrize("very_many", [True, False])
def test_processes_get_ready_for_very_many_signatures_if_they_are_told(very_many: bool) -> None:
    parts.require(find_spec("llvmlite"), "llvmlite")
    program = f"""
from headcount_ledger.audit.pool import processes
with processes(2, very_many={very_many}) as pool:
    print(pool.submit(eval, "__import__('headcount_engine.many').many._OURS.engine is not None").result())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(very_many and bool(LANES))


@pytest.mark.parametrize("style", ["host", "operator"])
@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_each_attack_reads_the_same_by_processes(attack: str, style: str, pool: Executor) -> None:
    case = corrupter.corrupt(attack, style)
    held = [Receipt(f"receipt {i}", leaf, proof) for i, (leaf, proof) in enumerate(case.receipts)]
    reports = [
        audit(
            case.ledger.fetch,
            case.ledger.policy,
            remembered=case.remembered,
            receipts=held,
            executor=executor,
        )
        for executor in (None, pool)
    ]
    assert text(reports[0]) == text(reports[1])
    assert attack in {fault.code for fault in reports[0].faults}


def test_workers_read_a_folder_themselves(pool: Executor, tmp_path: Path) -> None:
    ledger = crowds.crowd()
    fetch = directory_fetch(ledger.write(tmp_path / "public"))
    assert text(audit(fetch, ledger.policy, executor=pool)) == text(audit(ledger.fetch, ledger.policy))


@pytest.mark.parametrize("good", [0, 1, 2])
def test_workers_that_die_are_replaced_by_this_process(good: int) -> None:
    ledger = crowds.crowd()
    report = audit(ledger.fetch, ledger.policy, executor=Broken(good))
    assert text(report) == text(audit(ledger.fetch, ledger.policy))


def test_the_counts_of_a_crowd() -> None:
    report = audit(crowds.crowd().fetch, crowds.crowd().policy)
    assert report.faults == ()
    one, two = (report.scopes[scope.scope_id] for scope in (ledgers.campaign(), ledgers.vote()))
    assert (one.gross, one.withdrawn) == (crowds.ONE, 0)  # withdrawn and taken back
    assert (two.gross, dict(two.choices)) == (crowds.TWO, {1: 45, 2: 45})
    assert report.batch_rows[-2].live == {ledgers.campaign().scope_id: crowds.ONE - 1}


def test_a_token_used_twice_is_named_with_its_first_place() -> None:
    again = crowds.pledges()[3].to_bytes()
    ledger = ledgers.build(crowds.batches(more=[(4, again)]))
    (fault,) = audit(ledger.fetch, ledger.policy).faults
    assert (fault.code, fault.batch) == ("replayed-token", 4)
    assert fault.index == max(i for i, entry in enumerate(ledger.leaves) if entry == again)
    assert fault.detail == f"it has counted already as entry {ledger.leaves.index(again)}"


def test_a_worker_packs_what_is_good_and_gives_back_what_is_not() -> None:
    ledger = crowds.crowd()
    size = len(ledger.leaves)
    unit = Unit(0, -(-size // 256), size)
    terms = (ledgers.campaign().raw, ledgers.vote().raw)
    packed = scan_unit(Memory(ledger.files), unit, terms, Extent())
    assert all(block is not None for block in packed)
    assert [block is None for block in scan_unit(Memory(ledger.files), unit, terms[:1], Extent())][1]
    data = bytearray(ledger.files["tile/entries/001"])
    data[5000] ^= 1
    ledger.files["tile/entries/001"] = bytes(data)
    assert [block is None for block in scan_unit(Memory(ledger.files), unit, terms, Extent())][:2] == [
        False,
        True,
    ]


def test_signatures_outside_the_extent_are_not_verified() -> None:
    forged = ledgers.forged_pledge(ledgers.campaign(), 9999).to_bytes()
    ledger = ledgers.build(crowds.batches(more=[(2, forged)]))
    index = ledger.leaves.index(forged)
    vote, campaign = ledgers.vote().scope_id, ledgers.campaign().scope_id
    for extent, found in (
        (Extent(), True),
        (Extent(start=index), True),
        (Extent(start=index + 1), False),
        (Extent(only=vote), False),
        (Extent(only=campaign), True),
    ):
        report = audit(ledger.fetch, ledger.policy, extent=extent)
        assert ("foreign-key" in {fault.code for fault in report.faults}) == found, extent
        assert bool(report.unchecked) == (extent != Extent())


def counted(index: int) -> CountedPledge:
    scope: ScopeRecount = None  # type: ignore[assignment]
    return CountedPledge(index, 0, scope, b"", 0)


def test_prefixes_are_sorted_in_ranges_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "SORT_ROWS", 50)
    monkeypatch.setattr(spent, "FLUSH_BYTES", 256)
    rng = np.random.default_rng(4)
    names = [Nullifier(rng.bytes(32)) for _ in range(700)]
    collided = Nullifier(names[5][:8] + bytes(24))  # alike in 64 bits and no more
    before = []
    for some in (range(120), range(120, 300)):
        order = sorted(some, key=lambda i: names[i])
        prefixes = np.array([int.from_bytes(names[i][:8], "big") for i in order], np.uint64)
        before.append(Before(prefixes, np.array(order, np.int64)))
    watched = int.from_bytes(names[10][:8], "big")
    everything = dict(enumerate(names)) | {1000: collided}
    seen = Spent(watch_list([], [watched]), everything.get, before)
    assert seen.watched_before() == [10]
    seen.put_before(names[10], counted(10))
    for start in range(300, 700, 40):
        seen.put_run(b"".join(name[:8] for name in names[start : start + 40]), start)
    assert seen.repeated() == set()
    assert all(seen.has(name) for name in (names[0], names[10], names[300], names[699]))
    assert not seen.has(collided)
    placed = [(int(p), int(i)) for part in seen.placed() for p, i in zip(*part, strict=True)]
    assert placed == sorted((int.from_bytes(name[:8], "big"), i) for i, name in enumerate(names))
    since = [int(i) for _, part in seen.placed_since(130, 430) for i in part]
    assert sorted(since) == list(range(430, 700))
    seen.put(collided, counted(1000))
    assert seen.repeated() == {int.from_bytes(names[5][:8], "big")}
    assert seen.has(collided)
    seen.close()


def test_two_nullifiers_that_are_alike_in_64_bits_only_are_no_fault() -> None:
    assert len(watch_list([bytes(8), bytes(8)], [3, 2**64 - 1])) == 3


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "from headcount_ledger.audit.pool import processes\n"
        "if __name__ == '__main__':\n"
        "    with processes(2) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 10
        while _runs(worker):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_one_job_needs_no_process() -> None:
    with processes(1) as executor:
        assert executor is None


def test_a_dask_cluster_gives_the_same_report(tmp_path: Path) -> None:
    parts.require(find_spec("distributed"), "distributed, from pip")
    from distributed import LocalCluster

    ledger = crowds.crowd()
    fetch = directory_fetch(ledger.write(tmp_path / "public"))
    options = {"dashboard_address": None, "silence_logs": 50, "local_directory": str(tmp_path)}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as cluster,
        dask(cluster.scheduler_address) as executor,
    ):
        report = audit(fetch, ledger.policy, executor=executor)
        tasks = executor.submit(os.getpid).result()
        assert tasks != os.getpid()
    assert text(report) == text(audit(fetch, ledger.policy))
