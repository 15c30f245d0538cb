from __future__ import annotations

from pathlib import Path

import fakes
import manifests
from fakes import DAY
from headcount_ledger import staged
from headcount_ledger.ledger import Ledger

FAST = manifests.manifest(min_batch=1)
SLOW = manifests.manifest(
    min_batch=4,
    title=manifests.both("Another", "Un autre"),
    issuers=[manifests.issuer(0, token_key=3)],
)


def opened(directory: Path) -> Ledger:
    ledger = fakes.new_ledger(directory)
    fakes.open_scopes(ledger, FAST, SLOW)
    return ledger


def marks(ledger: Ledger) -> tuple[list[object], list[object]]:
    """What a plan leaves in the tables: the batches that scopes join, and how many rows were late."""
    with ledger.store.write() as tx:
        staged.settle(tx)
        joins = tx.exec_driver_sql("SELECT joins FROM scopes WHERE joins IS NOT NULL").scalars().all()
        late = tx.exec_driver_sql("SELECT count(*) FROM staged_pledges WHERE is_late").scalars().all()
    return list(joins), list(late)


def test_what_comes_after_the_plan_waits_for_the_next_batch(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.accept(manifests.pledge(FAST, 0).to_bytes(), DAY)
        with ledger.sequencer() as sequencer:
            head = sequencer.recover()
            selection = sequencer.select(head, DAY)
            assert selection is not None
            late = manifests.pledge(FAST, 1)
            ledger.accept(late.to_bytes(), DAY)
            # Of a scope that the batch leaves out: not late.
            ledger.accept(manifests.pledge(SLOW, 2).to_bytes(), DAY)
            assert marks(ledger) == ([head.batches], [1])
            batch = sequencer.build(head, selection)
            sequencer.check(head, batch)
            plan = sequencer.persist(batch)
            sequencer.finish(sequencer.commit(head, batch), plan)
        assert batch.pledges == 1
        assert ledger.waiting() == 2
        assert marks(ledger) == ([], [0])  # nothing tells that it came while a batch was made
        second = ledger.seal(DAY)
        assert second is not None
        assert second.pledges == 1
        fakes.whole_audit(ledger)


def test_a_plan_that_is_made_again_takes_what_was_late(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.accept(manifests.pledge(FAST, 0).to_bytes(), DAY)
        with ledger.sequencer() as sequencer:
            sequencer.select(sequencer.recover(), DAY)
        ledger.accept(manifests.pledge(FAST, 1).to_bytes(), DAY)
        batch = ledger.seal(DAY)
        assert batch is not None
        assert batch.pledges == 2
        fakes.whole_audit(ledger)


def test_a_revision_of_a_late_pledge_waits_with_it(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.accept(manifests.pledge(FAST, 0).to_bytes(), DAY)
        with ledger.sequencer() as sequencer:
            head = sequencer.recover()
            sequencer.select(head, DAY)
            late = manifests.pledge(FAST, 1)
            ledger.accept(late.to_bytes(), DAY)
            ledger.accept(manifests.revision(late, 1).to_bytes(), DAY)
            batch = sequencer.seal(DAY)  # begins again
        assert batch is not None
        assert (batch.pledges, batch.revisions) == (2, 1)
        fakes.whole_audit(ledger)


def test_more_than_one_block_of_several_scopes(tmp_path: Path) -> None:
    # Blocks are cut where bundles are not, and the first scope has a quota of nothing.
    with opened(tmp_path) as ledger:
        for i in range(300):
            ledger.accept(manifests.pledge((FAST, SLOW)[i % 2], i).to_bytes(), DAY)
        batch = ledger.seal(DAY)
        assert batch is not None
        assert batch.pledges == 300
        counts = fakes.whole_audit(ledger).scopes
        assert [counts[scope.scope_id].gross for scope in (FAST, SLOW)] == [150, 150]
