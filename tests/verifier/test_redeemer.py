from __future__ import annotations

import dataclasses

import pytest

import keys
import manifests
from headcount_spec.errors import (
    MalformedError,
    MisbehaviourError,
    NotEligibleError,
    NotFoundError,
    RevisionConflictError,
    ScopeClosedError,
    SignatureError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.pledge import SEALED, WITHDRAWN, Pledge
from headcount_spec.promise import Promise, sign_promise
from headcount_spec.scope import ScopeId
from headcount_spec.token import TokenChallenge


def test_a_pledge_gets_the_ledgers_promise(redeemer, ledger, manifest):
    pledge = manifests.pledge(manifest, 1)
    promise = Promise.from_bytes(redeemer.redeem(pledge.to_bytes()))
    assert promise.leaf_hash == leaf_hash(pledge.to_bytes())
    assert promise.nullifier == pledge.nullifier
    assert promise.deadline == manifest.deadline_day
    assert ledger.submitted == [pledge.to_bytes()]


def test_the_same_pledge_again_gets_the_same_answer(redeemer, manifest):
    data = manifests.pledge(manifest, 1).to_bytes()
    assert redeemer.redeem(data) == redeemer.redeem(data)


def test_the_same_pledge_with_another_valid_authenticator_is_the_same_pledge(redeemer, ledger, manifest):
    pledge = manifests.pledge(manifest, 1)
    message = manifest.token_inputs(pledge.nullifier)[0]
    other = dataclasses.replace(
        pledge, authenticators=(keys.sign_pss(keys.token_key(0), message, bytes(47) + b"1"),)
    )
    assert redeemer.redeem(other.to_bytes()) == redeemer.redeem(pledge.to_bytes())
    assert len(ledger.pledges) == 1


def test_every_issuer_has_signed(redeemer, three_issuers):
    redeemer.redeem(manifests.pledge(three_issuers, 1, choice=2).to_bytes())


def refused(redeemer, ledger, pledge: Pledge, error: type[Exception]) -> None:
    with pytest.raises(error):
        redeemer.redeem(pledge.to_bytes())
    assert ledger.submitted == []


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[:2],
        lambda a: (*a, a[0]),
        lambda a: a[:1],
    ],
    ids=["one-missing", "one-too-many", "two-missing"],
)
def test_another_number_of_authenticators_is_refused(redeemer, ledger, three_issuers, change):
    pledge = manifests.pledge(three_issuers, 1, choice=1)
    changed = dataclasses.replace(pledge, authenticators=change(pledge.authenticators))
    refused(redeemer, ledger, changed, MalformedError)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: (a[1], a[0], a[2]),
        lambda a: (a[0], a[0], a[2]),
        lambda a: (bytes(256), *a[1:]),
        lambda a: (a[0], a[1], bytes([a[2][0] ^ 1]) + a[2][1:]),
    ],
    ids=["swapped", "one-issuer-twice", "zeros", "flipped-bit"],
)
def test_wrong_authenticators_are_refused(redeemer, ledger, three_issuers, change):
    pledge = manifests.pledge(three_issuers, 1, choice=1)
    changed = dataclasses.replace(pledge, authenticators=change(pledge.authenticators))
    refused(redeemer, ledger, changed, SignatureError)


@pytest.mark.parametrize("salt_len", [0, 20, 32, 47, 49])
def test_an_authenticator_with_another_salt_length_is_refused(redeemer, ledger, manifest, salt_len):
    pledge = manifests.pledge(manifest, 1)
    message = manifest.token_inputs(pledge.nullifier)[0]
    sig = keys.sign_pss(keys.token_key(0), message, bytes(salt_len))
    refused(redeemer, ledger, dataclasses.replace(pledge, authenticators=(sig,)), SignatureError)


def test_an_authenticator_by_another_key_is_refused(redeemer, ledger, manifest):
    pledge = manifests.pledge(manifest, 1)
    sig = keys.sign_pss(keys.token_key(5), manifest.token_inputs(pledge.nullifier)[0])
    refused(redeemer, ledger, dataclasses.replace(pledge, authenticators=(sig,)), SignatureError)


def test_an_authenticator_not_below_the_modulus_is_refused(redeemer, ledger, manifest):
    pledge = manifests.pledge(manifest, 1)
    larger = int.from_bytes(pledge.authenticators[0], "big") + keys.token_key(0).n
    if larger >= 2**2048:
        larger = 2**2048 - 1
    refused(
        redeemer, ledger, dataclasses.replace(pledge, authenticators=(larger.to_bytes(256),)), SignatureError
    )


def test_a_pledge_turned_to_another_choice_is_refused(redeemer, ledger, three_issuers):
    pledge = manifests.pledge(three_issuers, 1, choice=1)
    refused(redeemer, ledger, dataclasses.replace(pledge, choice=2), SignatureError)


@pytest.mark.parametrize("choice", [0, 3, SEALED, WITHDRAWN])
def test_a_choice_that_the_scope_has_not_is_refused(redeemer, ledger, three_issuers, choice):
    refused(redeemer, ledger, manifests.pledge(three_issuers, 1, choice=choice), MalformedError)


def test_a_sealed_hash_where_nothing_is_sealed_is_refused(redeemer, ledger, manifest):
    refused(redeemer, ledger, manifests.pledge(manifest, 1, sealed_hash=bytes([7]) * 32), MalformedError)


def test_a_pledge_of_another_scope_is_refused(redeemer, ledger, manifest):
    stranger = manifests.manifest(title=manifests.both("Another", "Une autre"))
    refused(redeemer, ledger, manifests.pledge(stranger, 1), NotEligibleError)
    moved = dataclasses.replace(manifests.pledge(stranger, 1), scope_id=manifest.scope_id)
    refused(redeemer, ledger, moved, SignatureError)


@pytest.mark.parametrize("cut", [0, 1, 2, 33, 34, 100, 101, 356])
def test_a_truncated_pledge_is_malformed(redeemer, ledger, manifest, cut):
    with pytest.raises(MalformedError):
        redeemer.redeem(manifests.pledge(manifest, 1).to_bytes()[:cut])
    with pytest.raises(MalformedError):
        redeemer.redeem(manifests.pledge(manifest, 1).to_bytes() + b"\x00")
    assert ledger.submitted == []


def test_a_revision_is_no_pledge(redeemer, manifest):
    pledge = manifests.pledge(manifest, 1)
    with pytest.raises(MalformedError):
        redeemer.redeem(manifests.revision(pledge, 1).to_bytes())
    with pytest.raises(MalformedError):
        redeemer.revise(pledge.to_bytes())


def test_a_scope_is_open_from_its_first_to_its_last_day(redeemer, ledger, clock, manifest):
    for day in (manifests.OPENS - 1, manifest.deadline_day + 1):
        clock.day = ledger.today = day
        refused(redeemer, ledger, manifests.pledge(manifest, 1), ScopeClosedError)
    clock.day = ledger.today = manifests.CLOSES
    redeemer.redeem(manifests.pledge(manifest, 1).to_bytes())


def test_after_the_last_day_only_a_pledge_that_was_accepted_is_answered_again(
    redeemer, ledger, clock, manifest
):
    clock.day = ledger.today = manifests.CLOSES
    data = manifests.pledge(manifest, 1).to_bytes()
    answer = redeemer.redeem(data)
    clock.day = ledger.today = manifests.CLOSES + 1
    assert redeemer.redeem(data) == answer
    with pytest.raises(ScopeClosedError):
        redeemer.redeem(manifests.pledge(manifest, 2).to_bytes())


def resigned(**changes):
    """A promise that the ledger's key has signed, with other fields."""

    def tamper(promise: Promise) -> Promise:
        p = dataclasses.replace(promise, **changes)
        return sign_promise(manifests.LEDGER_KEY, p.leaf_hash, p.kind, p.nullifier, p.serial, p.deadline)

    return tamper


@pytest.mark.parametrize(
    "tamper",
    [
        resigned(deadline=99_999),
        resigned(nullifier=bytes(32)),
        resigned(kind=3, serial=1),
        lambda promise: dataclasses.replace(promise, signature=bytes(64)),
        lambda promise: dataclasses.replace(promise, deadline=promise.deadline + 1),
    ],
    ids=["later-deadline", "other-nullifier", "other-kind", "no-signature", "changed-after-signing"],
)
def test_a_wrong_promise_is_misbehaviour_with_evidence(redeemer, ledger, manifest, tamper):
    ledger.tamper = tamper
    with pytest.raises(MisbehaviourError) as caught:
        redeemer.redeem(manifests.pledge(manifest, 1).to_bytes())
    assert len(caught.value.evidence[0]) == 137


def test_a_promise_by_another_ledgers_key_is_misbehaviour(redeemer, ledger, manifest):
    ledger.key = SigningKey(manifests.ORIGIN, keys.seed("another ledger"))
    with pytest.raises(MisbehaviourError):
        redeemer.redeem(manifests.pledge(manifest, 1).to_bytes())


def test_a_truncated_promise_is_misbehaviour(redeemer, ledger, manifest):
    answer = ledger.submit
    ledger.submit = lambda data: answer(data)[:-1]
    with pytest.raises(MisbehaviourError):
        redeemer.redeem(manifests.pledge(manifest, 1).to_bytes())


def test_a_revision_gets_the_ledgers_promise(redeemer, manifest):
    pledge = manifests.pledge(manifest, 1)
    redeemer.redeem(pledge.to_bytes())
    data = manifests.revision(pledge, 1).to_bytes()
    promise = Promise.from_bytes(redeemer.revise(data))
    assert (promise.serial, promise.nullifier) == (1, pledge.nullifier)
    assert redeemer.revise(data) == promise.to_bytes()


def test_a_promise_for_another_revision_is_misbehaviour(redeemer, ledger, manifest):
    pledge = manifests.pledge(manifest, 1)
    redeemer.redeem(pledge.to_bytes())
    ledger.tamper = resigned(leaf_hash=bytes(32))
    with pytest.raises(MisbehaviourError):
        redeemer.revise(manifests.revision(pledge, 1).to_bytes())


def test_the_ledgers_conflict_names_the_serial_that_stands(redeemer, manifest):
    pledge = manifests.pledge(manifest, 1)
    redeemer.redeem(pledge.to_bytes())
    with pytest.raises(RevisionConflictError) as caught:
        redeemer.revise(manifests.revision(pledge, 1, serial=3).to_bytes())
    assert caught.value.serial == 0


def test_revisions_end_with_the_freeze_day(redeemer, ledger, clock, manifest):
    pledge = manifests.pledge(manifest, 1)
    data = manifests.revision(pledge, 1).to_bytes()
    redeemer.redeem(pledge.to_bytes())
    for day in (manifests.OPENS - 1, manifest.deadline_day + 1):
        clock.day = day
        with pytest.raises(ScopeClosedError):
            redeemer.revise(data)
    assert ledger.submitted == [pledge.to_bytes()]


@pytest.mark.parametrize(
    ("choice", "sealed_hash"), [(3, bytes(32)), (1, bytes([1]) * 32), (WITHDRAWN, b"1" * 32)]
)
def test_a_revision_to_what_the_scope_has_not_is_malformed(
    redeemer, ledger, three_issuers, choice, sealed_hash
):
    revision = manifests.revision(manifests.pledge(three_issuers, 1, choice=1), 1, 1, choice, sealed_hash)
    with pytest.raises(MalformedError):
        redeemer.revise(revision.to_bytes())
    assert ledger.submitted == []


def test_a_revision_of_another_scope_is_refused(redeemer, manifest):
    stranger = manifests.manifest(title=manifests.both("Another", "Une autre"))
    with pytest.raises(NotEligibleError):
        redeemer.revise(manifests.revision(manifests.pledge(stranger, 1), 1).to_bytes())


def test_the_challenges_are_those_of_the_manifest(redeemer, three_issuers):
    challenges = redeemer.challenges(three_issuers.scope_id)
    assert [TokenChallenge.from_bytes(c.challenge) for c in challenges] == [
        three_issuers.challenge(i) for i in range(3)
    ]
    assert [c.token_key for c in challenges] == [keys.token_spki(i) for i in range(3)]
    assert redeemer.challenges(ScopeId(bytes(32))) == []


def test_an_unknown_scope_has_no_manifest(redeemer):
    with pytest.raises(NotFoundError):
        redeemer.manifest(ScopeId(bytes(32)))


def test_no_error_text_tells_the_nullifier(redeemer, ledger, manifest):
    pledge = manifests.pledge(manifest, 1)
    ledger.tamper = resigned(deadline=99_999)
    with pytest.raises(MisbehaviourError) as caught:
        redeemer.redeem(pledge.to_bytes())
    assert pledge.nullifier.hex() not in str(caught.value)
