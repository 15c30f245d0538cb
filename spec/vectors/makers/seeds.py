"""Vectors of what a client derives from its seed."""

from __future__ import annotations

from typing import Any

import keys
import manifests
from headcount_spec import blind_rsa, signature, spki
from headcount_spec.pledge import nonce
from headcount_spec.seed import blinding, revision_seed

from . import Case, ok, same

FILE = "seeds.json"


def make() -> dict[str, Any]:
    """The same seed for two choices and two issuers, and another seed."""
    return {
        "about": "HKDF-SHA256 (RFC 5869) without salt, info = "
        '"headcount/seed/v1/" || label || 0x00 || input. revision_seed: label "revision", input scope_id, '
        '32 bytes. salt: label "salt", input nonce || token_key_id, 48 bytes. r: label "blind", the same '
        "input, 272 bytes as a big-endian number, modulo n - 1, plus 1.",
        "source": "Made by makers/seeds.py.",
        "cases": [
            _case("first-issuer", keys.seed("client 0"), 0, 0),
            _case("second-issuer", keys.seed("client 0"), 0, 1),
            _case("another-choice", keys.seed("client 0"), 1, 0),
            _case("another-seed", keys.seed("client 1"), 0, 0),
            _case("zero-seed", bytes(32), 0, 0),
        ],
    }


def _case(name: str, seed: bytes, choice: int, issuer: int) -> Case:
    manifest = manifests.manifest(2)
    inputs = {
        "seed": seed.hex(),
        "scope_id": manifest.scope_id.hex(),
        "choice": choice,
        "token_key": manifest.issuers[issuer].token_key.hex(),
        "token_input_tail": manifest.token_inputs(bytes(32))[issuer][34:].hex(),
    }
    return ok(name, **inputs, **_outputs(inputs))


def _outputs(case: Case) -> dict[str, Any]:
    seed, scope_id, token_key = (bytes.fromhex(case[f]) for f in ("seed", "scope_id", "token_key"))
    private = revision_seed(seed, scope_id)
    revision_key = signature.public_key(private)
    nullifier = nonce(scope_id, case["choice"], revision_key, bytes(32))
    key = spki.decode_token_key(token_key)
    salt, r = blinding(seed, nullifier, spki.token_key_id(token_key), key.n)
    token_input = b"\x00\x02" + nullifier + bytes.fromhex(case["token_input_tail"])
    blinded_msg, _ = blind_rsa.blind(key, token_input, salt, r)
    return {
        "revision_seed": private.hex(),
        "revision_key": revision_key.hex(),
        "nonce": nullifier.hex(),
        "salt": salt.hex(),
        "r": r.to_bytes(256, "big").hex(),
        "blinded_msg": blinded_msg.hex(),
    }


def check(case: Case) -> None:
    """Derive everything again."""
    same(case, **_outputs(case))
