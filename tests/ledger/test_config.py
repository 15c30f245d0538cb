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
