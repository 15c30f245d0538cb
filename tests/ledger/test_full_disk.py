from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
import manifests
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.ledger import Ledger
from headcount_spec.errors import UnavailableError
from headcount_spec.promise import Promise
from parts import require

SCOPE = manifests.manifest(min_batch=1)
DISK_BYTES = 12_000_000


class Disk:
    """A small file system, and a file that takes what is left of it."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self._ballast = mount / "ballast"

    def fill(self, leave_bytes: int = 0) -> None:
        free = os.statvfs(self.mount)
        size = free.f_bavail * free.f_frsize - leave_bytes
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def empty(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mount = tmp_path / "disk"
    mount.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs"]
    is_mounted = (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and subprocess.run(["mount", *options, str(mount)], check=False, capture_output=True).returncode == 0
    )
    require(is_mounted, "the right to mount a small tmpfs")
    try:
        yield Disk(mount)
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


# From nothing to more than the batch needs: somewhere between, each write finds the disk full.
LEFT = (0, 20_000, 80_000, 140_000, 200_000, 260_000, 300_000, 320_000, 340_000, 380_000, 420_000, 900_000)


def prepared(disk: Disk) -> LedgerConfig:
    with fakes.new_ledger(disk.mount / "ledger") as ledger:
        fakes.open_scopes(ledger, SCOPE)
        return ledger.config


def test_a_full_disk_refuses_entries_and_loses_none(disk: Disk) -> None:
    config = prepared(disk)
    promises: list[Promise] = []
    refused = 0
    with Ledger.open(config) as ledger:
        disk.fill(leave_bytes=60_000)
        for i in range(60):
            try:
                answer = ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
            except UnavailableError:
                refused += 1
            else:
                assert isinstance(answer, Promise)
                promises.append(answer)
        assert promises
        assert refused
        with pytest.raises(UnavailableError):
            ledger.seal(DAY)
        disk.empty()
        # The same process goes on, and those who were refused come again.
        answers = [ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY) for i in range(60)]
        assert set(promises) <= set(answers)
        ledger.seal(DAY)
        assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 60
    assert fsck(config, DAY).ok


@pytest.mark.parametrize("leave_bytes", LEFT)
def test_a_disk_that_is_full_at_any_point_of_a_seal(disk: Disk, leave_bytes: int) -> None:
    config = prepared(disk)
    with Ledger.open(config) as ledger:
        for i in range(120):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
    with Ledger.open(config) as ledger:  # with an empty write-ahead log, which needs room again
        disk.fill(leave_bytes)
        refused = 0
        for _ in range(2):
            try:
                ledger.seal(DAY)
            except UnavailableError:
                refused += 1
        if leave_bytes in LEFT[:1]:
            assert refused == 2
        if leave_bytes in LEFT[-1:]:
            assert refused == 0
        disk.empty()
        assert fsck(config, DAY).ok
        ledger.seal(DAY)
        assert ledger.head().batches == 2
        assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 120
        assert ledger.waiting() == 0
    assert [finding.line for finding in fsck(config, DAY).findings if finding.is_error] == []


ACCEPT_UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
import manifests
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
scope = manifests.manifest(min_batch=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
with Ledger.open(LedgerConfig(Path(sys.argv[1]))) as ledger:
    for i in range(60):
        ledger.accept(manifests.pledge(scope, i).to_bytes(), DAY)
        print(i, flush=True)
"""


@pytest.mark.parametrize("limit_bytes", [90_000, 200_000])
def test_a_file_that_may_not_grow_ends_the_process_and_loses_nothing(
    tmp_path: Path, limit_bytes: int
) -> None:
    # SQLite cannot tell what has happened: the process ends, and the next one finds what was answered.
    with fakes.new_ledger(tmp_path / "ledger") as ledger:
        fakes.open_scopes(ledger, SCOPE)
        config = ledger.config
    result = subprocess.run(
        [sys.executable, "-c", ACCEPT_UNDER_A_LIMIT, str(config.directory), str(limit_bytes)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    answered = [int(line) for line in result.stdout.split()]
    assert result.returncode == 5
    assert "the process ends" in result.stderr
    assert answered
    assert fsck(config, DAY).ok
    with Ledger.open(config) as ledger:
        assert ledger.waiting() in (len(answered), len(answered) + 1)
        for i in range(60):
            ledger.accept(manifests.pledge(SCOPE, i).to_bytes(), DAY)
        ledger.seal(DAY)
        assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].gross == 60
    assert fsck(config, DAY).ok
