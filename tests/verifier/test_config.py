from __future__ import annotations

from pathlib import Path

import pytest

import manifests
from headcount_spec.errors import ConfigurationError, NotFoundError
from headcount_verifier import Redeemer, VerifierConfig

LEDGER = "http://localhost:8000/ledger"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scopes").mkdir()
    return tmp_path


def put(folder: Path, manifest=None, name: str | None = None) -> str:
    manifest = manifest or manifests.manifest()
    name = name or manifest.scope_id.hex()
    (folder / "scopes" / f"{name}.json").write_bytes(manifest.raw)
    return name


def toml(folder: Path, text: str) -> Path:
    path = folder / "verifier.toml"
    path.write_text(text)
    return path


def test_a_folder_of_manifests(folder):
    name = put(folder)
    path = toml(folder, f'[verifier]\nledger = "{LEDGER}"\nscopes = "scopes"\n[issuer]\n')
    redeemer = Redeemer.from_config(path)
    assert [scope_id.hex() for scope_id in redeemer.scope_ids()] == [name]
    assert redeemer.manifest(manifests.manifest().scope_id) == manifests.manifest()


def test_a_manifest_that_is_added_while_the_verifier_runs_is_found(folder):
    redeemer = Redeemer.from_config(toml(folder, f'[verifier]\nledger = "{LEDGER}"\nscopes = "scopes"\n'))
    scope_id = manifests.manifest().scope_id
    with pytest.raises(NotFoundError):
        redeemer.manifest(scope_id)
    put(folder)
    assert redeemer.manifest(scope_id).scope_id == scope_id
    assert redeemer.scope_ids() == [scope_id]


def test_single_files_under_their_scope_ids(folder):
    name = put(folder)
    table = f'[verifier]\nledger = "{LEDGER}"\n[verifier.scopes]\n{name} = "scopes/{name}.json"\n'
    assert [s.hex() for s in Redeemer.from_config(toml(folder, table)).scope_ids()] == [name]


def test_another_scope_than_the_pinned_one_is_refused(folder):
    pinned = manifests.manifest(title=manifests.both("Another", "Une autre")).scope_id.hex()
    put(folder, name=pinned)
    with pytest.raises(ConfigurationError, match="pinned"):
        Redeemer.from_config(toml(folder, f'[verifier]\nledger = "{LEDGER}"\nscopes = "scopes"\n'))
    table = f'[verifier]\nledger = "{LEDGER}"\n[verifier.scopes]\n{pinned} = "scopes/{pinned}.json"\n'
    with pytest.raises(ConfigurationError, match="pinned"):
        Redeemer.from_config(toml(folder, table))


def test_a_file_that_is_no_manifest_is_refused(folder):
    config = toml(folder, f'[verifier]\nledger = "{LEDGER}"\nscopes = "scopes"\n')
    path = folder / "scopes" / f"{'0' * 64}.json"
    for data in (b"", b"{}", b"\xff", manifests.manifest().raw + b"\n"):
        path.write_bytes(data)
        with pytest.raises(ConfigurationError):
            Redeemer.from_config(config)
    path.rename(folder / "scopes" / "notes.json")
    with pytest.raises(ConfigurationError, match="named"):
        Redeemer.from_config(config)


@pytest.mark.parametrize(
    "table",
    [
        "",
        "[verifier]\n",
        f'[verifier]\nledger = "{LEDGER}"\n',
        '[verifier]\nscopes = "scopes"\n',
        f'[verifier]\nledger = "{LEDGER}/"\nscopes = "scopes"\n',
        '[verifier]\nledger = "file:///etc"\nscopes = "scopes"\n',
        f'[verifier]\nledger = "{LEDGER}"\nscopes = 3\n',
        f'[verifier]\nledger = "{LEDGER}"\nscopes = "nowhere"\n',
        f'[verifier]\nledger = "{LEDGER}"\nscopes = "scopes"\ntimeout_s = 0\n',
        f'[verifier]\nledger = "{LEDGER}"\nscopes = "scopes"\nlegder = 1\n',
        f'[verifier]\nledger = "{LEDGER}"\n[verifier.scopes]\nAA = "x.json"\n',
        f'[verifier]\nledger = "{LEDGER}"\n[verifier.scopes]\n{"0" * 64} = 3\n',
        f'[verifier]\nledger = "{LEDGER}"\n[verifier.scopes]\n{"0" * 64} = "missing.json"\n',
        "verifier = 3\n",
        "[verifier\n",
    ],
)
def test_a_wrong_table_is_refused(folder, table):
    with pytest.raises(ConfigurationError):
        Redeemer.from_config(toml(folder, table))


def test_a_missing_file_is_refused(folder):
    with pytest.raises(ConfigurationError):
        VerifierConfig.from_file(folder / "nothing.toml")
