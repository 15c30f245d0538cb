from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from headcount_spec.errors import MalformedError, SignatureError
from headcount_spec.link import LINK_BYTES, TOKEN_CHARS, Link, sign_link
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_base64url, encode_base64url

MANIFEST = manifests.manifest()
KEYS = MANIFEST.organisers.keys
LINK = sign_link(MANIFEST.scope_id, 0, manifests.ORGANISER_SEEDS[0], bytes(range(8)), 500, 20_000)


def test_a_link_keeps_its_form_and_is_its_organisers():
    token = LINK.to_token()
    assert len(token) == TOKEN_CHARS
    assert "=" not in token
    assert Link.from_token(token) == LINK
    LINK.check(MANIFEST.scope_id, KEYS)


@pytest.mark.parametrize(
    "changes",
    [{"id": bytes(8)}, {"cap": 501}, {"cap": 0}, {"last_day": 20_001}, {"signature": bytes(64)}, {"key": 1}],
)
def test_nothing_of_it_can_be_changed(changes: dict[str, object]):
    changed = dataclasses.replace(LINK, **changes)  # type: ignore[arg-type]
    with pytest.raises(SignatureError):
        changed.check(MANIFEST.scope_id, KEYS)


def test_it_is_of_one_scope_alone():
    other = ScopeId(MANIFEST.scope_id[:8] + bytes(24))  # the same first bytes
    with pytest.raises(SignatureError):
        LINK.check(other, KEYS)
    with pytest.raises(MalformedError):
        LINK.check(ScopeId(bytes(32)), KEYS)


@given(st.integers(0, LINK_BYTES * 8 - 1))
def test_every_bit_counts(bit: int):
    data = bytearray(decode_base64url(LINK.to_token()))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, SignatureError)):
        Link.from_token(encode_base64url(bytes(data))).check(MANIFEST.scope_id, KEYS)


@given(st.text() | st.binary(min_size=LINK_BYTES, max_size=LINK_BYTES).map(encode_base64url))
def test_any_text_is_a_link_or_malformed(text: str):
    try:
        found = Link.from_token(text)
    except MalformedError:
        return
    assert found.to_token() == text
