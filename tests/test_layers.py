from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = {
    "headcount_spec": ROOT / "spec" / "headcount_spec",
    "headcount_engine": ROOT / "spec" / "headcount_engine",
    "headcount_ledger": ROOT / "ledger" / "headcount_ledger",
    "headcount_issuer": ROOT / "issuer" / "headcount_issuer",
    "headcount_verifier": ROOT / "verifier" / "headcount_verifier",
    "headcount": ROOT / "client" / "headcount",
    "headcount_node": ROOT / "node" / "headcount_node",
}

# Which of our packages, or modules of them, each may import besides itself.
FLOORS = {
    "headcount_spec": set(),
    "headcount_engine": {"headcount_spec"},
    "headcount_ledger": {"headcount_spec", "headcount_engine"},
    "headcount_issuer": {"headcount_spec", "headcount_engine"},
    "headcount_verifier": {"headcount_spec", "headcount_engine", "headcount_ledger"},
    "headcount": {"headcount_spec", "headcount_engine", "headcount_ledger.audit", "headcount_ledger.reader"},
    "headcount_node": set(PACKAGES),
}

# What the specification may use: no I/O, no clock, no randomness, no network.
SPEC_MODULES = {
    "base64",
    "binascii",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "http",
    "itertools",
    "json",
    "math",
    "re",
    "struct",
    "types",
    "typing",
    "unicodedata",
    "urllib",
    "cryptography",
    "rfc8785",
    "__future__",
}
SPEC_FORBIDDEN_CALLS = {"open", "input", "print", "__import__", "eval", "exec", "today", "now", "utcnow"}
ROLES = {"issuer", "ledger", "verifier", "client", "node", "spec", "engine"}


def sources(package: str) -> Iterator[Path]:
    return PACKAGES[package].rglob("*.py")


def imports(path: Path) -> Iterator[str]:
    """Every imported module by its full name, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:  # others stay in their package
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in allowed)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down_the_floors(package):
    allowed = FLOORS[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(package)
        for module in imports(path)
        if module.partition(".")[0] in PACKAGES and not within(module, allowed)
    ]
    assert wrong == []


def test_every_package_has_sources():
    assert all(any(sources(package)) for package in PACKAGES)


def test_issuer_and_verifier_do_not_reach_each_other():
    def reach(package: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
        for name in FLOORS[package]:
            top = name.partition(".")[0]
            if top not in seen:
                seen = reach(top, seen | {top})
        return seen

    assert not {"headcount_verifier", "headcount_ledger"} & reach("headcount_issuer")
    assert "headcount_issuer" not in reach("headcount_verifier")


def test_the_specification_has_no_input_or_output():
    wrong = [
        f"{path.name} imports {module}"
        for path in sources("headcount_spec")
        for module in imports(path)
        if not within(module, SPEC_MODULES | {"headcount_spec"})
        or within(module, {"urllib.request", "http.client"})
    ]
    assert wrong == []


def test_the_specification_asks_for_no_file_no_day_and_no_terminal():
    wrong = []
    for path in sources("headcount_spec"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if name in SPEC_FORBIDDEN_CALLS:
                    wrong.append(f"{path.name}:{node.lineno} calls {name}")
    assert wrong == []


def test_nobody_imports_a_plainly_named_role():
    trees = [*PACKAGES.values(), ROOT / "tests", ROOT / "bench", ROOT / "examples", ROOT / "spec" / "vectors"]
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for tree in trees
        for path in tree.rglob("*.py")
        if "node_modules" not in path.parts
        for module in imports(path)
        if module.partition(".")[0] in ROLES
    ]
    assert wrong == []


LOADED = """
import sys
sys.path[:0] = {paths!r}
import {package}
tops = {{name.partition(".")[0] for name in sys.modules}}
print(" ".join(sorted(tops)))
"""


def loaded_by(package: str, *floors: str) -> set[str]:
    script = LOADED.format(paths=[str(ROOT / floor) for floor in floors], package=package)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_a_partner_who_imports_the_verifier_loads_no_issuer_and_no_slow_library():
    loaded = loaded_by("headcount_verifier", "spec", "ledger", "issuer", "verifier", "client", "node")
    assert "headcount_verifier" in loaded
    assert not loaded & {
        "py_ecc",
        "webauthn",
        "headcount_issuer",
        "headcount",
        "headcount_node",
        "sqlalchemy",
    }


def test_an_issuer_loads_nothing_of_the_redemption():
    loaded = loaded_by("headcount_issuer.app", "spec", "ledger", "issuer", "verifier", "client", "node")
    assert "headcount_issuer" in loaded
    assert not loaded & {"headcount_verifier", "headcount_ledger", "headcount", "headcount_node"}
