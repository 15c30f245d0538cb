"""Loads spec/vectors: (file, name, case), and the makers of the files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "spec" / "vectors"
sys.path.insert(0, str(FOLDER))

import makers  # noqa: E402

MAKERS = makers.makers()


def files() -> list[str]:
    return sorted(path.name for path in FOLDER.glob("*.json"))


def load(file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / file).read_bytes())
    return content


def cases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for file in files():
        for case in load(file)["cases"]:
            yield file, case["name"], case
