"""Writes spec/vectors/*.json: ``make vectors``. The same bytes on every run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Write every maker's file and say which changed."""
    # Makers share the keys and manifests of the tests.
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "tests")]
    package = importlib.import_module("makers")
    for name, maker in package.makers().items():
        path = HERE / name
        data = package.encode(maker.make())
        changed = not path.exists() or path.read_bytes() != data
        path.write_bytes(data)
        print(f"{name}: {'written' if changed else 'unchanged'}")  # noqa: T201


if __name__ == "__main__":
    main()
