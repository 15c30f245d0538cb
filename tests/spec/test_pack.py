from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vectors
from headcount_spec import jcs, pack
from headcount_spec.errors import MalformedError, ProofError, ProtocolError, UnknownKeyError
from headcount_spec.note import SigningKey
from headcount_spec.pack import MAX_PACK_BYTES, Pack, own_policy, verify_pack
from headcount_spec.policy import Policy

CASE: dict[str, Any] = vectors.load("packs.json")["cases"][0]
DATA = str(CASE["pack"]).encode()
POLICY = Policy.from_bytes(str(CASE["policy"]).encode())
PACK = Pack.from_bytes(DATA)


def test_a_pack_has_one_spelling() -> None:
    assert PACK.to_bytes() == DATA
    for other in (
        json.dumps(json.loads(DATA)),
        json.dumps(json.loads(DATA), separators=(",", ":"), indent=0),
    ):
        with pytest.raises(MalformedError):
            Pack.from_bytes(other.encode())


def test_what_a_pack_shows() -> None:
    found = verify_pack(PACK, POLICY)
    assert (found.count.batch, found.count.gross, found.count.live) == (5, 7, 6)
    assert found.reached is not None
    assert found.closed is not None
    assert (found.reached.count.batch, found.closed.count.batch) == (2, 4)
    assert [name for name, _ in found.reached.cosignatures] == ["w0"]
    assert found.opened == {"issuer0.example": 0}
    assert sorted(found.texts) == ["en", "fr"]
    assert found.issued["issuer0.example"].body["issued"] == 16


def test_the_terms_name_keys_of_their_own() -> None:
    assert verify_pack(PACK, own_policy(PACK)).count == verify_pack(PACK, POLICY).count
    with pytest.raises(MalformedError):
        own_policy(dataclasses.replace(PACK, scope_id=bytes(32)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["leaves", "hashes", "totals", "archived"])
def test_nothing_can_be_left_out_or_stand_twice(name: str) -> None:
    items = getattr(PACK, name)
    for at in range(len(items)):
        for changed in ((*items[:at], *items[at + 1 :]), (*items[: at + 1], *items[at:])):
            data = dataclasses.replace(PACK, **{name: changed}).to_bytes()
            with pytest.raises(ProtocolError):
                verify_pack(Pack.from_bytes(data), POLICY)


def test_no_byte_of_what_is_shown_can_be_changed() -> None:
    for at, (index, entry) in enumerate(PACK.leaves):
        bent = bytearray(entry)
        bent[len(bent) // 2] ^= 1
        leaves = (*PACK.leaves[:at], (index, bytes(bent)), *PACK.leaves[at + 1 :])
        with pytest.raises(ProofError):
            verify_pack(dataclasses.replace(PACK, leaves=leaves), POLICY)


@given(st.binary(max_size=300) | st.integers(0, len(DATA) - 1))
def test_any_bytes_are_a_pack_or_malformed(given_: bytes | int) -> None:
    data = given_ if isinstance(given_, bytes) else DATA[:given_] + b"A" + DATA[given_ + 1 :]
    with contextlib.suppress(MalformedError):
        assert Pack.from_bytes(data).to_bytes() == data


@given(st.data())
def test_a_bent_pack_is_refused_by_name(data: st.DataObject) -> None:
    whole = value = json.loads(DATA)
    name = data.draw(st.sampled_from(sorted(value)))
    json_values = st.recursive(
        st.none() | st.integers(-5, 5) | st.text("ab=/", max_size=8),
        lambda child: st.lists(child, max_size=3),
    )
    at: Any = name
    if isinstance(value[name], list) and value[name]:
        value, at = value[name], data.draw(st.integers(0, len(value[name]) - 1))
    value[at] = data.draw(json_values.filter(lambda v: v != value[at]))
    with pytest.raises(ProtocolError):
        verify_pack(Pack.from_bytes(jcs.canonicalise(whole)), POLICY)


def test_a_pack_has_a_largest_size() -> None:
    with pytest.raises(MalformedError):
        Pack.from_bytes(b" " * (MAX_PACK_BYTES + 1))
    with pytest.raises(MalformedError):
        dataclasses.replace(PACK, totals=(bytes(MAX_PACK_BYTES),)).to_bytes()


def test_the_scope_counts_in_a_ledger_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    # A policy may know several keys of one origin, and the terms another than they name.
    first, manifest = pack.manifest_in(pack._split(PACK.leaves)[0], PACK.scope_id)
    key = SigningKey(manifest.ledger.key.name, bytes(32)).verification_key
    terms = dataclasses.replace(manifest, ledger=dataclasses.replace(manifest.ledger, key=key))
    monkeypatch.setattr(pack, "manifest_in", lambda notices, scope_id: (first, terms))
    with pytest.raises(UnknownKeyError, match="another ledger"):
        verify_pack(PACK, POLICY)


def test_an_entry_is_not_longer_than_entries_are() -> None:
    index, entry = PACK.leaves[0]
    long = dataclasses.replace(PACK, leaves=((index, entry + bytes(65536)), *PACK.leaves[1:]))
    with pytest.raises(MalformedError, match="longer than"):
        Pack.from_bytes(long.to_bytes())
