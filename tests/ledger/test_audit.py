from __future__ import annotations

import pytest

import corrupter
import ledgers
import manifests
from headcount_ledger.audit import AuditReport, audit
from headcount_spec import signature
from ledgers import OPENS, Batch, Ledger


def run(ledger: Ledger, **held: object) -> AuditReport:
    return audit(ledger.fetch, ledger.policy, **held)  # type: ignore[arg-type]


def codes(ledger: Ledger, **held: object) -> set[str]:
    return {fault.code for fault in run(ledger, **held).faults}


def test_a_valid_ledger_is_recounted() -> None:
    report = run(ledgers.sample())
    assert report.faults == ()
    assert report.ok
    one = report.scopes[ledgers.campaign().scope_id]
    assert (one.gross, one.withdrawn, one.live) == (12, 1, 11)
    assert one.title == "We move together"
    assert one.reached is not None
    # A withdrawal took the eighth pledge back in batch 2; it was revised again in batch 3.
    assert (one.reached.batch, one.reached.day) == (3, OPENS + 2)
    two = report.scopes[ledgers.vote().scope_id]
    assert (two.gross, two.withdrawn, two.choices, two.reached) == (4, 0, {1: 1, 2: 3}, None)


def test_each_batch_and_each_number_of_tokens_is_kept() -> None:
    ledger = ledgers.sample()
    one, two = ledgers.campaign().scope_id, ledgers.vote().scope_id
    report = run(ledger)
    rows = report.batch_rows
    assert [row.size for row in rows] == ledger.ends
    assert [row.first for row in rows] == [0, *ledger.ends[:-1]]
    assert [(row.number, row.day) for row in rows] == [(n, b.day) for n, b in enumerate(ledger.batches)]
    assert rows[-1].root == report.root
    assert rows[0].pledges == rows[0].live == {}
    assert (rows[2].pledges, rows[2].live) == ({one: 4, two: 2}, {one: 7, two: 2})
    assert (rows[3].pledges, rows[3].live) == ({}, {one: 8})
    assert sum(row.pledges.get(one, 0) for row in rows) == 12
    said = report.issuances[one]["issuer0.example"]
    assert [(item.batch, item.day, item.issued) for item in said] == [(3, OPENS + 2, 16), (5, OPENS + 4, 32)]
    assert set(report.issuances[two]) == {"issuer0.example", "issuer1.example"}


def test_the_report_as_json() -> None:
    ledger = ledgers.sample()
    value = run(ledger).to_json()
    assert value["ok"] is True
    assert value["faults"] == []
    assert value["size"] == len(ledger.leaves)
    assert value["batches"] == len(ledger.batches)
    assert value["scopes"][ledgers.campaign().scope_id.hex()] == {
        "count": 11,
        "withdrawn": 1,
        "gross": 12,
        "level": "email",
        "title": "We move together",
        "kind": "campaign",
        "parent": None,
        "choices": {},
        "threshold": 8,
        "reached": {"batch": 3, "day": "2026-01-12"},
        "opens": "2026-01-10",
        "closes": "2026-03-01",
        "closed": True,
    }
    fault = run(corrupter.corrupt("changed-entry", "host").ledger).to_json()["faults"][0]
    assert set(fault) == {"code", "batch", "index", "offset", "detail"}


def test_the_report_says_whom_the_number_trusts() -> None:
    trusts = "\n".join(run(ledgers.sample()).trusts)
    assert "issuer0.example is the sole issuer and is trusted for the count" in trusts
    assert "issuer0.example, issuer1.example would all have to collude" in trusts
    assert "No witness is asked for" in trusts
    assert "Nothing was remembered" in trusts
    witnessed = "\n".join(run(ledgers.sample(witnessed=True)).trusts)
    assert "The witnesses w0 saw no other history" in witnessed


@pytest.mark.parametrize("size", [18, 255, 256, 257, 511, 512, 513, 769])
def test_sizes_around_full_tiles(size: int) -> None:
    ledger = ledgers.long(size)
    assert len(ledger.leaves) == size
    assert run(ledger).faults == ()


def test_partial_tiles_may_go_once_the_full_one_exists() -> None:
    ledger = ledgers.long(513)
    for path in [path for path in ledger.files if ".p/" in path and "/000.p/" in path]:
        if not path.startswith("tile/1/"):
            del ledger.files[path]
    assert run(ledger).faults == ()


def test_a_full_tile_may_stand_for_the_partial_one() -> None:
    ledger, longer = ledgers.long(255), ledgers.long(513)
    size = longer.ends[2]
    shorter = ledgers.build(longer.batches[:3])
    for path in [f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}"]:
        del shorter.files[path]
        full = path.split(".p/")[0]
        shorter.files[full] = longer.files[full]
    assert run(shorter).faults == ()
    assert run(ledger).ok


def test_an_empty_ledger() -> None:
    ledger = ledgers.build([])
    ledger.files["checkpoint"] = ledgers.sign(ledger, OPENS)
    report = run(ledger)
    assert (report.faults, report.size, report.scopes) == ((), 0, {})


def test_progress_is_told() -> None:
    ledger = ledgers.long(513)
    seen: list[tuple[int, int]] = []
    audit(ledger.fetch, ledger.policy, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(256, 513), (512, 513), (513, 513)]


def test_an_organiser_who_issues_is_told() -> None:
    one = manifests.manifest(
        organisers={"keys": [manifests.b64_key(manifests.ISSUER_SEEDS[0])], "quorum": 1}, min_batch=3
    )
    assert signature.public_key(manifests.ISSUER_SEEDS[0]) == one.organisers.keys[0]
    notices = [manifests.manifest_notice(one, manifests.ISSUER_SEEDS[:1]), *manifests.openings(one)]
    report = run(ledgers.build([Batch(OPENS, ledgers.raw(*notices))]))
    assert any("the organiser is an issuer too" in sentence for sentence in report.trusts)
