from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ledgers
import quota_ledgers
from headcount import cli
from headcount_spec.merkle import leaf_hash
from headcount_spec.pack import Pack, verify_pack
from ledgers import Ledger

POLICY = ledgers.build(()).policy
SCOPE = ledgers.campaign().scope_id.hex()


class Packed:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.policy, self.file = folder / "policy", folder / "count.pack"
        self.out = self.err = ""

    def publish(self, ledger: Ledger) -> Path:
        self.policy.write_bytes(ledger.policy.to_bytes())
        return ledger.write(self.folder / "ledger")

    def run(self, *arguments: str | Path) -> int:
        code = cli.run(["pack", *map(str, arguments)])
        self.out, self.err = self.capsys.readouterr()
        return code

    def make(self, ledger: Ledger, scope: str = SCOPE) -> int:
        target = self.publish(ledger)
        return self.run("make", target, "--scope", scope, "--policy", self.policy, "-o", self.file)


@pytest.fixture
def packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Packed:
    return Packed(tmp_path, capsys)


def test_a_pack_is_checked_without_the_ledger(packed: Packed) -> None:
    assert packed.make(ledgers.sample(witnessed=True)) == 0
    assert packed.out.startswith("packed: We move together, 11 at batch 6, ")
    shutil.rmtree(packed.folder / "ledger")
    assert packed.run("verify", packed.file, "--policy", packed.policy) == 0
    lines = packed.out.splitlines()
    assert "  count      11 confirmed e-mail addresses" in lines
    assert "  threshold  8: reached at batch 3, 2026-01-12, with 8, seen then by w0 on 2026-01-12" in lines
    assert "  witnesses  w0 on 2026-03-02" in lines
    assert "keys: those of your policy" in lines
    assert any("each pledge is valid" in line for line in lines[lines.index("not shown:") :])
    assert lines[-1] == "proven: at batch 6 the ledger had sealed 11 for this scope"


def test_whose_keys_they_are_is_said(packed: Packed) -> None:
    packed.make(ledgers.sample(witnessed=True))
    assert packed.run("verify", packed.file) == 0
    assert "keys: ONLY THOSE IN THE FILE" in packed.out
    assert "proven, if these are the right terms: " in packed.out
    assert packed.run("verify", packed.file, "--scope", SCOPE) == 0
    assert "the terms are those of the scope id that you gave" in packed.out
    assert packed.run("verify", packed.file, "--scope", ledgers.vote().scope_id.hex()) == 1
    assert "another scope" in packed.err


def test_a_pack_is_the_same_each_time(packed: Packed) -> None:
    packed.make(ledgers.sample())
    first = packed.file.read_bytes()
    packed.make(ledgers.sample())
    assert packed.file.read_bytes() == first


def test_the_hint_of_the_ledger_is_not_trusted(packed: Packed) -> None:
    ledger = ledgers.sample()
    packed.make(ledger)
    right = packed.file.read_bytes()
    del ledger.files[f"scopes/{SCOPE}"]
    packed.make(ledger)
    assert packed.file.read_bytes() == right


def test_a_long_growth_fits_a_page(packed: Packed) -> None:
    ledger = ledgers.long(2000)
    assert packed.make(ledger) == 0
    assert packed.run("verify", packed.file, "--policy", packed.policy) == 0
    assert len(packed.out.splitlines()) < 50
    found = verify_pack(Pack.from_bytes(packed.file.read_bytes()), ledger.policy)
    assert [count.batch for count in found.growth] == list(range(len(ledger.batches)))


@pytest.mark.parametrize("path", ["totals/3", "checkpoints/3", "tile/entries/000.p/44", "tile/0/000.p/44"])
def test_a_ledger_with_a_missing_file_gives_no_pack(packed: Packed, path: str) -> None:
    ledger = ledgers.sample()
    del ledger.files[path]
    assert packed.make(ledger) == 3
    assert not packed.file.exists()


def test_a_ledger_that_lies_gives_no_pack(packed: Packed) -> None:
    ledger = ledgers.sample()
    ledger.files["totals/3"] = ledger.files["totals/4"]
    assert packed.make(ledger) == 1
    assert "other totals than the seal of batch 3 carries" in packed.err
    assert not packed.file.exists()


def test_there_is_no_pack_of_an_unknown_scope(packed: Packed) -> None:
    assert packed.make(ledgers.sample(), leaf_hash(b"").hex()) == 3


@pytest.mark.parametrize("edit", ["truncate", "garbage", "policy", "missing"])
def test_a_bad_pack_is_refused_in_a_sentence(packed: Packed, edit: str) -> None:
    packed.make(ledgers.sample())
    data = packed.file.read_bytes()
    if edit == "truncate":
        packed.file.write_bytes(data[:-1])
    elif edit == "garbage":
        packed.file.write_bytes(b"\xff" * 100)
    elif edit == "missing":
        packed.file.unlink()
    else:
        packed.policy.write_bytes(ledgers.sample(witnessed=True).policy.to_bytes())
    code = packed.run("verify", packed.file, "--policy", packed.policy)
    assert code == (1 if edit == "policy" else 2)
    assert packed.err.startswith("headcount: error: ")
    assert packed.out == ""


def test_a_pack_of_a_campaign_with_quotas(packed: Packed) -> None:
    scope = quota_ledgers.campaign().scope_id.hex()
    whole = quota_ledgers.story()
    assert packed.make(ledgers.build(whole), scope) == 0
    assert packed.run("verify", packed.file, "--policy", packed.policy) == 0
    assert "  threshold  4: reached at batch 3, 2026-01-12, with 4" in packed.out.splitlines()
    assert "  quotas     at least 2 each at 2 of the 3 options: so far at 1" in packed.out.splitlines()
    found = verify_pack(Pack.from_bytes(packed.file.read_bytes()), POLICY)
    assert [dict(count.options) for count in found.growth] == [
        {1: 0, 2: 0, 3: 0},
        {1: 3, 2: 1, 3: 0},
        {1: 1, 2: 2, 3: 0},
        {1: 2, 2: 2, 3: 0},
        {1: 1, 2: 2, 3: 1},
    ]
    packed.make(ledgers.build(whole[:2]), scope)
    assert packed.run("verify", packed.file, "--policy", packed.policy) == 0
    assert "  threshold  4: not reached" in packed.out.splitlines()


@pytest.mark.parametrize("name", ["altered", "surplus", "missing"])
def test_a_pack_whose_options_do_not_come_to_the_count(packed: Packed, name: str) -> None:
    scope = quota_ledgers.campaign().scope_id.hex()
    ledger = quota_ledgers.edited(quota_ledgers.WRONG_ROWS[name])
    assert packed.make(ledger, scope) == 1
    assert "options" in packed.err
