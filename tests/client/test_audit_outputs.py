from __future__ import annotations

import importlib.util
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import corrupter
import ledgers
import manifests
import ports
from headcount import cli
from headcount.audit_database import write_database
from headcount.audit_plots import write_plots
from headcount.report_file import report_bytes
from headcount_ledger.audit import Receipt, audit
from headcount_spec import jcs
from headcount_spec.errors import ProofError
from headcount_spec.merkle import leaf_hash
from ledgers import Batch, Ledger
from parts import require

PER_DAY_AND_SCOPE = """
    SELECT batches.day, scopes.title, count(*) AS pledges
    FROM pledges JOIN batches ON batches.number = pledges.batch JOIN scopes ON scopes.id = pledges.scope
    GROUP BY batches.day, scopes.title ORDER BY batches.day, scopes.title
"""


def database_of(ledger: Ledger, folder: Path) -> sqlite3.Connection:
    path = folder / "audit.sqlite"
    write_database(audit(ledger.fetch, ledger.policy), ledger.fetch, path)
    return sqlite3.connect(path)


# The report


def test_two_auditors_write_the_same_report(tmp_path: Path) -> None:
    ledger = ledgers.sample(witnessed=True)
    first = report_bytes(audit(ledger.fetch, ledger.policy), ledger.policy)
    mine = Receipt("mine", leaf_hash(ledger.leaves[12]), ledger.receipt(12))
    second = audit(ledger.fetch, ledger.policy, remembered=[ledger.checkpoint], receipts=[mine])
    assert report_bytes(second, ledger.policy) == first
    ledger.write(tmp_path / "public")
    (tmp_path / "policy").write_bytes(b"# my own words\n" + ledger.policy.to_bytes())
    code = cli.run(
        [
            "audit",
            str(tmp_path / "public"),
            "--policy",
            str(tmp_path / "policy"),
            "--resume",
            str(tmp_path / "state"),
            "--report",
            str(tmp_path / "report.json"),
        ]
    )
    assert code == 0
    assert (tmp_path / "report.json").read_bytes() == first
    resumed = audit(ledger.fetch, ledger.policy, resume=tmp_path / "state")
    assert any("an earlier audit" in sentence for sentence in resumed.trusts)
    assert report_bytes(resumed, ledger.policy) == first


def test_a_report_names_what_it_is_about() -> None:
    ledger = ledgers.sample(witnessed=True)
    value: Any = jcs.parse_canonical(report_bytes(audit(ledger.fetch, ledger.policy), ledger.policy), 2**20)
    assert value["ok"] is True
    assert value["checkpoint"].encode() == ledger.files["checkpoint"]
    assert value["tool"].startswith("headcount ")
    assert len(value["policy"]) == 64
    scope = ledgers.campaign().scope_id.hex()
    assert [row["live"].get(scope) for row in value["growth"]] == [None, 4, 7, 8, 10, None, 11]
    assert value["issuances"][scope]["issuer0.example"][-1] == {"batch": 5, "day": "2026-01-14", "issued": 32}
    other = ledgers.sample().policy
    assert json.loads(report_bytes(audit(ledger.fetch, other), other))["policy"] != value["policy"]


@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_a_report_of_a_bad_ledger_names_the_fault(attack: str) -> None:
    case = corrupter.corrupt(attack, "operator")
    report = audit(case.ledger.fetch, case.ledger.policy, remembered=case.remembered)
    value = json.loads(report_bytes(report, case.ledger.policy))
    assert value["ok"] is False
    assert attack in {fault["code"] for fault in value["faults"]}


# The database


def test_the_tables_hold_what_was_recounted(tmp_path: Path) -> None:
    ledger = ledgers.sample()
    db = database_of(ledger, tmp_path)
    counts = {
        table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        for table in ("scopes", "batches", "pledges", "revisions", "notices", "issuances", "faults")
    }
    assert counts == {
        "scopes": 2,
        "batches": 7,
        "pledges": 16,
        "revisions": 4,
        "notices": 17,
        "issuances": 6,
        "faults": 0,
    }
    # The tables and the recount are two ways to one number.
    counted = "SELECT count(*) FROM pledges p WHERE p.scope = s.id AND NOT p.withdrawn"
    last = "SELECT live FROM counts_by_day c WHERE c.scope = s.id ORDER BY day DESC"
    rows = db.execute(f"SELECT s.live, ({counted}), ({last}) FROM scopes s").fetchall()  # noqa: S608
    assert sorted(rows) == [(4, 4, 4), (11, 11, 11)]
    assert db.execute(
        "SELECT choice, live FROM live_choices WHERE scope = 'Where to' ORDER BY choice"
    ).fetchall() == [(1, 1), (2, 3)]
    assert [
        row[0] for row in db.execute("SELECT author FROM notices WHERE type = 'opening' ORDER BY author")
    ] == [
        "issuer:issuer0.example",
        "issuer:issuer0.example",
        "issuer:issuer1.example",
    ]
    assert db.execute("SELECT min(pledges) FROM anonymity_sets WHERE NOT closes").fetchone() == (2,)
    assert db.execute("SELECT min(more) FROM issued_against_pledged").fetchone() == (8,)
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_database_replaces_the_one_before(tmp_path: Path) -> None:
    database_of(ledgers.sample(), tmp_path).close()
    db = database_of(ledgers.small(), tmp_path)
    assert db.execute("SELECT count(*) FROM scopes").fetchone() == (1,)
    assert [path.name for path in tmp_path.iterdir()] == ["audit.sqlite"]


@pytest.mark.parametrize("style", corrupter.STYLES)
@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_a_bad_ledger_gets_a_database_of_its_faults(tmp_path: Path, attack: str, style: str) -> None:
    case = corrupter.corrupt(attack, style)
    report = audit(
        case.ledger.fetch,
        case.ledger.policy,
        remembered=case.remembered,
        receipts=[Receipt("mine", leaf, proof) for leaf, proof in case.receipts],
    )
    write_database(report, case.ledger.fetch, tmp_path / "bad.sqlite")
    db = sqlite3.connect(tmp_path / "bad.sqlite")
    codes = {row[0] for row in db.execute("SELECT code FROM faults")}
    assert codes == {fault.code for fault in report.faults}


def test_a_ledger_that_changes_after_the_audit_gets_no_database(tmp_path: Path) -> None:
    ledger = ledgers.sample()
    report = audit(ledger.fetch, ledger.policy)
    other = ledgers.build(
        [
            Batch(b.day, list(b.entries))
            for b in (*ledger.batches[:6], Batch(ledgers.CLOSES + 2, ledger.batches[6].entries))
        ]
    )
    with pytest.raises(ProofError):
        write_database(report, other.fetch, tmp_path / "audit.sqlite")
    del ledger.files["tile/entries/000.p/44"]
    with pytest.raises(ProofError):
        write_database(report, ledger.fetch, tmp_path / "audit.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def datasette(tmp_path: Path) -> Iterator[str]:
    require(importlib.util.find_spec("datasette"), "datasette")
    database_of(ledgers.sample(), tmp_path).close()
    (port,) = ports.free_ports(0)
    command = [sys.executable, "-m", "datasette", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*command, str(tmp_path / "audit.sqlite")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                try:
                    httpx.get(f"{address}/-/versions.json", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield address
        finally:
            process.terminate()


def test_datasette_answers_how_many_pledged_each_day_in_each_scope(datasette: str) -> None:
    answer = httpx.get(
        f"{datasette}/audit.json", params={"sql": PER_DAY_AND_SCOPE, "_shape": "arrays"}, trust_env=False
    )
    assert answer.status_code == 200
    assert answer.json()["rows"] == [
        ["2026-01-10", "We move together", 4],
        ["2026-01-11", "We move together", 4],
        ["2026-01-11", "Where to", 2],
        ["2026-01-13", "We move together", 3],
        ["2026-01-13", "Where to", 2],
        ["2026-03-02", "We move together", 1],
    ]
    page = httpx.get(f"{datasette}/audit/pledges", trust_env=False)
    assert page.status_code == 200
    # A scope's number is shown as its title, which is its label.
    assert "We move together" in page.text
    view = httpx.get(f"{datasette}/audit/pledges_per_day_and_scope.json?_shape=array", trust_env=False)
    assert view.json()[0] == {"day": "2026-01-10", "scope": "We move together", "pledges": 4}


# The pictures


def test_the_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    ledger = ledgers.sample()
    report = audit(ledger.fetch, ledger.policy)
    made = []
    for name in ("first", "second"):
        paths = write_plots(report, tmp_path / name)
        assert len(paths) == 12
        made.append({path.name: path.read_bytes() for path in paths})
    assert made[0] == made[1]
    for name, data in made[0].items():
        assert data.startswith(b"\x89PNG\r\n" if name.endswith(".png") else b"<?xml")
        assert b"202" not in data[:400], "a date"


def test_what_is_in_a_title_is_only_text(tmp_path: Path) -> None:
    title = manifests.both("$\\frac{1$ \u202e<script>&amp; " + "long " * 25, "نتحرك معا 一緒に")
    scope = manifests.manifest(title=title)
    notices = [manifests.manifest_notice(scope), *manifests.text_notices(scope), *manifests.openings(scope)]
    pledges = [manifests.pledge(scope, i) for i in range(3)]
    ledger = ledgers.build(
        [Batch(ledgers.OPENS, ledgers.raw(*notices)), Batch(ledgers.OPENS + 1, ledgers.raw(*pledges))]
    )
    report = audit(ledger.fetch, ledger.policy)
    paths = write_plots(report, tmp_path)
    assert len(paths) == 6
    assert all(b"<script" not in path.read_bytes() for path in paths)


def test_a_ledger_without_pledges_has_no_pictures(tmp_path: Path) -> None:
    ledger = ledgers.build(ledgers.sample_batches()[:1])
    assert write_plots(audit(ledger.fetch, ledger.policy), tmp_path / "none") == []


# The options


@pytest.mark.parametrize("part", [["--sample", "3"], ["--scope", ledgers.campaign().scope_id.hex()]])
def test_a_part_of_an_audit_gets_no_files(tmp_path: Path, part: list[str]) -> None:
    ledger = ledgers.sample()
    ledger.write(tmp_path / "public")
    (tmp_path / "policy").write_bytes(ledger.policy.to_bytes())
    arguments = ["audit", str(tmp_path / "public"), "--policy", str(tmp_path / "policy")]
    assert cli.run([*arguments, *part, "--report", str(tmp_path / "report.json")]) == 2
    assert not (tmp_path / "report.json").exists()


def test_what_cannot_be_written_is_said_before_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = ledgers.sample()
    ledger.write(tmp_path / "public")
    (tmp_path / "policy").write_bytes(ledger.policy.to_bytes())
    arguments = ["audit", str(tmp_path / "public"), "--policy", str(tmp_path / "policy")]
    assert cli.run([*arguments, "--report", str(tmp_path / "nowhere" / "r.json")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no folder for r.json" in captured.err
    written = ["--database", str(tmp_path / "d.sqlite"), "--plots", str(tmp_path / "plots")]
    assert cli.run([*arguments, *written]) == 0
    assert (tmp_path / "d.sqlite").exists()
    assert len(list((tmp_path / "plots").iterdir())) == 12
