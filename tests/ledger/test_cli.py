from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

import fakes
import manifests
from headcount_ledger.cli import ledger
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_spec.errors import ConfigurationError
from headcount_spec.policy import Policy


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(ledger, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_ledger_from_its_creation_to_its_first_batch(tmp_path: Path) -> None:
    policy = Policy.from_bytes(run("create", tmp_path, "--origin", "ledger.example/2026").encode())
    assert [log.key.name for log in policy.logs] == ["ledger.example/2026"]
    assert run("policy", tmp_path).encode() == policy.to_bytes()
    assert "https://ledger.example/2026" in run("policy", tmp_path, "--url", "https://ledger.example/2026")
    assert "0 batches, 0 entries" in run("status", tmp_path)
    assert run("seal", tmp_path) == "nothing to seal\n"


def test_what_a_batch_held_is_said(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path) as opened:
        # Sealed on today's date, so the terms must still be open to be linted.
        fakes.stage_terms(opened, manifests.manifest())
    assert "batch 0: 0 pledges, 5 entries in all" in run("seal", tmp_path)
    status = run("status", tmp_path)
    assert "1 batches, 5 entries, 0 pledges" in status
    assert "0 pledges wait" in status
    with Ledger.open(LedgerConfig(tmp_path)) as opened:
        assert opened.origin == manifests.ORIGIN


def test_no_command_but_create_makes_a_ledger(tmp_path: Path) -> None:
    for command in ("policy", "seal", "status", "fsck"):
        result = CliRunner().invoke(ledger, [command, str(tmp_path)])
        assert isinstance(result.exception, ConfigurationError)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_not_created_over_another(tmp_path: Path) -> None:
    run("create", tmp_path, "--origin", "ledger.example/2026")
    result = CliRunner().invoke(ledger, ["create", str(tmp_path), "--origin", "other.example"])
    assert isinstance(result.exception, ConfigurationError)
    assert "ledger.example/2026" in run("policy", tmp_path)
