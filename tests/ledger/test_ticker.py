from __future__ import annotations

import shutil
import time
from pathlib import Path

import fakes
import manifests
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_ledger.ticker import Ticker

SCOPE = manifests.manifest(min_batch=1)


def wait_for(ledger: Ledger, batches: int) -> None:
    until = time.monotonic() + 20
    while ledger.head().batches < batches or ledger.head().published is None:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_batches_are_sealed_on_the_tick(tmp_path: Path) -> None:
    reasons: list[str] = []
    with fakes.new_ledger(tmp_path, tick_s=1) as ledger:
        with Ticker(ledger, fakes.FakeClock(), reasons.append):
            fakes.stage_terms(ledger, SCOPE)
            wait_for(ledger, 1)
            ledger.accept(manifests.pledge(SCOPE, 0).to_bytes(), DAY)
            wait_for(ledger, 2)
        assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].live == 1
        assert ledger.seal(DAY) is None  # the lock is free again
    assert reasons == []


def test_a_ticker_waits_while_another_sequencer_runs(tmp_path: Path) -> None:
    reasons: list[str] = []
    with fakes.new_ledger(tmp_path, tick_s=1) as ledger:
        ticker = Ticker(ledger, fakes.FakeClock(), reasons.append)
        with ledger.sequencer():
            ticker.start()
            time.sleep(0.1)
        ticker.stop()
    assert reasons == []


def test_a_sequencer_that_cannot_go_on_ends_the_process(tmp_path: Path) -> None:
    reasons: list[str] = []
    fakes.new_ledger(tmp_path / "a").close()
    with Ledger.open(LedgerConfig(tmp_path / "a", tick_s=1)) as ledger:
        shutil.rmtree(ledger.config.public)
        fakes.stage_terms(ledger, SCOPE)
        (ledger.config.public).mkdir()
        (ledger.config.public / "checkpoint").write_bytes(b"another's")
        ticker = Ticker(ledger, fakes.FakeClock(), reasons.append)
        ticker.run()
    assert len(reasons) == 1
    assert "not ours" in reasons[0]
