"""Vectors of the words by which people compare scopes."""

from __future__ import annotations

import hashlib
from typing import Any

from headcount_spec.fingerprint import fingerprint
from headcount_spec.scope import ScopeId

from . import Case, ok, same

FILE = "fingerprints.json"


def make() -> dict[str, Any]:
    """The edges of the list, and a few hashes."""
    return {
        "about": "words: the first 88 bits of scope_id, 11 bits a word, in the English list of BIP 39.",
        "source": "Made by makers/fingerprints.py.",
        "cases": [
            _case("zeros", bytes(32)),
            _case("ones", bytes([255] * 32)),
            _case("last-bit-that-shows", (1 << 168).to_bytes(32, "big")),
            _case("first-bit-that-does-not", (1 << 167).to_bytes(32, "big")),
            *(_case(f"hash-{i}", hashlib.sha256(bytes([i])).digest()) for i in range(4)),
        ],
    }


def _case(name: str, scope_id: bytes) -> Case:
    return ok(name, scope_id=scope_id.hex(), words=list(fingerprint(ScopeId(scope_id))))


def check(case: Case) -> None:
    """Compute the words again."""
    same(case, words=list(fingerprint(ScopeId(bytes.fromhex(case["scope_id"])))))
