from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
from headcount_spec.deposit import ERASURE_BYTES, MAX_DEPOSIT_BYTES, Deposit, Erasure, erasure_message
from headcount_spec.errors import MalformedError
from headcount_spec.note import SigningKey
from headcount_spec.pledge import PLAIN, nonce
from headcount_spec.promise import KIND_PLEDGE, sign_promise
from headcount_spec.sealed import blob_bytes
from mutations import spoilt_bytes

SCOPE, KEY = keys.seed("scope"), keys.seed("revision key")
LEDGER = SigningKey("ledger.example", bytes(32))


def deposit(n: int = 5) -> Deposit:
    blob = bytes(blob_bytes(n))
    nullifier = nonce(SCOPE, PLAIN, KEY, hashlib.sha256(blob).digest())
    return Deposit(SCOPE, KEY, sign_promise(LEDGER, bytes(32), KIND_PLEDGE, nullifier, 0, 20_000), blob)


ERASURE = Erasure(SCOPE, KEY, keys.seed("sealed hash"), bytes(64))


@pytest.mark.parametrize("n", [1, 5, 32])
def test_a_deposit_is_read_as_written(n: int) -> None:
    found = deposit(n)
    data = found.to_bytes()
    assert Deposit.from_bytes(data) == found
    assert found.nullifier == found.promise.nullifier
    assert len(data) <= MAX_DEPOSIT_BYTES
    assert (len(data) == MAX_DEPOSIT_BYTES) == (n == 32)


def test_an_erasure_is_read_as_written() -> None:
    data = ERASURE.to_bytes()
    assert Erasure.from_bytes(data) == ERASURE
    assert len(data) == ERASURE_BYTES
    assert ERASURE.nullifier == nonce(SCOPE, PLAIN, KEY, ERASURE.sealed_hash)
    assert ERASURE.signed_message == erasure_message(SCOPE, ERASURE.nullifier)
    assert ERASURE.signed_message.startswith(b"headcount/erasure/v1\x00")


@pytest.mark.parametrize("size", [0, 1, 354, 435, blob_bytes(1) + 1, blob_bytes(33)])
def test_a_blob_of_a_size_that_no_scope_has_is_malformed(size: int) -> None:
    head = deposit().to_bytes()[: -blob_bytes(5)]
    with pytest.raises(MalformedError):
        Deposit.from_bytes(head + bytes(size))


@given(spoilt_bytes(deposit(1).to_bytes()) | st.binary(max_size=300))
def test_the_bytes_of_a_deposit_are_read_or_malformed(data: bytes) -> None:
    try:
        found = Deposit.from_bytes(data)
    except MalformedError:
        return
    assert found.to_bytes() == data


@given(spoilt_bytes(ERASURE.to_bytes()) | st.binary(max_size=300))
def test_the_bytes_of_an_erasure_are_read_or_malformed(data: bytes) -> None:
    try:
        found = Erasure.from_bytes(data)
    except MalformedError:
        return
    assert found.to_bytes() == data
