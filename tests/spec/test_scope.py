from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given

import manifests
from headcount_spec import jcs, spki
from headcount_spec.errors import MalformedError, ScopeClosedError
from headcount_spec.scope import PLAIN, SEALED, WITHDRAWN, Manifest, scope_id
from headcount_spec.token import token_input
from mutations import spoilt_bytes, spoilt_json

CAMPAIGN = manifests.manifest()
FULL = manifests.draft(
    2,
    options=manifests.options("A", "B"),
    trustees=manifests.trustees(2, 3),
    kind="round",
    parent="ab" * 32,
    continues={"scope": "cd" * 32, "seal": 3},
)


def test_the_scope_id_is_the_hash_of_the_bytes() -> None:
    expected = hashlib.sha256(b"headcount/scope/v1\x00" + CAMPAIGN.raw).digest()
    assert CAMPAIGN.scope_id == scope_id(CAMPAIGN.raw) == expected


def test_every_term_changes_the_scope_id() -> None:
    ids = {CAMPAIGN.scope_id}
    for changes in ({"threshold": 6}, {"closes": "2026-03-02"}, {"tiers": None}, {"min_batch": 4}):
        ids.add(manifests.manifest(**changes).scope_id)
    assert len(ids) == 5


def test_attributes_are_typed() -> None:
    manifest = Manifest.from_bytes(jcs.canonicalise(FULL))
    assert manifest.kind == "round"
    assert manifest.parent == bytes.fromhex("ab" * 32)
    assert manifest.title == {"en": "We move together", "fr": "Nous partons ensemble"}
    assert manifest.title_text == "We move together"
    assert manifest.texts["en"] == hashlib.sha256(manifests.TEXTS["en"].encode()).digest()
    assert [option.number for option in manifest.options] == [1, 2]
    assert (manifest.opens, manifest.freezes, manifest.closes) == (
        manifests.OPENS,
        manifests.FREEZES,
        manifests.CLOSES,
    )
    assert manifest.tiers[0].count == 3
    assert manifest.action is not None
    assert manifest.action.time_zone == "Europe/Paris"
    assert manifest.issuers[1].name == "issuer1.example"
    assert manifest.issuers[1].token_key_id == spki.token_key_id(manifest.issuers[1].token_key)
    assert manifest.issuers[1].attesters == ("email",)
    assert manifest.organisers.quorum == 1
    assert manifest.trustees is not None
    assert (manifest.trustees.t, len(manifest.trustees.members)) == (2, 3)
    assert manifest.ledger.key == manifests.LEDGER_KEY.verification_key
    assert manifest.origins == ("http://localhost:8000",)
    assert manifest.continues is not None
    assert manifest.continues.seal == 3


def test_json_is_a_value_of_its_own() -> None:
    CAMPAIGN.json["threshold"] = 1
    assert CAMPAIGN.json == json.loads(CAMPAIGN.raw)


def test_manifests_are_equal_by_their_bytes() -> None:
    again = Manifest.from_bytes(CAMPAIGN.raw)
    assert again == CAMPAIGN
    assert hash(again) == hash(CAMPAIGN)
    assert manifests.manifest(threshold=6) != CAMPAIGN
    assert CAMPAIGN.raw != CAMPAIGN


def test_optional_members_may_be_absent() -> None:
    manifest = manifests.manifest(tiers=None, action=None)
    assert manifest.tiers == manifest.options == ()
    assert manifest.action is manifest.trustees is manifest.continues is manifest.parent is None


@pytest.mark.parametrize("name", ["headcount", "title", "issuers", "ledger", "data_use", "end_of_life"])
def test_null_is_not_absence(name: str) -> None:
    with pytest.raises(MalformedError):
        Manifest.from_bytes(jcs.canonicalise({**manifests.draft(), name: None}))


def test_challenges_and_token_inputs_follow_the_issuers() -> None:
    manifest = manifests.manifest(2)
    assert manifest.challenge(1).issuer_name == "issuer1.example"
    assert manifest.challenge(1).redemption_context == manifest.scope_id
    nonce = bytes(range(32))
    assert manifest.token_inputs(nonce)[1] == token_input(
        nonce, manifest.challenge(1).digest(), manifest.issuers[1].token_key_id
    )


def test_acceptance_is_from_the_opening_to_the_closing_day() -> None:
    CAMPAIGN.check_open(CAMPAIGN.opens)
    CAMPAIGN.check_open(CAMPAIGN.closes)
    for day in (CAMPAIGN.opens - 1, CAMPAIGN.closes + 1):
        with pytest.raises(ScopeClosedError):
            CAMPAIGN.check_open(day)


def test_changes_end_with_the_freeze_day() -> None:
    CAMPAIGN.check_change(CAMPAIGN.opens)
    CAMPAIGN.check_change(CAMPAIGN.freezes)
    for day in (CAMPAIGN.opens - 1, CAMPAIGN.freezes + 1, CAMPAIGN.closes + 1):
        with pytest.raises(ScopeClosedError):
            CAMPAIGN.check_change(day)


def test_the_deadline_is_the_closing_day_and_what_may_be_held() -> None:
    assert CAMPAIGN.deadline_day == CAMPAIGN.closes + 3 + 1


def accepted(manifest: Manifest) -> list[int]:
    return [choice for choice in (PLAIN, 1, 2, 3, SEALED, WITHDRAWN) if manifest.valid_choice(choice)]


def test_choices_are_the_options_or_plain_or_sealed() -> None:
    assert accepted(CAMPAIGN) == [PLAIN]
    assert accepted(manifests.manifest(options=manifests.options("A", "B"))) == [1, 2]
    assert accepted(manifests.contact(CAMPAIGN)) == [PLAIN]
    assert accepted(manifests.manifest(kind="round", trustees=manifests.trustees())) == [SEALED]


def test_blobs_are_committed_to_where_something_is_sealed_and_only_there() -> None:
    for manifest in (CAMPAIGN, manifests.manifest(trustees=manifests.trustees())):
        assert not manifest.holds_sealed
        assert manifest.valid_sealed_hash(bytes(32))
        assert not manifest.valid_sealed_hash(b"\x01" * 32)
    for manifest in (
        manifests.contact(CAMPAIGN),
        manifests.manifest(kind="round", trustees=manifests.trustees()),
    ):
        assert manifest.holds_sealed
        assert not manifest.valid_sealed_hash(bytes(32))
        assert manifest.valid_sealed_hash(b"\x01" * 32)


def test_a_manifest_longer_than_a_notice_can_carry_is_refused() -> None:
    title = {f"{a}{b}": "a" * 300 for a in "abc" for b in "abcdefghijklmnopqrst"}
    long = {f"{a}{b}": "a" * 1000 for a in "abc" for b in "abcdefghijklmnopqrst"}
    draft = manifests.draft(title=title, data_use=long, tiers=None, action=None)
    with pytest.raises(MalformedError, match="60000 bytes"):
        Manifest.from_bytes(jcs.canonicalise(draft))


@given(spoilt_bytes(CAMPAIGN.raw))
def test_any_bytes_are_a_manifest_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Manifest.from_bytes(data).raw == data


@given(spoilt_json(FULL))
def test_any_json_is_a_manifest_or_malformed(value: dict[str, Any]) -> None:
    with contextlib.suppress(MalformedError):
        data = jcs.canonicalise(value)
        assert jcs.canonicalise(Manifest.from_bytes(data).json) == data
