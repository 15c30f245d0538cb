"""The makers of the test vectors: one module a file.

A maker module exposes

    FILE            name of its file in spec/vectors
    make()          the file's content: {"about", "source", "cases"}; the same on every run
    check(case)     does with a case what the protocol demands, raising our errors

A case is {"name", "expect", ...inputs}; expect is "ok" or the code of an error, and a case that must
fail differs in one thing from one that must not. Bytes are in lower-case hex; texts are as they are, or
under ``<field>_hex`` where they are not UTF-8.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from types import ModuleType
from typing import Any

from headcount_spec.errors import ProtocolError

Case = dict[str, Any]


def makers() -> dict[str, ModuleType]:
    """The maker modules by the name of their file."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {module.FILE: module for module in found}


def encode(content: dict[str, Any]) -> bytes:
    """The bytes of a vector file: ASCII, a field a line, in the order of making."""
    return (json.dumps(content, indent=1) + "\n").encode("ascii")


def ok(name: str, **inputs: Any) -> Case:
    """A case that must succeed."""
    return {"name": name, "expect": "ok", **inputs}


def fails(name: str, error: type[ProtocolError], **inputs: Any) -> Case:
    """A case that must fail with this error."""
    return {"name": name, "expect": error.code, **inputs}


def text(field: str, data: bytes) -> dict[str, str]:
    """A field for bytes that are usually text."""
    try:
        return {field: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{field}_hex": data.hex()}


def octets(case: Case, field: str) -> bytes:
    """The bytes of such a field."""
    if field in case:
        return str(case[field]).encode("utf-8")
    return bytes.fromhex(case[f"{field}_hex"])


def same(case: Case, **outputs: Any) -> None:
    """Compare what a run found with what the case says; a difference is a bug, not a refusal."""
    for field, value in outputs.items():
        if case[field] != value:
            raise ValueError(f"another {field}")
