from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headcount_ledger.config import LedgerConfig
from headcount_spec.errors import ConfigurationError


def test_paths_are_relative_to_the_file() -> None:
    config = LedgerConfig.from_table({"directory": "ledger", "tick_s": 5}, Path("/srv/node"))
    assert config.public == Path("/srv/node/ledger/public")
    assert config.tick_s == 5
    assert LedgerConfig.from_table({"directory": "/data"}, Path("/srv")).key == Path("/data/key")


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({}, "directory"),
        ({"directory": 5}, "directory"),
        ({"directory": "x", "tick_s": "5"}, "tick_s"),
        ({"directory": "x", "tick_s": True}, "tick_s"),
        ({"directory": "x", "tick_s": 0}, "tick_s"),
        ({"directory": "x", "max_waiting": 0}, "max_waiting"),
        ({"directory": "x", "tikc_s": 5}, "tikc_s"),
    ],
)
def test_a_wrong_table_is_refused_by_name(table: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        LedgerConfig.from_table(table, Path())


URL = "postgresql+psycopg://headcount@db.example/headcount?sslmode=verify-full"


def test_another_database_and_a_bucket_are_a_change_of_configuration() -> None:
    table = {
        "directory": "ledger",
        "database": URL,
        "database_password": "secrets/database",
        "storage": "s3://tiles.example/ledger/2026/",
        "s3": {"endpoint": "https://s3.example", "region": "eu", "credentials": "secrets/s3", "timeout_s": 9},
    }
    config = LedgerConfig.from_table(table, Path("/srv"))
    assert config.postgresql == URL
    assert config.password == Path("/srv/secrets/database")
    assert config.bucket is not None
    assert (config.bucket.bucket, config.bucket.prefix) == ("tiles.example", "ledger/2026")
    assert config.bucket.credentials == Path("/srv/secrets/s3")
    assert config.bucket.timeout_s == 9
    assert config.place == f"{URL} and s3://tiles.example/ledger/2026"
    plain = LedgerConfig.from_table({"directory": "x", "storage": "s3://tiles"}, Path()).bucket
    assert plain is not None
    assert (plain.prefix, plain.url, plain.endpoint) == ("", "s3://tiles", None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"database": "sqlite:///x"}, "ledger.database"),
        ({"database": "postgresql://headcount@db.example/headcount"}, "ledger.database"),
        ({"database": "postgresql+psycopg://headcount:secret@db.example/x"}, "password"),
        ({"database": "postgresql+psycopg://headcount@db.example/x?password=secret"}, "password"),
        ({"database": 5}, "ledger.database"),
        ({"storage": "/srv/tiles"}, "ledger.storage"),
        ({"storage": "s3://UPPER/x"}, "ledger.storage"),
        ({"storage": "s3://tiles/x?y"}, "ledger.storage"),
        ({"s3": {}, "storage": 1}, "ledger.storage"),
        ({"s3": {"region": "eu"}}, "without ledger.storage"),
        ({"storage": "s3://tiles", "s3": 5}, "ledger.s3"),
        ({"storage": "s3://tiles", "s3": {"endpoint": "http://s3.example"}}, "https"),
        ({"storage": "s3://tiles", "s3": {"endpoint": "http://localhost.example:9000"}}, "https"),
        ({"storage": "s3://tiles", "s3": {"endpoint": "https://id:secret@s3.example"}}, "credentials"),
        ({"storage": "s3://tiles", "s3": {"timeout_s": 0}}, "timeout_s"),
        ({"storage": "s3://tiles", "s3": {"secret_access_key": "x"}}, "secret_access_key"),
    ],
)
def test_a_wrong_engine_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        LedgerConfig.from_table({"directory": "x", **changes}, Path())
    assert "secret@" not in str(caught.value)


def test_a_server_on_this_machine_needs_no_tls() -> None:
    for endpoint in (
        "http://127.0.0.1:9000",
        "http://localhost:9000",
        "http://[::1]:9000",
        "http://localhost",
    ):
        table = {"directory": "x", "storage": "s3://tiles", "s3": {"endpoint": endpoint}}
        assert LedgerConfig.from_table(table, Path()).bucket is not None
