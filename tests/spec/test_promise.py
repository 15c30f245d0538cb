from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from headcount_spec.errors import MalformedError, SignatureError
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Nullifier
from headcount_spec.promise import (
    KIND_PLEDGE,
    KIND_REVISION,
    PROMISE_BYTES,
    Promise,
    sign_promise,
    verify_promise,
)
from mutations import spoilt_bytes

KEY = manifests.LEDGER_KEY
PLEDGE = manifests.pledge(manifests.manifest(), 0)
PROMISE = sign_promise(KEY, leaf_hash(PLEDGE.to_bytes()), KIND_PLEDGE, PLEDGE.nullifier, 0, 20600)


def test_the_same_entry_gets_the_same_promise() -> None:
    again = sign_promise(KEY, PROMISE.leaf_hash, KIND_PLEDGE, PROMISE.nullifier, 0, 20600)
    assert again.to_bytes() == PROMISE.to_bytes()
    assert len(again.to_bytes()) == PROMISE_BYTES


def test_every_field_is_signed() -> None:
    key = KEY.verification_key
    assert verify_promise(PROMISE, key) is PROMISE
    for changes in (
        {"leaf_hash": bytes(32)},
        {"kind": KIND_REVISION},
        {"nullifier": bytes(32)},
        {"serial": 1},
        {"deadline": 20601},
    ):
        with pytest.raises(SignatureError):
            verify_promise(dataclasses.replace(PROMISE, **changes), key)


@given(st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_a_promise_is_read_as_written(serial: int, deadline: int) -> None:
    promise = sign_promise(KEY, PROMISE.leaf_hash, KIND_REVISION, Nullifier(bytes(32)), serial, deadline)
    assert Promise.from_bytes(promise.to_bytes()) == promise


@given(spoilt_bytes(PROMISE.to_bytes()))
def test_any_bytes_are_a_promise_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Promise.from_bytes(data).to_bytes() == data
