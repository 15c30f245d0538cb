from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import manifests
from headcount_issuer.cli import issuer
from headcount_ledger.app import create_app
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger, create
from headcount_spec import jcs
from headcount_spec.errors import ConfigurationError, NotFoundError, ProtocolError
from headcount_spec.scope import Manifest
from headcount_spec.text import day_of, format_day
from serving import serving

TODAY = day_of(int(time.time()))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tuple[Ledger, str]]:
    config = LedgerConfig(tmp_path / "ledger")
    create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
    with Ledger.open(config) as opened, serving(create_app(opened)) as port:
        yield opened, f"http://127.0.0.1:{port}/ledger"


def run(*arguments: object, typed: str | None = None) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(issuer, words, input=typed, catch_exceptions=False)


def draft_of(url: str, level: str) -> dict[str, object]:
    return manifests.draft(
        issuers=[{"name": "localhost:8001", "url": "http://localhost:8001", "attesters": [level]}],
        level=level,
        opens=format_day(TODAY),
        freezes=format_day(TODAY + 9),
        closes=format_day(TODAY + 10),
        action=None,
    )


def test_an_issuer_joins_a_scope_from_the_command_line(tmp_path, ledger):
    opened, url = ledger
    node, draft = tmp_path / "node", tmp_path / "draft"
    attesters = ("--attester", "email", "--attester", "in-person")
    assert "headcount.toml" in run("init", node, "--ledger", url, *attesters).output
    config = ("--config", node / "headcount.toml")

    draft.mkdir()
    (draft / "manifest.json").write_text(json.dumps(draft_of(url, "in-person")))
    assert "publish it" in run(*config, "enrol", draft).output
    scope = Manifest.from_bytes(jcs.canonicalise(json.loads((draft / "manifest.json").read_text())))

    with pytest.raises(ProtocolError):  # the ledger does not know the manifest yet
        run(*config, "enrol", draft)
    assert "not opened" in run(*config, "status").output
    with pytest.raises(NotFoundError):
        run(*config, "codes", scope.scope_id.hex(), "--number", 3, "--out", tmp_path)

    opened.accept(manifests.manifest_notice(scope).to_bytes(), TODAY)
    opened.seal(TODAY)
    (draft / "scope.json").write_bytes(scope.raw)
    for _ in range(2):
        assert scope.scope_id.hex() in run(*config, "enrol", draft).output

    assert "3 codes" in run(*config, "codes", scope.scope_id.hex(), "--number", 3, "--out", tmp_path).output
    sheet = tmp_path / f"codes-{scope.scope_id.hex()[:8]}.txt"
    assert sheet.stat().st_mode & 0o777 == 0o600
    assert len(sheet.read_text().splitlines()) == 5
    assert sheet.with_suffix(".html").exists()
    assert sheet.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ConfigurationError):
        run(*config, "codes", scope.scope_id.hex(), "--number", 3, "--out", tmp_path)

    code = sheet.read_text().splitlines()[-1]
    typed = f"{code}\nnonsense\n\nhttps://x.example/#scope=aa&slip={code}\n"
    table = run(*config, "table", scope.scope_id.hex(), typed=typed).output.splitlines()
    counts = "3 slips; 0 tokens were asked for"
    refused = "this code is on no sheet of this scope"
    assert table == [counts, "not used yet", refused, counts, "not used yet", counts]

    assert "1 scopes" in run(*config, "issuance").output
    status = run(*config, "status").output
    assert f"{scope.scope_id.hex()}  " in status
    assert "0 notices wait" in status
    opened.seal(TODAY)
    assert opened.head().size == 2 + 3 + 1  # manifest, seal; opening, codes, issuance, seal


def test_init_never_overwrites(tmp_path):
    run("init", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigurationError):
        run("init", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "issuer").stat().st_mode & 0o777 == 0o700


def test_without_init_nothing_is_made(tmp_path):
    with pytest.raises(ConfigurationError):
        run("--config", tmp_path / "headcount.toml", "status")
    run("init", tmp_path)
    (tmp_path / "issuer" / "issuer.sqlite").unlink()
    with pytest.raises(ConfigurationError):
        run("--config", tmp_path / "headcount.toml", "status")
    assert not (tmp_path / "issuer" / "issuer.sqlite").exists()


def test_a_dkim_key_is_made_once_and_what_is_printed_can_be_used(tmp_path):
    run("init", tmp_path, "--sender", "codes@issuer.example")
    path = tmp_path / "headcount.toml"
    config = ("--config", path)
    output = run(*config, "dkim-key", tmp_path / "dkim.pem", "--selector", "s1").output
    assert output.startswith('s1._domainkey.issuer.example. TXT "v=DKIM1; k=rsa; p=MII')
    with pytest.raises(ConfigurationError):
        run(*config, "dkim-key", tmp_path / "dkim.pem")
    path.write_text(path.read_text() + output.partition("\n")[2])
    assert "attesters email" in run(*config, "status").output
    (tmp_path / "dkim.pem").chmod(0o644)
    with pytest.raises(ConfigurationError):
        run(*config, "status")


def test_every_command_has_help():
    assert run("--help").exit_code == 0
    for name, command in issuer.commands.items():
        assert command.help, name
        assert run(name, "--help").exit_code == 0
