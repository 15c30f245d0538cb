from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from headcount_spec import merkle
from headcount_spec.errors import ProofError

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "rfc6962_transparency_dev.json").read_text())


def b64(text: str | None) -> bytes:
    return base64.b64decode(text or "", validate=True)


def names(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in VECTORS[kind]]


def filled(root: bytes) -> bytes:
    # Some roots are words like "don't care"; ours have 32 bytes.
    return root.ljust(32, b"\0") if root.startswith(b"don't care") else root


@pytest.mark.parametrize("case", names("inclusion"))
def test_inclusion(case: dict[str, Any]) -> None:
    proof = [b64(h) for h in case["proof"] or []]
    leaf, root = merkle.LeafHash(b64(case["leafHash"])), merkle.RootHash(b64(case["root"]))
    if case["wantErr"]:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(proof, case["leafIdx"], case["treeSize"], leaf, root)
    else:
        merkle.verify_inclusion(proof, case["leafIdx"], case["treeSize"], leaf, root)


# The empty tree is a prefix of every tree (RFC 9162 leaves the case out, witnesses need it: old 0).
OURS = {"additional/size1-is-zero-and-size2-is-not-zero"}


@pytest.mark.parametrize("case", names("consistency"))
def test_consistency(case: dict[str, Any]) -> None:
    proof = [b64(h) for h in case["proof"] or []]
    roots = [merkle.RootHash(filled(b64(case[name]))) for name in ("root1", "root2")]
    if case["wantErr"] and case["name"] not in OURS:
        with pytest.raises(ProofError):
            merkle.verify_consistency(proof, case["size1"], case["size2"], *roots)
    else:
        merkle.verify_consistency(proof, case["size1"], case["size2"], *roots)
