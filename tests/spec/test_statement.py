from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
import manifests
from headcount_spec import jcs
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import MalformedError
from headcount_spec.scope import MAX_MANIFEST_BYTES, Manifest, ScopeId
from headcount_spec.statement import MAX_STATEMENT_BYTES, Statement, check_body, manifest_of
from headcount_spec.terms import MAX_ORGANISERS
from mutations import JSON_VALUES, spoilt_bytes

MANIFEST = manifests.manifest()
FIRST = manifests.manifest_notice(MANIFEST).statement
UPDATE = Statement(
    "organiser",
    MANIFEST.scope_id,
    1,
    b"\x01" * 32,
    "update",
    {"title": {"en": "News"}, "text": {"en": "Half of us are here.\n"}},
)
TYPES = [
    ("organiser", "manifest"),
    ("organiser", "text"),
    ("organiser", "child"),
    ("organiser", "update"),
    ("organiser", "mailing"),
    ("organiser", "pages"),
    ("issuer", "opening"),
    ("issuer", "issuance"),
    ("issuer", "codes"),
    ("issuer", "destruction"),
    ("trustee", "enrolment"),
    ("trustee", "release"),
    ("trustee", "destruction"),
    ("ledger", "closing"),
]
MEMBERS = [
    "manifest",
    "language",
    "text",
    "scope",
    "title",
    "template",
    "number",
    "purpose",
    "site",
    "bundles",
    "issuer",
    "token_key_id",
    "day",
    "issued",
    "root",
    "keys",
    "scope_key",
    "private_key",
    "seal",
    "live",
    "signature",
]


def test_a_statement_is_read_as_written() -> None:
    for statement in (FIRST, UPDATE):
        assert Statement.from_bytes(statement.to_bytes()) == statement


def test_what_is_not_valid_is_not_written() -> None:
    for changes in (
        {"seq": 0},
        {"prev": bytes(32)},
        {"type": "manifest"},
        {"role": "issuer"},
        {"body": {}},
        {"scope": ScopeId(b"")},
        {"seq": -1},
    ):
        with pytest.raises(MalformedError):
            dataclasses.replace(UPDATE, **changes).to_bytes()


def test_a_statement_longer_than_an_entry_can_carry_is_refused() -> None:
    body = {"language": "en", "text": "a" * (MAX_STATEMENT_BYTES - 300)}
    long = dataclasses.replace(UPDATE, type="text", body=body)
    long.to_bytes()
    with pytest.raises(MalformedError):
        dataclasses.replace(long, body={**body, "text": "a" * (MAX_STATEMENT_BYTES - 100)}).to_bytes()


def test_the_manifest_is_in_its_statement() -> None:
    assert manifest_of(FIRST) == MANIFEST
    with pytest.raises(MalformedError):
        manifest_of(UPDATE)


def test_the_largest_manifest_fits_in_an_entry_with_all_signatures() -> None:
    tags = [a + b for a in "ab" for b in "abcdefg"]
    draft = manifests.draft(
        language="aa",
        title=dict.fromkeys(tags, "a"),
        texts=dict.fromkeys(tags, "00" * 32),
        addressee=dict.fromkeys(tags, "a"),
        data_use=dict.fromkeys(tags, "a" * 4000),
        end_of_life=dict.fromkeys(tags, "a"),
        tiers=None,
        action=None,
    )
    spare = MAX_MANIFEST_BYTES - len(jcs.canonicalise(draft))
    draft["end_of_life"]["aa"] += "a" * spare
    manifest = Manifest.from_bytes(jcs.canonicalise(draft))
    assert len(manifest.raw) == MAX_MANIFEST_BYTES
    seeds = tuple(keys.seed(f"organiser {i}") for i in range(MAX_ORGANISERS))
    assert len(manifests.manifest_notice(manifest, seeds).to_bytes()) < MAX_ENTRY_BYTES


def test_types_belong_to_roles() -> None:
    for role in ("organiser", "issuer", "trustee", "ledger", "verifier", ""):
        for _, type in TYPES:
            if (role, type) not in TYPES:
                with pytest.raises(MalformedError, match="unknown for this role"):
                    check_body(role, type, {})


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(MEMBERS), JSON_VALUES, max_size=5))
def test_any_body_is_good_or_malformed(kind: tuple[str, str], body: dict[str, Any]) -> None:
    with contextlib.suppress(MalformedError):
        check_body(*kind, body)


@given(st.sampled_from((FIRST, UPDATE)).flatmap(lambda statement: spoilt_bytes(statement.to_bytes())))
def test_any_bytes_are_a_statement_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Statement.from_bytes(data).to_bytes() == data
