from __future__ import annotations

import logging
import random
import re
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

import fakes
import manifests
from fakes import DAY
from headcount_ledger import schema, staged
from headcount_ledger.ledger import Ledger
from headcount_spec.pledge import Pledge
from headcount_spec.scope import Manifest

FAST = manifests.manifest(min_batch=1)
SLOW = manifests.manifest(
    min_batch=100,
    title=manifests.both("Another", "Un autre"),
    issuers=[manifests.issuer(0, token_key=3)],
)
NUMBER = 40


def filled(directory: Path, order: list[int], scope: Manifest) -> Ledger:
    ledger = fakes.new_ledger(directory)
    fakes.open_scopes(ledger, FAST, SLOW)
    for i in order:
        ledger.accept(manifests.pledge(scope, i).to_bytes(), DAY)
    return ledger


def pledges(scope: Manifest) -> list[Pledge]:
    return [manifests.pledge(scope, i) for i in range(NUMBER)]


def offsets(ledger: Ledger, scope: Manifest) -> list[list[int]]:
    """Where each nullifier stands in the raw bytes of the database and its log."""
    database = ledger.config.database
    raw = b"".join(
        path.read_bytes() for path in (database, database.with_name(f"{database.name}-wal")) if path.exists()
    )
    return [[m.start() for m in re.finditer(re.escape(p.nullifier), raw)] for p in pledges(scope)]


def orders() -> list[list[int]]:
    arrived = list(range(NUMBER))
    random.Random(7).shuffle(arrived)
    return [list(range(NUMBER)), arrived]


def test_the_files_before_a_sealing_do_tell_the_order(tmp_path: Path) -> None:
    # The control: the comparison below would notice.
    found = []
    for i, order in enumerate(orders()):
        with filled(tmp_path / str(i), order, FAST) as ledger:
            found.append(offsets(ledger, FAST))
    assert found[0] != found[1]


def test_the_files_after_a_sealing_do_not_tell_the_order(tmp_path: Path) -> None:
    found = []
    for i, order in enumerate(orders()):
        with filled(tmp_path / str(i), order, FAST) as ledger:
            ledger.seal(DAY)
            found.append(offsets(ledger, FAST))
            fakes.whole_audit(ledger)
    assert found[0] == found[1]
    assert all(len(places) == 1 for places in found[0])


def test_nor_do_they_for_what_is_held_back(tmp_path: Path) -> None:
    found = []
    for i, order in enumerate(orders()):
        with filled(tmp_path / str(i), order, SLOW) as ledger:
            ledger.accept(manifests.pledge(FAST, 0).to_bytes(), DAY)
            assert ledger.seal(DAY) is not None
            assert ledger.waiting() == NUMBER
            found.append(offsets(ledger, SLOW))
    assert found[0] == found[1]


def test_what_is_held_back_is_not_published(tmp_path: Path) -> None:
    with filled(tmp_path, orders()[1], SLOW) as ledger:
        ledger.accept(manifests.pledge(FAST, 0).to_bytes(), DAY)
        ledger.seal(DAY)
        tree = b"".join(fakes.published(ledger).values())
        assert not any(pledge.revision_key in tree for pledge in pledges(SLOW))
        assert manifests.pledge(FAST, 0).revision_key in tree


def test_nothing_is_left_of_a_sealed_batch_but_the_batch(tmp_path: Path) -> None:
    with filled(tmp_path, orders()[1], FAST) as ledger:
        ledger.seal(DAY)
        database = ledger.config.database
        raw = database.read_bytes()
        assert not any(pledge.authenticators[0] in raw for pledge in pledges(FAST))
        assert database.with_name(f"{database.name}-wal").stat().st_size == 0
        assert list(ledger.config.pending.iterdir()) == []


def test_the_log_names_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "headcount"), filled(tmp_path, orders()[0][:5], FAST) as ledger:
        ledger.accept(manifests.revision(manifests.pledge(FAST, 0), 0).to_bytes(), DAY)
        ledger.seal(DAY)
    text = caplog.text
    assert "5 pledges" in text
    assert not re.search(r"[0-9a-f]{16}", text)


def test_an_exception_of_the_database_names_no_pledge(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as ledger:
        engine = schema.open_engine(ledger.config.database)
        row = dict.fromkeys(("nullifier", "scope", "leaf_hash", "revision_key"), b"\xcaN4RY")
        statement = schema.spent.insert().values(**row, choice=1, serial=0)
        with engine.begin() as tx:
            tx.execute(statement)
        with pytest.raises(IntegrityError) as caught, engine.begin() as tx:
            tx.execute(statement)
        engine.dispose()
    assert "N4RY" not in str(caught.value)


def test_no_table_has_a_time(tmp_path: Path) -> None:
    with filled(tmp_path, [0], FAST) as ledger:
        rows = fakes.tables(ledger)["arrivals"]
        with ledger.store.write() as tx:
            staged.settle(tx)
        rows += fakes.tables(ledger)["staged_pledges"]
    assert len(rows) == 2
    later = fakes.FakeClock().seconds
    numbers = [value for row in rows for value in row if isinstance(value, int)]
    assert all(value < later // 86400 - 1 for value in numbers)
