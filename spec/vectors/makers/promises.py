"""Vectors of the ledger's promises."""

from __future__ import annotations

from typing import Any

import manifests
from headcount_spec import signature
from headcount_spec.errors import MalformedError, SignatureError
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey, VerificationKey
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise, verify_promise

from . import Case, fails, ok, same

FILE = "promises.json"


def make() -> dict[str, Any]:
    """A promise for a pledge and one for a revision, and one failure at a time."""
    pledge, revision = _promise(0), _promise(16)
    other = SigningKey(manifests.ORIGIN, bytes(32)).verification_key
    late = (int.from_bytes(pledge[69:73], "big") + 1).to_bytes(4, "big")
    message = pledge[:73]
    return {
        "about": "137 bytes: leaf_hash[32] | kind u8 | nullifier[32] | serial u32 | deadline u32 | "
        'Ed25519 signature[64] over "headcount/promise/v1\\0" || the fields before it, by the ledger key.',
        "source": "Made by makers/promises.py.",
        "cases": [
            _ok("pledge", pledge),
            _ok("revision", _promise(1)),
            _ok("last-revision", revision),
            _fails("another-ledger-key", SignatureError, pledge, other),
            _fails("another-leaf-hash", SignatureError, b"\x00" * 32 + pledge[32:]),
            _fails("another-nullifier", SignatureError, pledge[:33] + b"\x00" * 32 + pledge[65:]),
            _fails("later-deadline", SignatureError, pledge[:69] + late + pledge[73:]),
            _fails("bit-of-the-signature", SignatureError, pledge[:-1] + bytes([pledge[-1] ^ 1])),
            _fails(
                "without-domain", SignatureError, message + signature.sign(manifests.LEDGER_SEED, message)
            ),
            _fails("empty", MalformedError, b""),
            _fails("truncated", MalformedError, pledge[:-1]),
            _fails("trailing-byte", MalformedError, pledge + b"\x00"),
            _fails("kind-of-a-seal", MalformedError, pledge[:32] + b"\x02" + pledge[33:]),
            _fails("kind-zero", MalformedError, pledge[:32] + b"\x00" + pledge[33:]),
            _fails("pledge-with-serial", MalformedError, pledge[:68] + b"\x01" + pledge[69:]),
            _fails("revision-without-serial", MalformedError, revision[:68] + b"\x00" + revision[69:]),
            _fails("serial-seventeen", MalformedError, revision[:68] + b"\x11" + revision[69:]),
        ],
    }


def _promise(serial: int) -> bytes:
    manifest = manifests.manifest()
    entry = manifests.pledge(manifest, 0)
    data = manifests.revision(entry, 0, serial).to_bytes() if serial else entry.to_bytes()
    kind = KIND_REVISION if serial else KIND_PLEDGE
    deadline = manifest.deadline_day
    return sign_promise(
        manifests.LEDGER_KEY, leaf_hash(data), kind, entry.nullifier, serial, deadline
    ).to_bytes()


def _ok(name: str, data: bytes) -> Case:
    key = manifests.LEDGER_KEY.verification_key
    return ok(name, promise=data.hex(), ledger_key=key.to_text(), **_outputs(Promise.from_bytes(data)))


def _fails(
    name: str,
    error: type[MalformedError] | type[SignatureError],
    data: bytes,
    key: VerificationKey = manifests.LEDGER_KEY.verification_key,
) -> Case:
    return fails(name, error, promise=data.hex(), ledger_key=key.to_text())


def _outputs(promise: Promise) -> dict[str, Any]:
    return {
        "leaf_hash": promise.leaf_hash.hex(),
        "kind": promise.kind,
        "nullifier": promise.nullifier.hex(),
        "serial": promise.serial,
        "deadline": promise.deadline,
    }


def check(case: Case) -> None:
    """Read the promise and verify it."""
    promise = Promise.from_bytes(bytes.fromhex(case["promise"]))
    verify_promise(promise, VerificationKey.from_text(case["ledger_key"]))
    same(case, **_outputs(promise))
