"""Vectors of the nonce of a pledge, which is its nullifier."""

from __future__ import annotations

from typing import Any

import keys
import manifests
from headcount_spec import signature
from headcount_spec.pledge import nonce
from headcount_spec.scope import PLAIN, SEALED

from . import Case, ok, same

FILE = "nonces.json"


def make() -> dict[str, Any]:
    """A plain pledge, and one input changed at a time."""
    manifest = manifests.manifest()
    base = {
        "scope_id": manifest.scope_id,
        "choice": PLAIN,
        "revision_key": signature.public_key(manifests.revision_private(manifest.scope_id, 0)),
        "sealed_hash": bytes(32),
    }
    return {
        "about": 'nonce = SHA-256("headcount/pledge/v1\\0" || scope_id || uint16 choice || revision_key '
        "|| sealed_hash).",
        "source": "Made by makers/nonces.py.",
        "cases": [
            _case("plain", **base),
            _case("first-option", **{**base, "choice": 1}),
            _case("option-of-two-bytes", **{**base, "choice": 0x0102}),
            _case("sealed", **{**base, "choice": SEALED, "sealed_hash": keys.seed("blob")}),
            _case("contact", **{**base, "sealed_hash": keys.seed("blob")}),
            _case("another-scope", **{**base, "scope_id": manifests.manifest(2).scope_id}),
            _case("another-revision-key", **{**base, "revision_key": signature.public_key(bytes(32))}),
            _case("all-zeros", scope_id=bytes(32), choice=0, revision_key=bytes(32), sealed_hash=bytes(32)),
        ],
    }


def _case(name: str, *, scope_id: bytes, choice: int, revision_key: bytes, sealed_hash: bytes) -> Case:
    return ok(
        name,
        scope_id=scope_id.hex(),
        choice=choice,
        revision_key=revision_key.hex(),
        sealed_hash=sealed_hash.hex(),
        nonce=nonce(scope_id, choice, revision_key, sealed_hash).hex(),
    )


def check(case: Case) -> None:
    """Hash the pledge."""
    scope_id, revision_key, sealed_hash = (
        bytes.fromhex(case[field]) for field in ("scope_id", "revision_key", "sealed_hash")
    )
    same(case, nonce=nonce(scope_id, case["choice"], revision_key, sealed_hash).hex())
