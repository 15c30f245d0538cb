from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fakes
import manifests
import tracing
from fakes import DAY
from headcount_ledger import staged
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.storage import DirectoryStorage
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.tile import TileReader
from parts import require
from tracing import EFFECTS, Call, Victims

SCOPE = manifests.manifest(min_batch=3, freezes="2026-03-01")
LATE = manifests.pledge(SCOPE, 300)
ISSUED = manifests.issuance(SCOPE, DAY, 320, manifests.opening(SCOPE))
OPERATIONS = ("open", "accept", "close", "seal")
SAMPLE = 7  # the fast suite disturbs every so many-th call

Tables = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A ledger before the operations, and what it must be after each of them and a restart."""

    directory: Path
    victims: Victims
    expected: dict[bool, tuple[dict[str, bytes], Tables]]  # with the late pledge, and without


def close_to_full(directory: Path) -> LedgerConfig:
    """Whose next batch has pledges, a revision and a notice, and makes a bundle and a tile full."""
    with fakes.new_ledger(directory) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        for first, end in ((0, 200), (200, 245), (245, 256)):
            if first:
                ledger.seal(DAY)
            for i in range(first, end):
                ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
        ledger.accept(manifests.revision(manifests.pledge(SCOPE, 0), 0).to_bytes(), DAY)
        ledger.accept(ISSUED.to_bytes(), DAY)
        return ledger.config


def restart(config: LedgerConfig, *, with_late: bool) -> tuple[dict[str, bytes], Tables]:
    """What the ledger is when it was opened again and has sealed."""
    with Ledger.open(config) as ledger:
        if with_late:
            ledger.accept(LATE.to_bytes(), DAY)
        ledger.seal(DAY)
        assert ledger.seal(DAY) is None
        report = fakes.whole_audit(ledger)
        assert report.scopes[SCOPE.scope_id].gross == 256 + with_late
        assert [f.line for f in fsck(config, DAY).findings if f.code != "missing-issuance"] == []
        return fakes.published(ledger), fakes.tables(ledger)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    require(shutil.which("strace"), "strace")
    folder = tmp_path_factory.mktemp("scene")
    config = close_to_full(folder / "ledger")
    expected = {}
    for with_late in (False, True):
        copy = shutil.copytree(config.directory, folder / f"undisturbed-{with_late}")
        expected[with_late] = restart(LedgerConfig(copy), with_late=with_late)
    with tracing.victims(folder) as victims:
        yield Scene(config.directory, victims, expected)


def calls(scene: Scene, operation: str, folder: Path) -> list[Call]:
    config = LedgerConfig(shutil.copytree(scene.directory, folder / "undisturbed"))
    outcome, trace = scene.victims.run(operation, config, DAY, LATE.to_bytes())
    assert outcome.is_done
    shutil.rmtree(config.directory)
    return tracing.calls_of(trace, config.directory)


def disturb(scene: Scene, operation: str, call: Call, effect: str, folder: Path) -> str:
    """Make one call fail, start again, and check that nothing is lost, doubled or forked. What was seen."""
    config = LedgerConfig(shutil.copytree(scene.directory, folder / "ledger"))
    inject = f"{call.name}:{effect}:when={call.number}"
    outcome, trace = scene.victims.run(operation, config, DAY, LATE.to_bytes(), inject)
    where = f"{operation} {inject} {call.text[:80]}"
    assert "INJECTED" in trace or "killed by SIGKILL" in trace, where
    if effect == "signal=KILL":
        assert not outcome.is_done, where
    known = [*outcome.signed, *archived(config)]
    # A crash leaves files to be named, and nothing that is wrong.
    found = [finding.line for finding in fsck(config, DAY).findings if finding.is_error]
    assert found == [], where
    is_accepting = operation in ("accept", "close")
    if outcome.answers:
        with Ledger.open(config) as ledger, ledger._store.read() as tx:
            stored = staged.find_pledge(tx, LATE.nullifier)
            assert stored is not None, where
            assert stored.leaf_hash in outcome.answers[0], where
    after = restart(config, with_late=is_accepting)
    assert after == scene.expected[is_accepting], where
    check_one_history([*known, *archived(config)], config)
    leftover = [path.name for path in config.directory.rglob(".*")]
    assert leftover == [], where
    shutil.rmtree(config.directory)
    if outcome.is_done:
        return "done"
    return outcome.failure or "killed or ended"


def archived(config: LedgerConfig) -> list[bytes]:
    """Every checkpoint that is published, and the one in the database."""
    paths = [config.public / "checkpoint", *(config.public / "checkpoints").iterdir()]
    with Ledger.open(config) as ledger:
        return [path.read_bytes() for path in paths if not path.name.startswith(".")] + [
            ledger.head().checkpoint
        ]


def check_one_history(checkpoints: list[bytes], config: LedgerConfig) -> None:
    """Each is a prefix of the tree that stands at the end, so any two are consistent."""
    parsed = [parse_checkpoint(raw).checkpoint for raw in checkpoints]
    reader = TileReader(DirectoryStorage(config.public).read, max(c.size for c in parsed))
    for checkpoint in parsed:
        assert reader.root_at(checkpoint.size) == checkpoint.root


def run_all(scene: Scene, operation: str, folder: Path, step: int) -> None:
    disturbed = calls(scene, operation, folder)
    seen: Counter[str] = Counter()
    for place, call in enumerate(disturbed):
        for offset, effect in enumerate(EFFECTS):
            # Another call for each effect, so that a sample covers more of them.
            if (place + offset * (step // 2)) % step == 0:
                seen[f"{effect}: {disturb(scene, operation, call, effect, folder)}"] += 1
    print(
        f"{operation}: {len(disturbed)} calls, {sum(seen.values())} disturbed: {dict(sorted(seen.items()))}"
    )
    assert seen


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_file_call_that_fails_or_kills_loses_and_forks_nothing(
    scene: Scene, operation: str, tmp_path: Path
) -> None:
    run_all(scene, operation, tmp_path, SAMPLE)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_file_call_that_fails_or_kills_loses_and_forks_nothing(
    scene: Scene, operation: str, tmp_path: Path
) -> None:
    run_all(scene, operation, tmp_path, 1)
