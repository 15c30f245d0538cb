from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given

import manifests
from headcount_spec.errors import MalformedError, NoticeConflictError, SignatureError, UnknownKeyError
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice, author, sign_statement, verify_notice
from headcount_spec.scope import Manifest
from mutations import spoilt_bytes

CAMPAIGN = manifests.manifest(2)
SEALED = manifests.contact(CAMPAIGN)
FIRST = manifests.manifest_notice(CAMPAIGN)


def verify(notice: Notice, manifest: Manifest = CAMPAIGN, previous: Notice | None = None) -> None:
    place = previous and (previous.statement.seq, leaf_hash(previous.to_bytes()))
    assert verify_notice(notice, manifest, place or None) is notice.statement


def test_organisers_speak_in_a_chain() -> None:
    last = FIRST
    verify(last)
    for notice in manifests.text_notices(CAMPAIGN, FIRST):
        verify(notice, previous=last)
        last = notice
    assert last.statement.seq == 2


def test_each_author_has_a_sequence_of_its_own() -> None:
    names = []
    for i, opening in enumerate(manifests.openings(CAMPAIGN)):
        verify(opening)
        names.append(author(opening, CAMPAIGN))
        verify(manifests.issuance(CAMPAIGN, manifests.OPENS, 32, opening, i), previous=opening)
    closing = manifests.closing(CAMPAIGN)
    verify(closing)
    key = {"scope_key": manifests.encode_base64(manifests.agreement_key(0))}
    enrolment = manifests.notice(SEALED, "trustee", "enrolment", key)
    verify(enrolment, SEALED)
    names += [author(closing, CAMPAIGN), author(enrolment, SEALED), author(FIRST, CAMPAIGN)]
    assert names == [
        "issuer:issuer0.example",
        "issuer:issuer1.example",
        "ledger",
        "trustee:Trustee 0",
        "organiser",
    ]


def test_a_conflict_says_which_seq_is_next() -> None:
    with pytest.raises(NoticeConflictError) as caught:
        verify_notice(FIRST, CAMPAIGN, (6, bytes(32)))
    assert caught.value.seq == 7


def test_signatures_are_checked_before_the_sequence() -> None:
    key, value = FIRST.signatures[0]
    forged = dataclasses.replace(FIRST, signatures=((key, value[::-1]),))
    with pytest.raises(SignatureError):
        verify_notice(forged, CAMPAIGN, (6, bytes(32)))


def test_a_quorum_is_of_distinct_organisers() -> None:
    organisers = {"keys": [manifests.b64_key(seed) for seed in manifests.ORGANISER_SEEDS], "quorum": 2}
    manifest = manifests.manifest(organisers=organisers)
    seed = manifests.ORGANISER_SEEDS[0]
    verify(manifests.manifest_notice(manifest, manifests.ORGANISER_SEEDS[1:]), manifest)
    with pytest.raises(UnknownKeyError, match="quorum"):
        verify(manifests.manifest_notice(manifest, (seed, seed)), manifest)


def test_signatures_ascend_by_key_whoever_signs_first() -> None:
    statement = FIRST.statement
    seeds = manifests.ORGANISER_SEEDS
    notice = sign_statement(statement, seeds)
    assert notice == sign_statement(statement, seeds[::-1])
    assert Notice.from_bytes(notice.to_bytes()) == notice


def test_a_notice_cannot_be_made_of_a_malformed_statement() -> None:
    with pytest.raises(MalformedError):
        Notice(b"{}", ())


@given(spoilt_bytes(manifests.closing(CAMPAIGN).to_bytes()))
def test_any_bytes_are_a_notice_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Notice.from_bytes(data).to_bytes() == data
