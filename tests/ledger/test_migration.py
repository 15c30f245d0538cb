from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import update

import fakes
import manifests
from fakes import DAY
from headcount_ledger import migration, schema
from headcount_ledger.cli import ledger as commands
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.migration import migrate
from headcount_ledger.place import open_database
from headcount_spec.errors import ConfigurationError, CorruptionError, UnavailableError
from places import ManyMachines, OneMachine

SCOPE = manifests.manifest(min_batch=3, freezes="2026-03-01")


class CrashError(Exception):
    pass


@pytest.fixture
def old(tmp_path: Path) -> OneMachine:
    """Two batches are published; pledges, a revision and a notice wait."""
    place = OneMachine(tmp_path / "old")
    with place.create() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        for i in range(4):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
        ledger.seal(DAY)
        for i in range(4, 6):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
        ledger.accept(manifests.revision(manifests.pledge(SCOPE, 4), 4).to_bytes(), DAY)
        issued = manifests.issuance(SCOPE, DAY, 16, manifests.opening(SCOPE))
        ledger.accept(issued.to_bytes(), DAY)
    return place


@pytest.fixture
def new(tmp_path: Path) -> ManyMachines:
    return ManyMachines(tmp_path / "new")


def check_moved(old: OneMachine, new: ManyMachines, files: dict[str, bytes]) -> None:
    assert new.published() == files
    tables, before = new.tables(), old.tables()
    assert before.pop("frozen") != tables.pop("frozen")
    assert tables == before
    pledge = manifests.pledge(SCOPE, 6)
    with Ledger.open(old.config) as ledger:
        for act in (lambda: ledger.accept(pledge.to_bytes(), DAY), lambda: ledger.seal(DAY)):
            with pytest.raises(UnavailableError, match="has moved"):
                act()
    with Ledger.open(new.config) as ledger:
        again = ledger.accept(manifests.pledge(SCOPE, 0).to_bytes(), DAY)
        assert again == ledger.accept(manifests.pledge(SCOPE, 0).to_bytes(), DAY)
        ledger.accept(pledge.to_bytes(), DAY)
        batch = ledger.seal(DAY)
        assert batch is not None
        assert (batch.number, batch.pledges, batch.revisions) == (2, 3, 1)
    counted = new.whole_audit().scopes[SCOPE.scope_id]
    assert (counted.gross, counted.live) == (7, 6)
    assert old.published() == files


def test_a_ledger_moves_with_all_that_waits(old: OneMachine, new: ManyMachines) -> None:
    files = old.published()
    lines: list[str] = []
    head = migrate(old.config, new.config, lines.append)
    assert head.batches == 2
    assert any(line.startswith("root: ") for line in lines)
    check_moved(old, new, files)
    assert migrate(old.config, new.config).batches == 3  # it is done, and that is all
    assert [finding.code for finding in fsck(old.config, DAY).findings] == ["moved-ledger"]
    assert fsck(new.config, DAY).ok


def test_only_the_database_may_move(old: OneMachine, new: ManyMachines) -> None:
    files = old.published()
    config = dataclasses.replace(new.config, directory=old.config.directory, bucket=None)
    migrate(old.config, config)
    with Ledger.open(config) as ledger:
        assert fakes.published(ledger) == files
        with Ledger.open(old.config) as frozen, pytest.raises(UnavailableError, match="has moved"):
            frozen.accept(manifests.pledge(SCOPE, 7).to_bytes(), DAY)
        ledger.accept(manifests.pledge(SCOPE, 6).to_bytes(), DAY)
        assert ledger.seal(DAY) is not None
        fakes.whole_audit(ledger)
    with pytest.raises(CorruptionError, match="newer than the database"):
        Ledger.open(old.config)


@pytest.mark.parametrize(
    "step", ["_copy_key", "_copy_tree", "_copy_large", "_copy_small", "_compare", "_check_tree"]
)
def test_an_interrupted_move_goes_on_and_opens_nothing_before_its_end(
    old: OneMachine, new: ManyMachines, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    files = old.published()
    intact = getattr(migration._Move, step)

    def crash(self: object, *args: object) -> None:
        intact(self, *args)
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(migration._Move, step, crash)
        with pytest.raises(CrashError):
            migrate(old.config, new.config)
    assert "checkpoint" not in new.published()
    with pytest.raises(ConfigurationError, match="no ledger"):
        Ledger.open(new.config)
    with Ledger.open(old.config) as ledger, pytest.raises(UnavailableError, match="has moved"):
        ledger.accept(manifests.pledge(SCOPE, 7).to_bytes(), DAY)
    migrate(old.config, new.config)
    check_moved(old, new, files)


def test_large_tables_go_on_behind_what_is_copied(
    old: OneMachine, new: ManyMachines, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = old.published()
    monkeypatch.setattr(migration, "CHUNK", 1)
    write_row = migration.copying
    chunks = 0

    def crash_later(*args: object) -> object:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            raise CrashError
        return write_row(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(migration, "copying", crash_later)
        with pytest.raises(CrashError):
            migrate(old.config, new.config)
    lines: list[str] = []
    migrate(old.config, new.config, lines.append)
    assert "spent: 2 rows" in lines
    check_moved(old, new, files)


def test_a_ledger_moves_to_one_place(old: OneMachine, new: ManyMachines, tmp_path: Path) -> None:
    migrate(old.config, new.config)
    with pytest.raises(ConfigurationError, match="has moved, to"):
        migrate(old.config, ManyMachines(tmp_path / "third").config)


def test_a_place_that_holds_something_is_refused_and_nothing_is_frozen(
    old: OneMachine, new: ManyMachines
) -> None:
    new.create().close()
    for config in (
        new.config,
        dataclasses.replace(new.config, postgresql=ManyMachines(new.directory / "x").config.postgresql),
    ):
        with pytest.raises(ConfigurationError, match="already"):
            migrate(old.config, config)
    for wrong in ((new.config, old.config), (old.config, old.config)):
        with pytest.raises(ConfigurationError):
            migrate(*wrong)
    with Ledger.open(old.config) as ledger:
        ledger.accept(manifests.pledge(SCOPE, 6).to_bytes(), DAY)


def test_a_ledger_that_is_sealing_does_not_move(old: OneMachine, new: ManyMachines) -> None:
    with Ledger.open(old.config) as ledger, ledger.sequencer(), pytest.raises(UnavailableError):
        migrate(old.config, new.config)
    with Ledger.open(old.config) as ledger:
        ledger.accept(manifests.pledge(SCOPE, 6).to_bytes(), DAY)


def test_a_running_server_stops_accepting_at_the_freezing(old: OneMachine, new: ManyMachines) -> None:
    # Whatever was promised before the mark is in the new place, whatever comes after is refused.
    promised: list[int] = []
    ready = threading.Event()

    def serve() -> None:
        with Ledger.open(old.config) as ledger:
            for i in range(6, 400):
                try:
                    ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
                except UnavailableError:
                    return
                promised.append(i)
                ready.set()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()
    migrate(old.config, new.config)
    thread.join()
    assert 0 < len(promised) < 394
    with Ledger.open(new.config) as ledger:
        assert ledger.waiting() == 2 + len(promised)


@pytest.mark.parametrize("what", ["row", "tile", "bundle"])
def test_a_copy_with_a_flipped_bit_is_not_opened(
    old: OneMachine, new: ManyMachines, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    config = dataclasses.replace(new.config, bucket=None)
    intact = migration._Move._copy_small

    def damage(self: migration._Move, table: object) -> None:
        intact(self, table)  # type: ignore[arg-type]
        if what == "row":
            engine = open_database(config)
            with engine.begin() as tx:
                tx.execute(update(schema.spent).values(choice=1))
            engine.dispose()
        elif table is schema.scopes:
            size = self._head.size
            path = config.public / (
                f"tile/0/000.p/{size}" if what == "tile" else f"tile/entries/000.p/{size}"
            )
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(migration._Move, "_copy_small", damage)
    with pytest.raises(CorruptionError, match="copied"):
        migrate(old.config, config)
    with pytest.raises(ConfigurationError, match="no ledger"):
        Ledger.open(config)


def test_the_command_moves_it(old: OneMachine, new: ManyMachines, tmp_path: Path) -> None:
    files = old.published()
    file = new.toml(tmp_path / "node.toml", new.config)
    ran = CliRunner().invoke(
        commands, ["migrate", str(old.config.directory), "--to", str(file)], catch_exceptions=False
    )
    assert ran.exit_code == 0, ran.output
    assert "frozen: " in ran.output
    assert "moved: the ledger is in postgresql+psycopg://" in ran.output
    status = CliRunner().invoke(commands, ["status", str(file)], catch_exceptions=False)
    assert "2 batches" in status.output
    check_moved(old, new, files)


def test_a_file_without_a_ledger_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    for text in ("[node]\n", "ledger = 5\n", "?"):
        file.write_text(text)
        ran = CliRunner().invoke(commands, ["status", str(file)])
        assert isinstance(ran.exception, ConfigurationError)
    assert LedgerConfig(tmp_path).place.startswith(str(tmp_path))
