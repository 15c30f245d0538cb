from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from headcount_spec.entry import MAX_ENTRY_BYTES, Entry, parse_entry
from headcount_spec.errors import MalformedError
from headcount_spec.seal import GENESIS, Seal
from mutations import spoilt_bytes

MANIFEST = manifests.manifest()
PLEDGE = manifests.pledge(MANIFEST, 0)
ENTRIES: list[Entry] = [
    PLEDGE,
    Seal(0, 0, 1, 1, 20000, GENESIS, GENESIS, GENESIS, bytes(32), bytes(32)),
    manifests.revision(PLEDGE, 0),
    manifests.manifest_notice(MANIFEST),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_each_type_is_read_by_its_first_bytes(entry: Entry) -> None:
    assert parse_entry(entry.to_bytes()) == entry


def test_an_unknown_type_or_version_fails_closed() -> None:
    for first in range(256):
        for version in (0, 1, 2, 255):
            if not (1 <= first <= 4 and version == 1):
                with pytest.raises(MalformedError, match="unknown entry"):
                    parse_entry(bytes((first, version)) + PLEDGE.to_bytes()[2:])


def test_an_entry_that_no_bundle_can_carry_is_refused() -> None:
    with pytest.raises(MalformedError, match="65535"):
        parse_entry(b"\x01\x01" + bytes(MAX_ENTRY_BYTES - 1))


@given(st.sampled_from([entry.to_bytes() for entry in ENTRIES]).flatmap(spoilt_bytes))
def test_any_bytes_are_an_entry_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert parse_entry(data).to_bytes() == data
