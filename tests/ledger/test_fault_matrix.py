from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

import fakes
import manifests
from crashes import STEPS, CrashError, crashing_sequencer, run_and_crash
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.sequencer import Sequencer
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint
from headcount_spec.errors import CorruptionError
from headcount_spec.tile import TileReader

SCOPE = manifests.manifest(min_batch=3, freezes="2026-03-01")
FIRST = 250  # so that the next batch makes a bundle and a tile of level 0 full, which had partial ones
FAULTS = [(step, persisted) for step in STEPS for persisted in (False, True)]


def close_to_full(directory: Path) -> LedgerConfig:
    with fakes.new_ledger(directory) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        for first, end in ((0, 240), (240, 245), (245, FIRST)):
            for i in range(first, end):
                ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
            if end < FIRST:
                ledger.seal(DAY)
        ledger.accept(manifests.revision(manifests.pledge(SCOPE, 0), 0).to_bytes(), DAY)
        ledger.accept(manifests.revision(manifests.pledge(SCOPE, FIRST - 1), FIRST - 1).to_bytes(), DAY)
        return ledger.config


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prepared") / "ledger"
    close_to_full(directory)
    return directory


@pytest.fixture
def config(prepared: Path, tmp_path: Path) -> LedgerConfig:
    return LedgerConfig(Path(shutil.copytree(prepared, tmp_path / "ledger")))


def published(config: LedgerConfig) -> list[Checkpoint]:
    """What everybody may have seen, and what is signed in the database."""
    with Ledger.open(config) as ledger:
        raws = [ledger.head().checkpoint, ledger.storage.read("checkpoint")]
    raws += [path.read_bytes() for path in (config.public / "checkpoints").iterdir()]
    return [parse_checkpoint(raw).checkpoint for raw in raws]


def check(config: LedgerConfig, seen: list[Checkpoint], gross: int, live: int) -> None:
    """Sound, audited, and every checkpoint that was ever seen is of this history."""
    with Ledger.open(config) as ledger:
        ledger.seal(DAY)
        count = fakes.whole_audit(ledger).scopes[SCOPE.scope_id]
        assert (count.gross, count.live) == (gross, live)
        reader = TileReader(ledger.storage.read, ledger.head().size)
    for checkpoint in (*seen, *published(config)):
        assert reader.root_at(checkpoint.size) == checkpoint.root
    assert [f.line for f in fsck(config, DAY).findings if f.code != "missing-issuance"] == []


def test_a_batch_that_fills_a_tile_collects_its_partial_ones(config: LedgerConfig) -> None:
    before = {path.name for path in config.public.rglob("*.p/*")}
    assert {"5", "246", "252"} <= before
    check(config, published(config), FIRST, FIRST - 2)
    left = sorted(str(path.relative_to(config.public)) for path in config.public.rglob("*.p/*"))
    assert left == ["tile/0/001.p/4", "tile/1/000.p/1", "tile/entries/001.p/4"]


@pytest.mark.parametrize(("step", "persisted"), FAULTS)
def test_other_entries_that_arrive_after_the_crash_make_no_second_history(
    config: LedgerConfig, step: str, persisted: bool
) -> None:
    run_and_crash(config, crashing_sequencer(step, persisted), DAY)
    assert fsck(config, DAY).ok
    seen = published(config)
    with Ledger.open(config) as ledger:
        for i in range(FIRST, FIRST + 4):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
    check(config, seen, FIRST + 4, FIRST + 2)


@pytest.mark.long
@pytest.mark.parametrize(("second", "persisted_then"), FAULTS)
@pytest.mark.parametrize(("first", "persisted"), FAULTS)
def test_two_crashes_in_a_row_make_no_second_history(
    config: LedgerConfig, first: str, persisted: bool, second: str, persisted_then: bool
) -> None:
    run_and_crash(config, crashing_sequencer(first, persisted), DAY)
    seen = published(config)
    with Ledger.open(config) as ledger:
        for i in range(FIRST, FIRST + 4):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
    # Where the first crash has left nothing to be done, the second step is not reached.
    run_and_crash(config, crashing_sequencer(second, persisted_then), DAY, is_reached=False)
    assert fsck(config, DAY).ok
    check(config, [*seen, *published(config)], FIRST + 4, FIRST + 2)


@pytest.mark.parametrize(
    "persisted", [pytest.param(False, marks=pytest.mark.long), True], ids=["not-persisted", "persisted"]
)
def test_a_fault_at_any_written_object_of_a_batch_that_fills_a_tile(
    prepared: Path, tmp_path: Path, persisted: bool
) -> None:
    methods = set()
    number = 0
    while True:
        config = LedgerConfig(Path(shutil.copytree(prepared, tmp_path / str(number))))
        writes: list[str] = []
        with Ledger.open(config) as ledger:
            ledger.storage = fakes.FaultyStorage(ledger.storage, crash_at(number, persisted, writes))
            crashed = False
            try:
                ledger.seal(DAY)
            except CrashError:
                crashed = True
        if not crashed:
            break
        methods.add(writes[-1])
        assert fsck(config, DAY).ok
        check(config, published(config), FIRST, FIRST - 2)
        shutil.rmtree(config.directory)
        number += 1
    assert methods == {"create", "swap", "collect"}


def crash_at(number: int, persisted: bool, writes: list[str]) -> fakes.Fault:
    def fault(method: str, path: str) -> tuple[bool, Exception | None]:
        writes.append(method)
        return (persisted, CrashError()) if len(writes) - 1 == number else (True, None)

    return fault


@pytest.mark.parametrize("step", STEPS[1:])
def test_two_sequencers_without_a_lock_sign_one_history(config: LedgerConfig, step: str) -> None:
    # A file system that forgets locks: the slow one stops at each step while the other seals.
    interrupted: list[str] = []

    def interrupt(self: object, *args: object) -> object:
        if not interrupted:
            interrupted.append(step)
            config.lock.unlink()
            with Ledger.open(config) as other:
                for i in range(FIRST, FIRST + 3):
                    other.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
                other.seal(DAY)
        return original(self, *args)

    original = getattr(Sequencer, step)
    seen = published(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sequencer, step, interrupt)
        with Ledger.open(config) as slow, contextlib.suppress(CorruptionError):
            slow.seal(DAY)
    assert interrupted == [step]
    seen += published(config)
    check(config, seen, FIRST + 3, FIRST + 1)


def test_a_database_of_another_day_is_refused_with_everything_else_in_place(
    config: LedgerConfig, tmp_path: Path
) -> None:
    shutil.copy(config.database, tmp_path / "backup")
    with Ledger.open(config) as ledger:
        ledger.seal(DAY)
        seen = published(config)
    newest = config.database.read_bytes()
    shutil.copy(tmp_path / "backup", config.database)
    with pytest.raises(CorruptionError, match="newer than the database"):
        Ledger.open(config)
    assert not fsck(config, DAY).ok
    config.database.write_bytes(newest)
    check(config, seen, FIRST, FIRST - 2)


def test_a_backup_of_everything_is_refused_by_the_tree_that_was_published_since(
    config: LedgerConfig, tmp_path: Path
) -> None:
    # Whoever restores database and tree together has an old ledger: only witnesses and readers know better.
    old = shutil.copytree(config.directory, tmp_path / "old")
    with Ledger.open(config) as ledger:
        ledger.seal(DAY)
    shutil.rmtree(old / "public")
    shutil.copytree(config.public, old / "public")
    with pytest.raises(CorruptionError, match="newer than the database"):
        Ledger.open(LedgerConfig(old))


def test_clocks_that_go_back_are_no_fault(config: LedgerConfig) -> None:
    seen = published(config)
    with Ledger.open(config) as ledger:
        ledger.seal(DAY + 9)
        for day, i in ((DAY + 3, FIRST), (DAY - 1, FIRST + 1), (DAY, FIRST + 2)):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), day)
            ledger.seal(day)
    check(config, seen, FIRST + 3, FIRST + 1)
