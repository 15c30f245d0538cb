"""Node.js and the compiled modules of client/web for the tests that run them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import parts

WEB = Path(__file__).parents[1] / "client" / "web"
COMPILED = WEB / ".build"


@cache
def pages() -> ModuleType:
    """client/web/bundle.py, which is no package."""
    spec = importlib.util.spec_from_file_location("headcount_pages", WEB / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def require() -> Path:
    """The folder of a node that is new enough, with client/web's packages there and its modules compiled."""
    parts.require(WEB.is_dir(), "client/web")
    node = pages().find_node()
    parts.require(node, "Node.js 20.19 or newer")
    parts.require((WEB / "node_modules" / "typescript").is_dir(), "the packages of client/web")
    done = run(["node_modules/typescript/bin/tsc", "-p", "test"])
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(node)


def run(
    arguments: list[str | Path], *, timeout_s: int = 200, env: dict[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """node with these arguments, in client/web."""
    node = pages().find_node()
    return subprocess.run(
        [node / "node", *arguments],
        cwd=WEB,
        env={**os.environ, "NODE_NO_WARNINGS": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        **more,
    )
