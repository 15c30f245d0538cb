"""Contact scopes with real trustees, below a campaign."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import keys
import manifests
from headcount_engine.hpke import seal_box
from headcount_spec import sealed, signature
from headcount_spec.contact import EMAIL, Contact
from headcount_spec.deposit import Deposit, Erasure, erasure_message
from headcount_spec.pledge import Pledge
from headcount_spec.promise import Promise
from headcount_spec.scope import Manifest, ScopeId


def changes(parent: Manifest, t: int = 3, n: int = 5, **more: Any) -> dict[str, Any]:
    """What makes the factory's draft one of a contact scope of this parent."""
    return {
        "kind": "contact",
        "parent": parent.scope_id.hex(),
        "eligible": "parent-token-holders",
        "title": manifests.both("Reach me", "Me joindre"),
        "issuers": [manifests.issuer(0, token_key=1)],
        "trustees": manifests.trustees(t, n),
        "contacts": manifests.contacts(),
        "threshold": parent.threshold,
        "min_batch": parent.min_batch,
        "tiers": None,
        "action": None,
        **more,
    }


def address(number: int) -> Contact:
    return Contact(EMAIL, f"person{number}.quillfeather@example.org")


@functools.cache
def blob(manifest: Manifest, number: int, contact: Contact | None = None) -> bytes:
    """The sealed contact of the person with this number."""
    assert manifest.trustees is not None
    assert manifest.contacts is not None
    return sealed.seal(
        contact or address(number),
        sealed.context(manifest.scope_id, revision_key(manifest.scope_id, number)),
        manifest.contacts.key,
        [trustee.scope_key for trustee in manifest.trustees.members],
        manifest.trustees.t,
        manifests.client_seed(number),
        seal_box,
    )


def revision_key(scope_id: ScopeId, number: int) -> bytes:
    return signature.public_key(manifests.revision_private(scope_id, number))


def pledge(manifest: Manifest, number: int) -> Pledge:
    """The entry that has the hash of that blob."""
    return manifests.pledge(manifest, number, sealed_hash=hashlib.sha256(blob(manifest, number)).digest())


def deposit(manifest: Manifest, number: int, promise: Promise) -> Deposit:
    return Deposit(
        manifest.scope_id, revision_key(manifest.scope_id, number), promise, blob(manifest, number)
    )


def erasure(manifest: Manifest, number: int, signer: int | None = None) -> Erasure:
    entry = pledge(manifest, number)
    private = manifests.revision_private(manifest.scope_id, number if signer is None else signer)
    value = signature.sign(private, erasure_message(manifest.scope_id, entry.nullifier))
    return Erasure(manifest.scope_id, entry.revision_key, entry.sealed_hash, value)


def bls_seed(i: int) -> bytes:
    return keys.seed(f"trustee {i} bls")
