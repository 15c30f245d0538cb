from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "spec" / "vectors" / "rfc"


def cases(file: str) -> list[Any]:
    """The cases of a file of RFC figures, as parameters with their names."""
    content = json.loads((FOLDER / file).read_text("utf-8"))
    assert list(content) == ["about", "source", "cases"]
    assert content["cases"]
    return [pytest.param(case, id=case["name"]) for case in content["cases"]]


def unhex(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]
