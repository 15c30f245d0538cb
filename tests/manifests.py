from __future__ import annotations

import functools
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import keys
from headcount_spec import hpke, jcs, signature
from headcount_spec.blind_rsa import PrivateKey
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice, Statement, sign_statement
from headcount_spec.pledge import Pledge, nonce
from headcount_spec.revision import Revision, revision_message
from headcount_spec.scope import NO_SEALED_HASH, PLAIN, WITHDRAWN, Manifest, ScopeId
from headcount_spec.seed import revision_seed
from headcount_spec.text import encode_base64, parse_day

ORGANISER_SEEDS = tuple(keys.seed(f"organiser {i}") for i in range(3))
ISSUER_SEEDS = tuple(keys.seed(f"issuer {i}") for i in range(keys.NUMBER))
TRUSTEE_SEEDS = tuple(keys.seed(f"trustee {i}") for i in range(5))
LEDGER_SEED = keys.seed("ledger")
CONTACT_PRIVATE = keys.seed("organiser contacts")
CONTACT_KEY = hpke.public_key(CONTACT_PRIVATE)

ORIGIN = "localhost:8000/ledger"
LEDGER_KEY = SigningKey(ORIGIN, LEDGER_SEED)

OPENS, FREEZES, CLOSES = parse_day("2026-01-10"), parse_day("2026-02-20"), parse_day("2026-03-01")
TEXTS = {"en": "We move together.\n", "fr": "Nous partons ensemble.\n"}


def draft(n_issuers: int = 1, **changes: Any) -> dict[str, Any]:
    """A manifest as JSON, complete and without lint errors; a change to None removes the member."""
    value: dict[str, Any] = {
        "headcount": 1,
        "kind": "campaign",
        "eligible": "anyone",
        "language": "en",
        "title": both("We move together", "Nous partons ensemble"),
        "texts": {tag: hashlib.sha256(text.encode()).hexdigest() for tag, text in TEXTS.items()},
        "addressee": both("The large networks", "Les grands réseaux"),
        "opens": "2026-01-10",
        "freezes": "2026-02-20",
        "closes": "2026-03-01",
        "threshold": 5,
        "tiers": [{"count": 3, "effect": both("A letter", "Une lettre")}],
        "action": {
            "date": "2026-04-01",
            "time_zone": "Europe/Paris",
            "what": both("Leave", "Partez"),
        },
        "level": "email",
        "issuers": [issuer(i) for i in range(n_issuers)],
        "organisers": {"keys": [b64_key(ORGANISER_SEEDS[0])], "quorum": 1},
        "ledger": {"origin": ORIGIN, "key": LEDGER_KEY.verification_key.to_text()},
        "witnesses": "quorum none\n",
        "origins": ["http://localhost:8000"],
        "min_batch": 3,
        "max_hold": 3,
        "data_use": both("Only for this", "Seulement pour ceci"),
        "end_of_life": both("Keys are destroyed", "Les clés sont détruites"),
    }
    value.update(changes)
    return {name: item for name, item in value.items() if item is not None}


def manifest(n_issuers: int = 1, **changes: Any) -> Manifest:
    return Manifest.from_bytes(jcs.canonicalise(draft(n_issuers, **changes)))


def both(english: str, french: str) -> dict[str, str]:
    return {"en": english, "fr": french}


def options(*labels: str) -> list[dict[str, Any]]:
    return [{"number": i, "label": both(label, label)} for i, label in enumerate(labels, 1)]


def issuer(i: int = 0, token_key: int | None = None) -> dict[str, Any]:
    return {
        "name": f"issuer{i}.example",
        "url": f"http://localhost:{8001 + i}",
        "token_key": encode_base64(keys.token_spki(i if token_key is None else token_key)),
        "notice_key": b64_key(ISSUER_SEEDS[i]),
        "attesters": ["email"],
    }


def trustees(t: int = 3, n: int = 5) -> dict[str, Any]:
    members = [
        {
            "name": f"Trustee {i}",
            "identity_key": b64_key(TRUSTEE_SEEDS[i]),
            "scope_key": encode_base64(agreement_key(i)),
            "bls_key": encode_base64(bytes([i]) * 48),
            "bls_proof": encode_base64(bytes([i]) * 96),
        }
        for i in range(n)
    ]
    return {"t": t, "members": members}


def contact(parent: Manifest, t: int = 3, n: int = 5, **changes: Any) -> Manifest:
    return manifest(
        **{
            "kind": "contact",
            "parent": parent.scope_id.hex(),
            "eligible": "parent-token-holders",
            "issuers": [issuer(0, token_key=1)],
            "trustees": trustees(t, n),
            "contacts": contacts(),
            "tiers": None,
            "action": None,
            **changes,
        }
    )


def contacts() -> dict[str, Any]:
    return {
        "key": encode_base64(CONTACT_KEY),
        "channels": ["email", "matrix", "none"],
        "purposes": [
            {"name": "confirmation", "text": both("To confirm this address", "Confirmer cette adresse")},
            {"name": "moving", "text": both("To move together", "Partir ensemble")},
        ],
    }


def agreement_private(i: int) -> bytes:
    return keys.seed(f"trustee {i} scope")


@functools.cache
def agreement_key(i: int) -> bytes:
    return X25519PrivateKey.from_private_bytes(agreement_private(i)).public_key().public_bytes_raw()


def b64_key(seed: bytes) -> str:
    return encode_base64(signature.public_key(seed))


@functools.cache
def _private_keys() -> dict[bytes, PrivateKey]:
    return {keys.token_spki(i): keys.token_key(i) for i in range(keys.NUMBER)}


def client_seed(seed_int: int) -> bytes:
    return keys.seed(f"client {seed_int}")


def revision_private(scope_id: ScopeId, seed_int: int) -> bytes:
    return revision_seed(client_seed(seed_int), scope_id)


@functools.lru_cache(maxsize=4096)
def pledge(
    manifest: Manifest, seed_int: int, choice: int = PLAIN, sealed_hash: bytes = NO_SEALED_HASH
) -> Pledge:
    """A pledge with true authenticators: the same numbers make the same bytes."""
    revision_key = signature.public_key(revision_private(manifest.scope_id, seed_int))
    nullifier = nonce(manifest.scope_id, choice, revision_key, sealed_hash)
    authenticators = tuple(
        keys.sign_pss(_private_keys()[terms.token_key], message)
        for terms, message in zip(manifest.issuers, manifest.token_inputs(nullifier), strict=True)
    )
    return Pledge(manifest.scope_id, choice, revision_key, sealed_hash, authenticators)


def revision(
    pledge: Pledge,
    seed_int: int,
    serial: int = 1,
    choice: int = WITHDRAWN,
    sealed_hash: bytes = NO_SEALED_HASH,
) -> Revision:
    """A revision by the holder of the pledge that was made with this seed_int."""
    message = revision_message(pledge.scope_id, pledge.nullifier, serial, choice, sealed_hash)
    value = signature.sign(revision_private(pledge.scope_id, seed_int), message)
    return Revision(pledge.scope_id, pledge.nullifier, serial, choice, sealed_hash, value)


def notice(
    scope: Manifest | ScopeId,
    role: str,
    type: str,
    body: dict[str, Any],
    previous: Notice | None = None,
    seeds: tuple[bytes, ...] | None = None,
) -> Notice:
    """A notice after the author's previous one, signed by seeds (default: the role's first)."""
    default = {"organiser": ORGANISER_SEEDS, "issuer": ISSUER_SEEDS, "trustee": TRUSTEE_SEEDS}
    if seeds is None:
        seeds = (LEDGER_SEED,) if role == "ledger" else default[role][:1]
    scope_id = scope.scope_id if isinstance(scope, Manifest) else scope
    seq, prev = (
        (0, bytes(32)) if previous is None else (previous.statement.seq + 1, leaf_hash(previous.to_bytes()))
    )
    return sign_statement(Statement(role, scope_id, seq, prev, type, body), seeds)


def manifest_notice(manifest: Manifest, seeds: tuple[bytes, ...] = ORGANISER_SEEDS[:1]) -> Notice:
    return notice(manifest, "organiser", "manifest", {"manifest": manifest.json}, seeds=seeds)


def text_notices(manifest: Manifest, previous: Notice | None = None) -> list[Notice]:
    """The full texts, after the manifest's notice."""
    last = manifest_notice(manifest) if previous is None else previous
    notices = []
    for tag, text in TEXTS.items():
        last = notice(manifest, "organiser", "text", {"language": tag, "text": text}, last)
        notices.append(last)
    return notices


def opening(manifest: Manifest, i: int = 0) -> Notice:
    terms = manifest.issuers[i]
    body = {"issuer": terms.name, "token_key_id": terms.token_key_id.hex()}
    return notice(manifest, "issuer", "opening", body, seeds=(ISSUER_SEEDS[i],))


def openings(manifest: Manifest) -> list[Notice]:
    return [opening(manifest, i) for i in range(len(manifest.issuers))]


def issuance(manifest: Manifest, day: int, issued: int, previous: Notice, i: int = 0) -> Notice:
    body = {"day": day, "issued": issued}
    return notice(manifest, "issuer", "issuance", body, previous, (ISSUER_SEEDS[i],))


def closing(manifest: Manifest, day: int | None = None) -> Notice:
    return notice(manifest, "ledger", "closing", {"day": manifest.closes + 1 if day is None else day})
