from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import parts

NPM = Path(__file__).parent / "conformance" / "npm"


class ForeignError(Exception):
    """A foreign program refused."""


class Node:
    """A node process with the packages of conformance/npm; node(operation, ...) asks bridge.js."""

    def __init__(self) -> None:
        parts.require(shutil.which("node"), "node")
        parts.require((NPM / "node_modules").is_dir(), "the packages of tests/conformance/npm")
        self._process = subprocess.Popen(
            ["node", "bridge.js"], cwd=NPM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, operation: str, **inputs: Any) -> dict[str, Any]:
        hexed = {name: value.hex() if isinstance(value, bytes) else value for name, value in inputs.items()}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"operation": operation, **hexed}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        if "error" in answer:
            raise ForeignError(answer["error"])
        return answer

    def octets(self, operation: str, **inputs: Any) -> bytes:
        """The answer of an operation that gives one byte string."""
        (value,) = self(operation, **inputs).values()
        return bytes.fromhex(value)

    def close(self) -> None:
        self._process.communicate(timeout=20)
