from __future__ import annotations

import random
import shutil

import pytest

import attacks
import bulk
from headcount_ledger.audit import SENTENCES, audit
from headcount_ledger.reader.fetch import directory_fetch

PLEDGES = 2000  # eight bundles; bench/corruption.py does the same with 100,000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bulk.Base:
    folder = tmp_path_factory.mktemp("bulk") / "base"
    return bulk.build(folder, PLEDGES, bulk.make(PLEDGES))


def check(base: bulk.Base, attack: str, style: str, seed: int) -> None:
    folder = base.folder.parent / f"{attack}-{style}-{seed}"
    case = attacks.corrupt(base, folder, attack, style, random.Random(f"{attack} {style} {seed}"))
    report = audit(
        directory_fetch(case.folder), case.policy, remembered=case.remembered, receipts=case.receipts
    )
    shutil.rmtree(folder)
    named = [fault for fault in report.faults if fault.code == attack]
    assert named, report.faults[:5]
    assert case.batches is None or named[0].batch in case.batches
    if style == "host" and case.batches is not None and attack != "edited-count":
        assert named[0].offset is not None


def test_the_ledger_is_valid_before(base: bulk.Base) -> None:
    report = audit(directory_fetch(base.folder), bulk.policy())
    assert report.faults == ()
    assert sum(scope.gross for scope in report.scopes.values()) > PLEDGES


def test_there_is_an_attack_for_every_code() -> None:
    # The large ledger has no code sheets; test_audit_rules has them.
    assert set(attacks.ATTACKS) == set(SENTENCES) - {"too-many-slips"}


def test_the_valid_ledger_survives_its_corruption(base: bulk.Base) -> None:
    before = {path: path.read_bytes() for path in base.folder.rglob("*") if path.is_file()}
    for attack, style in (("deleted-entry", "operator-seals"), ("changed-entry", "operator")):
        folder = base.folder.parent / "other"
        attacks.corrupt(base, folder, attack, style, random.Random(1))
        shutil.rmtree(folder)
    assert {path: path.read_bytes() for path in base.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("attack", "style"), attacks.CASES)
def test_an_attack_on_a_large_ledger_is_named_and_placed(base: bulk.Base, attack: str, style: str) -> None:
    check(base, attack, style, 0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 10))
@pytest.mark.parametrize(("attack", "style"), attacks.CASES)
def test_wherever_it_is_done(base: bulk.Base, attack: str, style: str, seed: int) -> None:
    check(base, attack, style, seed)
