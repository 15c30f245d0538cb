from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
import manifests
from headcount_spec import blind_rsa, spki
from headcount_spec.errors import MalformedError
from headcount_spec.pledge import Nullifier, Pledge, nonce, read_nullifier
from headcount_spec.scope import ScopeId
from mutations import spoilt_bytes

MANIFEST = manifests.manifest(2)
PLEDGE = manifests.pledge(MANIFEST, 0)

pledges = st.builds(
    Pledge,
    scope_id=st.binary(min_size=32, max_size=32).map(ScopeId),
    choice=st.integers(0, 0xFFFF),
    revision_key=st.binary(min_size=32, max_size=32),
    sealed_hash=st.binary(min_size=32, max_size=32),
    authenticators=st.lists(st.binary(min_size=256, max_size=256), min_size=1, max_size=8).map(tuple),
)


def test_the_layout() -> None:
    data = PLEDGE.to_bytes()
    assert data[:2] == b"\x01\x01"
    assert data[2:34] == MANIFEST.scope_id
    assert data[34:36] == b"\x00\x00"
    assert data[36:68] == PLEDGE.revision_key
    assert data[68:100] == bytes(32)
    assert data[100] == 2
    assert data[101:] == b"".join(PLEDGE.authenticators)


def test_the_nullifier_is_the_nonce_of_every_field_but_the_authenticators() -> None:
    expected = hashlib.sha256(b"headcount/pledge/v1\x00" + PLEDGE.to_bytes()[2:100]).digest()
    assert PLEDGE.nullifier == expected
    assert dataclasses.replace(PLEDGE, authenticators=(bytes(256),)).nullifier == expected
    others: set[Nullifier] = {
        dataclasses.replace(PLEDGE, scope_id=ScopeId(bytes(32))).nullifier,
        dataclasses.replace(PLEDGE, choice=1).nullifier,
        dataclasses.replace(PLEDGE, revision_key=bytes(32)).nullifier,
        dataclasses.replace(PLEDGE, sealed_hash=b"\x01" * 32).nullifier,
    }
    assert len(others | {PLEDGE.nullifier}) == 5


def test_the_factory_signs_as_issuers_do() -> None:
    for issuer, message, authenticator in zip(
        MANIFEST.issuers, MANIFEST.token_inputs(PLEDGE.nullifier), PLEDGE.authenticators, strict=True
    ):
        blind_rsa.verify(spki.decode_token_key(issuer.token_key), message, authenticator)


def test_a_choice_of_more_than_16_bits_is_a_bug() -> None:
    with pytest.raises(OverflowError):
        nonce(bytes(32), 0x10000, keys.seed("key"), bytes(32))


@given(pledges)
def test_a_pledge_is_read_as_written(pledge: Pledge) -> None:
    assert Pledge.from_bytes(pledge.to_bytes()) == pledge


@given(spoilt_bytes(PLEDGE.to_bytes()))
def test_any_bytes_are_a_pledge_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Pledge.from_bytes(data).to_bytes() == data


@given(pledges)
def test_a_nullifier_is_read_as_a_pledge_says_it(pledge: Pledge) -> None:
    assert read_nullifier(pledge.to_bytes()) == pledge.nullifier


@given(spoilt_bytes(PLEDGE.to_bytes()))
def test_a_nullifier_is_read_of_nothing_else(data: bytes) -> None:
    try:
        pledge = Pledge.from_bytes(data)
    except MalformedError as exc:
        with pytest.raises(MalformedError, match=re.escape(str(exc))):
            read_nullifier(data)
    else:
        assert read_nullifier(data) == pledge.nullifier
