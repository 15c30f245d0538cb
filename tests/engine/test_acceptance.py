from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
import manifests
import reference
from headcount_engine.acceptance import ScopeVerifier
from headcount_spec import signature
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    ProtocolError,
    RevisionConflictError,
    SignatureError,
)
from headcount_spec.pledge import Pledge, nonce
from headcount_spec.revision import Revision, revision_message
from headcount_spec.scope import NO_SEALED_HASH, PLAIN, SEALED, WITHDRAWN, Manifest

PLAIN_SCOPE = manifests.manifest(2)
OPTIONS = manifests.manifest(1, options=manifests.options("yes", "no"))
CONTACT = manifests.contact(PLAIN_SCOPE)
SEALED_ROUND = manifests.manifest(
    1, kind="round", options=manifests.options("yes", "no"), trustees=manifests.trustees()
)
SEAL = b"\x05" * 32
VERIFIERS = {m.scope_id: ScopeVerifier(m) for m in (PLAIN_SCOPE, OPTIONS, CONTACT, SEALED_ROUND)}
PLEDGE = manifests.pledge(PLAIN_SCOPE, 0)


def verify(pledge: Pledge, manifest: Manifest = PLAIN_SCOPE) -> bytes:
    return VERIFIERS[manifest.scope_id].verify_pledge(pledge)


def refused(error: type[ProtocolError], pledge: Pledge, manifest: Manifest = PLAIN_SCOPE) -> None:
    with pytest.raises(ProtocolError) as caught:
        verify(pledge, manifest)
    assert type(caught.value) is error


def signed(manifest: Manifest, choice: int, revision_key: bytes, sealed_hash: bytes) -> Pledge:
    """A pledge with true authenticators over whatever it says."""
    nullifier = nonce(manifest.scope_id, choice, revision_key, sealed_hash)
    issuers = {keys.token_spki(i): keys.token_key(i) for i in range(keys.NUMBER)}
    authenticators = tuple(
        keys.sign_pss(issuers[issuer.token_key], msg)
        for issuer, msg in zip(manifest.issuers, manifest.token_inputs(nullifier), strict=True)
    )
    return Pledge(manifest.scope_id, choice, revision_key, sealed_hash, authenticators)


@pytest.mark.parametrize(
    ("manifest", "choice", "sealed_hash"),
    [
        (PLAIN_SCOPE, PLAIN, NO_SEALED_HASH),
        (OPTIONS, 1, NO_SEALED_HASH),
        (OPTIONS, 2, NO_SEALED_HASH),
        (CONTACT, PLAIN, SEAL),
        (SEALED_ROUND, SEALED, SEAL),
    ],
    ids=["plain", "option-1", "option-2", "contact", "sealed-round"],
)
def test_valid_pledges_give_their_nullifier(manifest: Manifest, choice: int, sealed_hash: bytes) -> None:
    pledge = manifests.pledge(manifest, 1, choice, sealed_hash)
    assert verify(pledge, manifest) == pledge.nullifier


@pytest.mark.parametrize(
    ("manifest", "choice", "sealed_hash"),
    [
        (PLAIN_SCOPE, 1, NO_SEALED_HASH),
        (PLAIN_SCOPE, SEALED, NO_SEALED_HASH),
        (PLAIN_SCOPE, WITHDRAWN, NO_SEALED_HASH),
        (PLAIN_SCOPE, PLAIN, SEAL),
        (OPTIONS, PLAIN, NO_SEALED_HASH),
        (OPTIONS, 3, NO_SEALED_HASH),
        (OPTIONS, SEALED, NO_SEALED_HASH),
        (OPTIONS, 1, SEAL),
        (CONTACT, PLAIN, NO_SEALED_HASH),
        (CONTACT, 1, SEAL),
        (SEALED_ROUND, SEALED, NO_SEALED_HASH),
        (SEALED_ROUND, 1, SEAL),
    ],
)
def test_other_choices_and_seals_are_refused(manifest: Manifest, choice: int, sealed_hash: bytes) -> None:
    refused(MalformedError, manifests.pledge(manifest, 1, choice, sealed_hash), manifest)


def test_another_scope_is_refused() -> None:
    refused(NotEligibleError, manifests.pledge(OPTIONS, 0, 1))


def test_pledge_moved_to_another_scope_of_the_same_issuers_is_refused() -> None:
    other = manifests.manifest(2, threshold=6)
    moved = replace(PLEDGE, scope_id=other.scope_id)
    with pytest.raises(SignatureError):
        ScopeVerifier(other).verify_pledge(moved)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_exactly_as_many_authenticators_as_issuers(n: int) -> None:
    refused(MalformedError, replace(PLEDGE, authenticators=(PLEDGE.authenticators * 2)[:n]))


CHANGES: dict[str, Callable[[Pledge], Pledge]] = {
    "exchanged": lambda p: replace(p, authenticators=p.authenticators[::-1]),
    "two-of-one-issuer": lambda p: replace(p, authenticators=(p.authenticators[0],) * 2),
    "two-of-the-other-issuer": lambda p: replace(p, authenticators=(p.authenticators[1],) * 2),
    "second-missing": lambda p: replace(p, authenticators=(p.authenticators[0], bytes(256))),
    "of-another-pledge": lambda p: replace(p, authenticators=manifests.pledge(PLAIN_SCOPE, 1).authenticators),
    "other-revision-key": lambda p: replace(p, revision_key=manifests.pledge(PLAIN_SCOPE, 1).revision_key),
    "short-salt": lambda p: replace(
        p,
        authenticators=(
            keys.sign_pss(keys.token_key(0), PLAIN_SCOPE.token_inputs(p.nullifier)[0], bytes(47)),
            p.authenticators[1],
        ),
    ),
    "other-key": lambda p: replace(
        p,
        authenticators=(
            p.authenticators[0],
            keys.sign_pss(keys.token_key(2), PLAIN_SCOPE.token_inputs(p.nullifier)[1]),
        ),
    ),
    "short-authenticator": lambda p: replace(
        p, authenticators=(p.authenticators[0][:-1], p.authenticators[1])
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_authenticators_are_refused(name: str) -> None:
    refused(SignatureError, CHANGES[name](PLEDGE))


def test_changed_choice_is_refused() -> None:
    pledge = manifests.pledge(OPTIONS, 3, 1)
    verify(pledge, OPTIONS)
    refused(SignatureError, replace(pledge, choice=2), OPTIONS)


def test_two_authenticators_for_one_pledge_have_one_nullifier() -> None:
    again = tuple(
        keys.sign_pss(keys.token_key(i), msg, b"\x01" * 48)
        for i, msg in enumerate(PLAIN_SCOPE.token_inputs(PLEDGE.nullifier))
    )
    assert again != PLEDGE.authenticators
    assert verify(replace(PLEDGE, authenticators=again)) == verify(PLEDGE)


TORSION = reference.small_order()
MIXED = (reference.BASE * 5 + TORSION[1]).to_bytes()
BAD_KEYS = {
    "identity": TORSION[0].to_bytes(),
    "order-two": TORSION[4].to_bytes(),
    "order-eight": TORSION[1].to_bytes(),
    "mixed-order": MIXED,
    "not-canonical": (reference.P + 1).to_bytes(32, "little"),
    "not-a-point": (2).to_bytes(32, "little"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_pledge_whose_revision_key_is_none_counts_and_cannot_be_revised(name: str) -> None:
    pledge = signed(OPTIONS, 1, BAD_KEYS[name], NO_SEALED_HASH)
    nullifier = VERIFIERS[OPTIONS.scope_id].verify_pledge(pledge)
    for commitment in (BAD_KEYS[name], TORSION[0].to_bytes()):
        # With S = 0 and R = A of small order the equation holds for one message in eight, or for all.
        for choice in (1, 2, WITHDRAWN):
            made = Revision(OPTIONS.scope_id, nullifier, 1, choice, NO_SEALED_HASH, commitment + bytes(32))
            with pytest.raises(SignatureError):
                VERIFIERS[OPTIONS.scope_id].verify_revision(made, BAD_KEYS[name], 0)


@given(st.integers(0, len(PLEDGE.to_bytes()) * 8 - 1))
@settings(max_examples=80)
def test_one_flipped_bit_is_refused(bit: int) -> None:
    data = bytearray(PLEDGE.to_bytes())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, SignatureError, NotEligibleError)):
        verify(Pledge.from_bytes(bytes(data)))


def test_threads_share_a_verifier() -> None:
    pledges = [manifests.pledge(PLAIN_SCOPE, i) for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(verify, pledges * 50))
    assert found == [pledge.nullifier for pledge in pledges] * 50


# Revisions


REVISABLE = manifests.pledge(OPTIONS, 9, 1)


def verify_revision(revision: Revision, serial_now: int = 0, manifest: Manifest = OPTIONS) -> None:
    VERIFIERS[manifest.scope_id].verify_revision(revision, REVISABLE.revision_key, serial_now)


def revision(serial: int = 1, choice: int = 2, sealed_hash: bytes = NO_SEALED_HASH) -> Revision:
    return manifests.revision(REVISABLE, 9, serial, choice, sealed_hash)


@pytest.mark.parametrize("choice", [1, 2, WITHDRAWN])
def test_valid_revisions(choice: int) -> None:
    verify_revision(revision(1, choice))
    verify_revision(revision(16, choice), 15)


@pytest.mark.parametrize(("serial", "serial_now"), [(1, 1), (2, 0), (3, 1), (1, 5), (16, 16)])
def test_serial_is_the_next_one(serial: int, serial_now: int) -> None:
    with pytest.raises(RevisionConflictError) as caught:
        verify_revision(revision(serial), serial_now)
    assert caught.value.serial == serial_now


@pytest.mark.parametrize("choice", [PLAIN, 3, SEALED])
def test_revision_to_another_choice_is_refused(choice: int) -> None:
    with pytest.raises(MalformedError):
        verify_revision(revision(1, choice))


@pytest.mark.parametrize("choice", [1, WITHDRAWN])
def test_revision_with_a_sealed_hash_is_refused(choice: int) -> None:
    with pytest.raises(MalformedError):
        verify_revision(revision(1, choice, SEAL))


def test_revision_of_another_scope_is_refused() -> None:
    with pytest.raises(NotEligibleError):
        verify_revision(revision(), manifest=PLAIN_SCOPE)


@pytest.mark.parametrize(
    "change",
    [
        {"choice": 1},
        {"choice": WITHDRAWN},
        {"serial": 2},
        {"nullifier": bytes(32)},
        {"signature": bytes(64)},
        {"signature": b""},
    ],
)
def test_changed_revision_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(SignatureError):
        verify_revision(replace(revision(), **change))  # type: ignore[arg-type]


def test_revision_by_another_key_is_refused() -> None:
    message = revision().signed_message
    with pytest.raises(SignatureError):
        verify_revision(replace(revision(), signature=signature.sign(keys.seed("somebody"), message)))


def test_unsigned_revision_is_refused_before_its_serial_is_looked_at() -> None:
    with pytest.raises(SignatureError):
        verify_revision(replace(revision(5), signature=bytes(64)))


def test_identity_key_revises_nothing() -> None:
    identity = TORSION[0].to_bytes()
    null = nonce(OPTIONS.scope_id, 1, identity, NO_SEALED_HASH)
    everywhere_valid = identity + bytes(32)  # R = identity, S = 0: S B = R + k A for every message
    forged = Revision(OPTIONS.scope_id, null, 1, 2, NO_SEALED_HASH, everywhere_valid)
    assert forged.signed_message == revision_message(OPTIONS.scope_id, null, 1, 2, NO_SEALED_HASH)
    with pytest.raises(SignatureError):
        VERIFIERS[OPTIONS.scope_id].verify_revision(forged, identity, 0)


def test_errors_name_no_value() -> None:
    for manifest, pledge in ((PLAIN_SCOPE, replace(PLEDGE, choice=7)), (OPTIONS, PLEDGE)):
        with pytest.raises(ProtocolError) as caught:
            verify(pledge, manifest)
        for secret in (pledge.nullifier, pledge.revision_key, pledge.authenticators[0]):
            assert secret.hex()[:16] not in str(caught.value)
