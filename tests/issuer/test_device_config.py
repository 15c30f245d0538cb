from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authenticator import AAGUID, Vendor
from headcount_issuer.attesters.device import DeviceConfig
from headcount_issuer.attesters.passkey import PasskeyConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.issuer import Issuer
from headcount_spec.errors import ConfigurationError

MODEL = "01020304-0506-0708-090a-0b0c0d0e0f10"
TABLE = """
[issuer]
name = "issuer.example"
url = "https://issuer.example"
directory = "issuer"
ledger = "https://ledger.example"

[issuer.attesters.{table}
"""


def read(folder: Path, table: str) -> Any:
    path = folder / "headcount.toml"
    path.write_text(TABLE.format(table=table), "utf-8")
    (config,) = IssuerConfig.from_file(path).attesters.values()
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "roots.pem").write_bytes(Vendor().root_pem)
    (tmp_path / "empty.pem").write_bytes(b"")
    return tmp_path


def test_tables_that_say_nothing_verify_the_user_and_list_nobody(folder: Path) -> None:
    assert read(folder, "device]") == DeviceConfig(verify_user=True, allowed=None)
    assert read(folder, "passkey]") == PasskeyConfig(verify_user=True)
    assert read(folder, 'passkey]\nuser_verification = "discouraged"') == PasskeyConfig(verify_user=False)


def test_a_list_of_makes(folder: Path) -> None:
    config = read(folder, f'device]\naaguids = ["{MODEL}"]\nroots = "roots.pem"')
    assert config.allowed.models == {AAGUID}
    assert len(config.allowed.roots) == 1


@pytest.mark.parametrize(
    "table",
    [
        'device]\nuser_verification = "preferred"',
        "device]\nuser_verification = true",
        f'device]\naaguids = ["{MODEL}"]',
        'device]\nroots = "roots.pem"',
        'device]\naaguids = []\nroots = "roots.pem"',
        'device]\naaguids = ["x"]\nroots = "roots.pem"',
        "device]\naaguids = [7]\nroots = 'roots.pem'",
        f'device]\naaguids = ["{MODEL}"]\nroots = "empty.pem"',
        f'device]\naaguids = ["{MODEL}"]\nroots = "missing.pem"',
        'device]\naaguids = ["00000000-0000-0000-0000-000000000000"]\nroots = "roots.pem"',
        "device]\nmore = 1",
        "passkey]\nmore = 1",
        "eid]",
        "passkeys]",
    ],
)
def test_tables_that_are_wrong_are_refused_at_the_start(folder: Path, table: str) -> None:
    with pytest.raises(ConfigurationError):
        read(folder, table)


@pytest.mark.parametrize("table", [DeviceConfig(), PasskeyConfig()])
def test_where_browsers_have_no_passkeys_an_issuer_does_not_start(config: IssuerConfig, table: Any) -> None:
    bad = replace(config, url="http://127.0.0.1:8001", attesters={table.name: table})
    Issuer.create(bad)
    with pytest.raises(ConfigurationError, match="localhost"):
        Issuer.open(bad)


def test_without_the_account_key_an_issuer_does_not_start(config: IssuerConfig) -> None:
    Issuer.create(config)
    (config.keys / "account.key").unlink()
    with pytest.raises(ConfigurationError, match="account"):
        Issuer.open(config)
