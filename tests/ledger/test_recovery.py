from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fakes
import manifests
from crashes import STEPS, CrashError, crashing_sequencer, run_and_crash
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_spec import cosignature
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.errors import ConfigurationError, CorruptionError, UnavailableError
from headcount_spec.merkle import RootHash
from headcount_spec.note import SigningKey

# Nothing is sealed between the day of acceptance and the closing: changes are free until then.
SCOPE = manifests.manifest(min_batch=3, freezes="2026-03-01")
CLOSED = SCOPE.closes + 1


def staged(directory: Path) -> LedgerConfig:
    """A ledger with one batch of everything, and of everything something staged."""
    with fakes.new_ledger(directory) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        pledges = [manifests.pledge(SCOPE, i) for i in range(7)]
        for pledge in pledges[:4]:
            ledger.accept(pledge.to_bytes(), DAY)
        ledger.seal(DAY)
        for pledge in pledges[4:]:
            ledger.accept(pledge.to_bytes(), DAY)
        ledger.accept(manifests.revision(pledges[0], 0).to_bytes(), DAY)
        ledger.accept(manifests.revision(pledges[5], 5).to_bytes(), DAY)
        issued = manifests.issuance(SCOPE, DAY, 16, manifests.opening(SCOPE))
        ledger.accept(issued.to_bytes(), DAY)
        return ledger.config


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prepared") / "ledger"
    staged(directory)
    return directory


@pytest.fixture
def config(prepared: Path, tmp_path: Path) -> LedgerConfig:
    shutil.copytree(prepared, tmp_path / "ledger")
    return LedgerConfig(tmp_path / "ledger")


def finished(config: LedgerConfig, day: int) -> tuple[dict[str, bytes], dict[str, list[tuple[object, ...]]]]:
    """What a ledger is after a seal that nothing disturbs, wherever it was interrupted before."""
    assert fsck(config, day).ok
    with Ledger.open(config) as ledger:
        ledger.seal(day)
        assert ledger.seal(day) is None
        assert list(config.pending.iterdir()) == []
        report = fakes.whole_audit(ledger)
        assert (report.scopes[SCOPE.scope_id].gross, report.scopes[SCOPE.scope_id].live) == (7, 5)
        assert fsck(config, day).ok
        return fakes.published(ledger), fakes.tables(ledger)


@pytest.mark.parametrize("day", [DAY, CLOSED], ids=["any", "closing"])
@pytest.mark.parametrize("persisted", [False, True], ids=["not-persisted", "persisted"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_leads_to_the_same_ledger(
    config: LedgerConfig, prepared: Path, tmp_path: Path, step: str, persisted: bool, day: int
) -> None:
    shutil.copytree(prepared, tmp_path / "undisturbed")
    expected = finished(LedgerConfig(tmp_path / "undisturbed"), day)
    run_and_crash(config, crashing_sequencer(step, persisted), day)
    assert finished(config, day) == expected


def test_crashes_one_after_the_other_lead_to_the_same_ledger(
    config: LedgerConfig, prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "undisturbed")
    expected = finished(LedgerConfig(tmp_path / "undisturbed"), DAY)
    for step in STEPS:
        run_and_crash(config, crashing_sequencer(step, False), DAY)
        if step != "clean_up":
            run_and_crash(config, crashing_sequencer(step, True), DAY)
    assert finished(config, DAY) == expected


@pytest.mark.parametrize("persisted", [False, True], ids=["not-persisted", "persisted"])
def test_a_crash_at_any_written_object_leads_to_the_same_ledger(
    prepared: Path, tmp_path: Path, persisted: bool
) -> None:
    shutil.copytree(prepared, tmp_path / "undisturbed")
    expected = finished(LedgerConfig(tmp_path / "undisturbed"), DAY)
    writes: list[str] = []
    crashed_at = 0
    while crashed_at <= len(writes):
        directory = tmp_path / f"crash-{crashed_at}"
        shutil.copytree(prepared, directory)
        with Ledger.open(LedgerConfig(directory)) as ledger:
            writes = []
            ledger.storage = fakes.FaultyStorage(ledger.storage, crash_at(crashed_at, persisted, writes))
            crashed = False
            try:
                ledger.seal(DAY)
            except CrashError:
                crashed = True
        assert finished(LedgerConfig(directory), DAY) == expected
        crashed_at += 1
        if not crashed:
            break
    assert {"create", "put", "swap"} == {write.split()[0] for write in writes}
    assert not crashed


def crash_at(number: int, persisted: bool, writes: list[str]) -> fakes.Fault:
    def fault(method: str, path: str) -> tuple[bool, Exception | None]:
        writes.append(f"{method} {path}")
        if len(writes) - 1 == number:
            return persisted, CrashError()
        return True, None

    return fault


def test_what_arrives_between_the_crash_and_the_start_is_not_lost(config: LedgerConfig) -> None:
    late = manifests.pledge(SCOPE, 20)
    run_and_crash(config, crashing_sequencer("persist", True), DAY)
    with Ledger.open(config) as ledger:
        ledger.accept(late.to_bytes(), DAY)
        ledger.seal(DAY)
        assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 8


def test_a_planned_closing_stays_one_when_the_clock_goes_back(config: LedgerConfig) -> None:
    run_and_crash(config, crashing_sequencer("select", True), CLOSED)
    with Ledger.open(config) as ledger:
        ledger.seal(SCOPE.closes)
        report = fakes.whole_audit(ledger)
        assert report.scopes[SCOPE.scope_id].closed


def test_cosignatures_that_were_published_before_the_crash_stand(config: LedgerConfig) -> None:
    times: list[int] = []

    def cosign(checkpoint: bytes) -> bytes:
        times.append(len(times))
        signed = parse_checkpoint(checkpoint)
        witness = SigningKey("witness.example/w", bytes(31) + b"\1")
        line = cosignature.cosign(signed.checkpoint, witness, DAY * 86400 + len(times))
        return signed.note.with_signatures([line]).to_bytes()

    with Ledger.open(config, cosign) as ledger:

        def fault(method: str, path: str) -> tuple[bool, Exception | None]:
            return (False, CrashError()) if method == "swap" else (True, None)

        intact = ledger.storage
        ledger.storage = fakes.FaultyStorage(intact, fault)
        with pytest.raises(CrashError):
            ledger.seal(DAY)
        archived = intact.read("checkpoints/2")
        ledger.storage = intact
        assert ledger.seal(DAY) is None
        assert intact.read("checkpoint") == archived
        fakes.whole_audit(ledger)
    assert len(times) == 2  # before the batch was committed, and for it: not again after the crash


def test_a_restored_older_database_is_refused(config: LedgerConfig, tmp_path: Path) -> None:
    shutil.copy(config.database, tmp_path / "backup.sqlite")
    with Ledger.open(config) as ledger:
        ledger.seal(DAY)
    shutil.copy(tmp_path / "backup.sqlite", config.database)
    with pytest.raises(CorruptionError, match="newer than the database"):
        Ledger.open(config)


def test_a_restored_older_tree_is_refused(config: LedgerConfig, tmp_path: Path) -> None:
    shutil.copytree(config.public, tmp_path / "backup")
    with Ledger.open(config) as ledger:
        ledger.seal(DAY)
        shutil.rmtree(config.public)
        shutil.copytree(tmp_path / "backup", config.public)
        with pytest.raises(CorruptionError, match="older than the database"):
            ledger.seal(DAY)


def other_root(config: LedgerConfig) -> bytes:
    with Ledger.open(config) as ledger:
        size = ledger.head().size
    return sign_checkpoint(Checkpoint(manifests.ORIGIN, size, RootHash(bytes(32))), manifests.LEDGER_KEY)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (other_root, "another root"),
        (lambda config: b"garbage", "not ours"),
        (lambda config: None, "missing"),
    ],
    ids=["another-root", "garbage", "missing"],
)
def test_another_published_checkpoint_is_refused(
    config: LedgerConfig, checkpoint: Callable[[LedgerConfig], bytes | None], message: str
) -> None:
    data = checkpoint(config)
    (config.public / "checkpoint").unlink()
    if data is not None:
        (config.public / "checkpoint").write_bytes(data)
    with pytest.raises(CorruptionError, match=message):
        Ledger.open(config)


def test_another_key_is_refused(config: LedgerConfig) -> None:
    other = SigningKey(manifests.ORIGIN, bytes(32))
    config.key.write_text(other.to_text() + "\n")
    with pytest.raises(CorruptionError, match="not the one"):
        Ledger.open(config)


@pytest.mark.parametrize("file", ["plan", "objects"])
@pytest.mark.parametrize("damage", ["missing", "changed", "truncated"])
def test_damaged_pending_files_of_a_committed_batch_stop_the_start(
    config: LedgerConfig, file: str, damage: str
) -> None:
    run_and_crash(config, crashing_sequencer("commit", True), DAY)
    path = config.pending / file
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        path.write_bytes(data[:-1])
    with Ledger.open(config) as ledger, pytest.raises(CorruptionError):
        ledger.seal(DAY)
    path.write_bytes(data)
    path.chmod(0o600)
    finished(config, DAY)


def test_a_full_disk_loses_nothing(config: LedgerConfig) -> None:
    with Ledger.open(config) as ledger:

        def fault(method: str, path: str) -> tuple[bool, Exception | None]:
            return (
                (False, UnavailableError("cannot write: no space left")) if method == "put" else (True, None)
            )

        intact = ledger.storage
        ledger.storage = fakes.FaultyStorage(intact, fault)
        with pytest.raises(UnavailableError):
            ledger.seal(DAY)
        ledger.storage = intact
    finished(config, DAY)


def test_a_server_never_creates_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="headcount ledger create"):
        Ledger.open(LedgerConfig(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_created_once(config: LedgerConfig) -> None:
    before = config.key.read_bytes()
    with pytest.raises(ConfigurationError, match="created once"):
        fakes.new_ledger(config.directory)
    assert config.key.read_bytes() == before
    assert config.key.stat().st_mode & 0o777 == 0o600
    assert config.database.stat().st_mode & 0o777 == 0o600
