from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

import fakes
import manifests
import places
import servers
from crashes import STEPS, CrashError, crashing_sequencer
from fakes import DAY, open_scopes
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.sequencer import Sequencer
from headcount_spec.errors import ConfigurationError, CorruptionError, RevisionConflictError, UnavailableError
from headcount_spec.promise import Promise
from places import Place

SCOPE = manifests.manifest(
    min_batch=3,
    freezes="2026-03-01",
    options=manifests.options("Yes", "No"),
    quotas={"each": 1, "options": 2},
)
CLOSED = SCOPE.closes + 1
CLIENTS = 32
MACHINES = 4

T = TypeVar("T")


@pytest.fixture(params=places.NAMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return places.new(request.param, tmp_path)


@pytest.fixture(scope="module", params=places.NAMES)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One batch of everything is published, and of everything something waits."""
    place = places.new(request.param, tmp_path_factory.mktemp("prepared"))
    with place.create() as ledger:
        open_scopes(ledger, SCOPE)
        pledges = [manifests.pledge(SCOPE, i, choice=1) for i in range(7)]
        for pledge in pledges[:4]:
            ledger.accept(pledge.to_bytes(), DAY)
        ledger.seal(DAY)
        for pledge in pledges[4:]:
            ledger.accept(pledge.to_bytes(), DAY)
        for i in (0, 5):
            ledger.accept(manifests.revision(pledges[i], i).to_bytes(), DAY)
        issued = manifests.issuance(SCOPE, DAY, 16, manifests.opening(SCOPE))
        ledger.accept(issued.to_bytes(), DAY)
    return place


@pytest.fixture(scope="module")
def expected(prepared: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is published when nothing disturbs the next batch."""
    undisturbed = prepared.copy(tmp_path_factory.mktemp("undisturbed"))
    finish(undisturbed, undisturbed.config)
    return undisturbed.published()


@pytest.fixture
def waiting(prepared: Place, tmp_path: Path) -> Place:
    return prepared.copy(tmp_path)


def finish(place: Place, config: LedgerConfig) -> None:
    """One undisturbed seal on a machine, and the whole audit."""
    with Ledger.open(config) as ledger:
        ledger.seal(DAY)
        assert ledger.seal(DAY) is None
        assert ledger.waiting() == 0
    counted = place.whole_audit().scopes[SCOPE.scope_id]
    assert (counted.gross, counted.live) == (7, 5)
    checked = fsck(config, DAY)
    assert [finding.line for finding in checked.findings if finding.is_error] == []
    assert checked.entries == place.whole_audit().size


def storm(works: list[Callable[[], T]]) -> list[T]:
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_a_ledger_from_its_opening_to_its_closing(place: Place) -> None:
    place.create().close()
    machines = [Ledger.open(place.another_machine()) for _ in range(MACHINES)]
    first = machines[0]
    open_scopes(first, SCOPE)
    pledges = [manifests.pledge(SCOPE, i, choice=1) for i in range(6)]

    promises = storm(
        [lambda m=machines[i % MACHINES]: m.accept(pledges[0].to_bytes(), DAY) for i in range(CLIENTS)]
    )
    assert len(set(promises)) == 1
    assert first.waiting() == 1
    for i, pledge in enumerate(pledges[:5]):
        machines[i % MACHINES].accept(pledge.to_bytes(), DAY)
    assert first.waiting() == 5

    def revise(machine: Ledger, choice: int) -> object:
        try:
            return machine.accept(manifests.revision(pledges[1], 1, 1, choice).to_bytes(), DAY)
        except RevisionConflictError as error:
            return error.serial

    answers = storm([lambda m=machines[i % MACHINES], c=1 + i % 2: revise(m, c) for i in range(CLIENTS)])
    assert answers.count(1) == CLIENTS // 2  # the serial that stands
    assert len({answer for answer in answers if isinstance(answer, Promise)}) == 1

    batch = machines[1].seal(DAY)
    assert batch is not None
    assert (batch.pledges, batch.revisions) == (5, 1)
    assert machines[2].accept(pledges[0].to_bytes(), DAY) == promises[0]
    assert first.waiting() == 0
    first.accept(manifests.revision(pledges[1], 1, 2).to_bytes(), DAY)
    machines[3].accept(pledges[5].to_bytes(), DAY)
    assert machines[3].seal(DAY) is not None  # the revision; the pledge waits for two more
    assert first.waiting() == 1
    assert place.whole_audit().scopes[SCOPE.scope_id].gross == 5

    closing = first.seal(CLOSED)
    assert closing is not None
    assert closing.closed == (SCOPE.scope_id,)
    counted = place.whole_audit().scopes[SCOPE.scope_id]
    assert (counted.gross, counted.live, counted.closed) == (6, 5, True)
    for machine in machines:
        machine.close()


def test_pledges_that_arrive_on_all_machines_while_batches_are_sealed_count_once(place: Place) -> None:
    place.create().close()
    machines = [Ledger.open(place.another_machine()) for _ in range(MACHINES)]
    open_scopes(machines[0], SCOPE)
    pledges = [manifests.pledge(SCOPE, i, choice=1) for i in range(24)]
    stop = threading.Event()

    def sequencer() -> None:
        with Ledger.open(place.another_machine()) as other:
            while not stop.is_set():
                other.seal(DAY)

    thread = threading.Thread(target=sequencer)
    thread.start()
    try:
        for shift in range(2):
            storm(
                [
                    lambda m=machines[(i + shift) % MACHINES], p=pledge: m.accept(p.to_bytes(), DAY)
                    for i, pledge in enumerate(pledges)
                ]
            )
    finally:
        stop.set()
        thread.join()
    machines[0].seal(CLOSED)
    assert place.whole_audit().scopes[SCOPE.scope_id].gross == 24
    for machine in machines:
        machine.close()


@pytest.mark.parametrize("persisted", [False, True], ids=["not-persisted", "persisted"])
@pytest.mark.parametrize("step", STEPS)
def test_another_machine_finishes_what_was_interrupted(
    waiting: Place, expected: dict[str, bytes], step: str, persisted: bool
) -> None:
    crashing = crashing_sequencer(step, persisted)
    with Ledger.open(waiting.config) as ledger, pytest.raises(CrashError), ledger.sequencer(crashing) as one:
        one.seal(DAY)
    finish(waiting, waiting.another_machine())
    assert waiting.published() == expected


KILLED = """
import sys, time
from pathlib import Path
from headcount_ledger.cli import read_config
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_ledger.sequencer import Sequencer

file, step, day = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def stand_still(self, *args):
    print("here", flush=True)
    time.sleep(600)

kind = type("Standing", (Sequencer,), {step: stand_still})
with Ledger.open(read_config(file)) as ledger, ledger.sequencer(kind) as sequencer:
    sequencer.seal(day)
"""


@pytest.mark.parametrize("step", ["check", "commit", "write_tiles", "publish", "clean_up"])
def test_another_machine_takes_over_from_a_sequencer_that_is_killed(
    waiting: Place, expected: dict[str, bytes], tmp_path: Path, step: str
) -> None:
    file = waiting.toml(tmp_path / "node.toml", waiting.config)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), step, str(DAY)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "here\n"
        other = waiting.another_machine()
        with Ledger.open(other) as ledger, pytest.raises(UnavailableError, match="another sequencer"):
            ledger.seal(DAY)
    finally:
        killed.kill()
        killed.communicate()
    retry(lambda: finish(waiting, other))
    assert waiting.published() == expected


def retry(work: Callable[[], T]) -> T:
    """Until the server has noticed that the other is dead."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return work()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize(
    "step", ["build", "check", "persist", "commit", "write_tiles", "publish", "clean_up"]
)
def test_a_sequencer_that_lost_its_connection_writes_nothing_over_its_successor(
    tmp_path: Path, step: str
) -> None:
    place = places.ManyMachines(tmp_path)
    with place.create() as ledger:
        open_scopes(ledger, SCOPE)
        for i in range(4):
            ledger.accept(manifests.pledge(SCOPE, i, choice=1).to_bytes(), DAY)

    def overtaken(self: Sequencer, *args: object) -> object:
        # The network of this machine fails; another machine seals this batch and the next.
        servers.cut_off(place.database)
        with Ledger.open(place.another_machine()) as other:
            retry(lambda: other.seal(DAY))
            for i in range(4, 8):
                retry(lambda i=i: other.accept(manifests.pledge(SCOPE, i, choice=1).to_bytes(), DAY))
            assert other.seal(DAY) is not None
        return getattr(Sequencer, step)(self, *args)

    standing = type("StandingSequencer", (Sequencer,), {step: overtaken})
    with (
        Ledger.open(place.config) as ledger,
        pytest.raises((UnavailableError, CorruptionError)),
        ledger.sequencer(standing) as sequencer,
    ):
        sequencer.seal(DAY)
    assert place.whole_audit().scopes[SCOPE.scope_id].gross == 8
    with Ledger.open(place.another_machine()) as ledger:
        assert ledger.seal(DAY) is None
        assert ledger.head().batches == 3


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE frozen",
        "DROP TABLE arrivals",
        "ALTER TABLE staged_pledges RENAME COLUMN is_late TO batch",
        "ALTER TABLE scopes DROP COLUMN joins",
        "ALTER TABLE spent ADD COLUMN since INTEGER",
    ],
)
def test_a_database_of_another_version_is_refused(tmp_path: Path, change: str) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        config = ledger.config
        with ledger.store.write() as tx:
            tx.exec_driver_sql(change)
    with pytest.raises(ConfigurationError, match="another version"):
        Ledger.open(config)
