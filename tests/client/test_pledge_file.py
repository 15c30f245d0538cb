from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
import manifests
from headcount import PledgeFile, PledgeStore, private_file
from headcount.pledge_file import Change, Step
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import nonce
from headcount_spec.promise import sign_promise
from headcount_spec.scope import WITHDRAWN
from headcount_spec.signature import verify

POLICY = b"log " + manifests.LEDGER_KEY.verification_key.to_text().encode() + b"\nquorum none\n"


def content(**changes: Any) -> PledgeFile:
    made = PledgeFile(
        ledger="http://localhost:8000/ledger",
        policy=POLICY,
        manifest=manifests.manifest(2),
        choice=0,
        seed=keys.seed("pledge file"),
        checkpoint=b"not looked at here",
        steps=(Step(), Step()),
    )
    return replace(made, **changes)


def finished() -> PledgeFile:
    made = content(
        steps=(Step(authenticator=bytes(256)), Step(authenticator=b"\1" * 256)),
        since=7,
        verifier="http://localhost:8000",
        standing=1,
    )
    promise = sign_promise(
        manifests.LEDGER_KEY, leaf_hash(made.pledge().to_bytes()), 1, made.nullifier, 0, 20_000
    )
    changes = (Change(1, WITHDRAWN, promise), Change(2, 0))
    return replace(made, promise=promise, changes=changes)


@pytest.mark.parametrize("made", [content(), content(steps=(Step(session="a.b~c="), Step())), finished()])
def test_a_pledge_file_comes_back_as_it_was(made: PledgeFile) -> None:
    assert PledgeFile.from_bytes(made.to_bytes()) == made


def test_the_pledge_follows_from_the_seed() -> None:
    made = finished()
    pledge = made.pledge()
    assert pledge.nullifier == made.nullifier
    assert made.nullifier == nonce(made.manifest.scope_id, 0, made.revision_key, bytes(32))
    revision = made.revision(made.changes[0])
    verify(made.revision_key, revision.signed_message, revision.signature)
    assert replace(made, choice=1).nullifier != made.nullifier


def test_an_unfinished_pledge_is_no_entry() -> None:
    made = content(steps=(Step(authenticator=bytes(256)), Step()))
    assert not made.is_proved
    with pytest.raises(ConfigurationError, match="not finished"):
        made.pledge()


def test_secrets_are_not_in_the_repr() -> None:
    made = content(steps=(Step(session="hush"), Step(authenticator=b"A" * 256)))
    assert "hush" not in repr(made)
    assert "AAAA" not in repr(made)
    assert repr(made.seed) not in repr(made)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("headcount_pledge", 2),
        ("headcount_pledge", "1"),
        ("seed", "AAAA"),
        ("seed", None),
        ("choice", 65536),
        ("choice", True),
        ("policy", "eA=="),
        ("manifest", "e30="),
        ("issuers", [{}]),
        ("issuers", [{}, {"session": "a b"}]),
        ("issuers", [{}, {"authenticator": "AAAA"}]),
        ("issuers", [{}, {"else": 1}]),
        ("since", -1),
        ("promise", "AAAA"),
        ("changes", [{"serial": 0, "choice": 0}]),
        ("changes", [{"serial": 1, "choice": 0, "promise": "AAAA"}]),
        ("standing", 17),
        ("unknown", 1),
    ],
)
def test_a_member_out_of_range_is_malformed(name: str, value: object) -> None:
    data = json.loads(finished().to_bytes())
    data[name] = value
    with pytest.raises(MalformedError):
        PledgeFile.from_bytes(json.dumps(data).encode())


@pytest.mark.parametrize("name", sorted(json.loads(content().to_bytes())))
def test_a_missing_member_is_malformed(name: str) -> None:
    data = json.loads(content().to_bytes())
    del data[name]
    with pytest.raises(MalformedError):
        PledgeFile.from_bytes(json.dumps(data).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_pledge_file_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        PledgeFile.from_bytes(data)


@given(st.integers(0, len(finished().to_bytes()) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_malformed(place: int, byte: int) -> None:
    data = bytearray(finished().to_bytes())
    data[place] = byte
    try:
        read = PledgeFile.from_bytes(bytes(data))
    except MalformedError:
        return
    assert PledgeFile.from_bytes(read.to_bytes()) == read


def test_a_store_reads_what_it_wrote(tmp_path: Path) -> None:
    store = PledgeStore(tmp_path / "me.pledge")
    assert not store.exists()
    store.create(content())
    store.save(finished())
    assert store.load() == finished()
    assert PledgeStore.at(store) is store


def test_a_store_never_creates_over_a_file(tmp_path: Path) -> None:
    store = PledgeStore(tmp_path / "me.pledge")
    store.create(finished())
    with pytest.raises(ConfigurationError, match="exists"):
        store.create(content())
    assert store.load() == finished()
    assert os.listdir(tmp_path) == ["me.pledge"]


def test_a_file_that_could_not_be_read_again_is_not_begun(tmp_path: Path) -> None:
    store = PledgeStore(tmp_path / "me.pledge")
    with pytest.raises(MalformedError):
        store.create(content(ledger="/home/e\u0301"))  # not NFC
    assert not store.exists()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff", bytes(2**20 + 1)], ids=["empty", "object", "octet", "long"]
)
def test_another_kind_of_file_is_a_configuration_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "me.pledge").write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"me\.pledge"):
        PledgeStore(tmp_path / "me.pledge").load()


# Private files.


@pytest.mark.parametrize("place", [private_file.create, private_file.write])
def test_private_files_are_their_owners_alone(tmp_path: Path, place: Any) -> None:
    before = os.umask(0)
    try:
        place(tmp_path / "secret", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert private_file.read(tmp_path / "secret") == b"data"


@pytest.mark.parametrize("place", [private_file.create, private_file.write])
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, place: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot write"):
        place(tmp_path / "none" / "secret", b"data")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()  # a rename onto a folder fails after the temporary file is complete
    with pytest.raises(ConfigurationError):
        private_file.write(tmp_path / "secret", b"data")
    assert os.listdir(tmp_path) == ["secret"]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read none"):
        private_file.read(tmp_path / "none")
