from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fakes
import manifests
from fakes import DAY
from headcount_ledger import staged
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.leaves import Selection
from headcount_ledger.ledger import Ledger
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice
from headcount_spec.tile import bundles_for, tiles_for

SCOPE = manifests.manifest(min_batch=1)
NEWS = {"title": {"en": "News"}, "text": {"en": "Soon."}}
TERMS = 5  # entries of the first batch: manifest, two texts, opening, seal
NEAR = 65_400  # as far as the long tests build once


def stage_updates(ledger: Ledger, last: Notice, number: int) -> Notice:
    """So many true updates in one transaction, past the intake's checks and its commit for each."""
    with ledger._store.write() as tx:
        for _ in range(number):
            last = manifests.notice(SCOPE, "organiser", "update", NEWS, last)
            entry, statement = last.to_bytes(), last.statement
            place = (statement.scope, "organiser", statement.seq, statement.type)
            staged.stage_notice(tx, *place, leaf_hash(entry), entry)
    return last


def grow(ledger: Ledger, last: Notice, size: int) -> Notice:
    """Seal one batch after which the ledger has so many entries."""
    last = stage_updates(ledger, last, size - ledger.head().size - 1)
    assert ledger.seal(DAY) is not None
    assert ledger.head().size == size
    return last


def check(ledger: Ledger) -> None:
    """Sound; and just the files of this size, beside those of older sizes whose full ones are not there."""
    if ledger.head().batches:
        fakes.whole_audit(ledger)
    report = fsck(ledger.config, DAY)
    assert [finding.line for finding in report.findings] == []
    assert report.entries == ledger.head().size
    size = ledger.head().size
    files = {path for path in fakes.published(ledger) if path.startswith("tile/")}
    current = {part.path for part in (*tiles_for(size), *bundles_for(size))}
    assert current <= files
    full = {path for path in current if ".p/" not in path}
    assert {path for path in files if ".p/" not in path} == full
    assert not {path.split(".p/")[0] for path in files - full} & full


def test_size_0(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        check(ledger)


def test_size_1_of_a_batch_that_is_only_its_seal(tmp_path: Path) -> None:
    # A tick without entries makes no batch; whoever makes one all the same breaks nothing.
    with fakes.new_ledger(tmp_path) as ledger:
        with ledger.sequencer() as sequencer:
            head = sequencer.recover()
            batch = sequencer.build(head, Selection(0, DAY, ()))
            sequencer.check(head, batch)
            plan = sequencer.persist(batch)
            sequencer.finish(sequencer.commit(head, batch), plan)
        assert ledger.head().size == 1
        check(ledger)
        fakes.open_scopes(ledger, SCOPE)
        ledger.accept(manifests.pledge(SCOPE, 0).to_bytes(), DAY)
        ledger.seal(DAY)
        check(ledger)


def test_size_2(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        ledger.accept(manifests.manifest_notice(SCOPE).to_bytes(), DAY)
        ledger.seal(DAY)
        assert ledger.head().size == 2
        check(ledger)


@pytest.mark.parametrize(
    "sizes", [(255, 257, 511, 513), (256, 512), (257, 768), (254, 256, 258)], ids=lambda sizes: str(sizes[0])
)
def test_sizes_around_a_full_tile(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        last = manifests.text_notices(SCOPE)[-1]
        for size in sizes:
            last = grow(ledger, last, size)
            check(ledger)


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Notice]:
    directory = tmp_path_factory.mktemp("near") / "ledger"
    with fakes.new_ledger(directory) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        last = manifests.text_notices(SCOPE)[-1]
        for size in (NEAR // 2, NEAR):
            last = grow(ledger, last, size)
    return directory, last


@pytest.mark.long
@pytest.mark.parametrize(
    "sizes",
    [(65_535, 65_537, 65_793), (65_536, 65_538), (65_537, 65_792), (65_793,)],
    ids=lambda sizes: str(sizes[0]),
)
def test_sizes_around_a_full_tile_of_level_1(
    near: tuple[Path, Notice], tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    directory, last = near
    config = LedgerConfig(Path(shutil.copytree(directory, tmp_path / "ledger")))
    with Ledger.open(config) as ledger:
        for size in sizes:
            last = grow(ledger, last, size)
        check(ledger)
        assert ledger.accept(manifests.pledge(SCOPE, 0).to_bytes(), DAY)
        ledger.seal(DAY)
        check(ledger)
