from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

import manifests
from headcount_spec import signature
from headcount_spec.errors import MalformedError
from headcount_spec.pledge import Nullifier
from headcount_spec.revision import MAX_SERIAL, Revision
from headcount_spec.scope import ScopeId
from mutations import spoilt_bytes

PLEDGE = manifests.pledge(manifests.manifest(), 0)
REVISION = manifests.revision(PLEDGE, 0)

bytes32 = st.binary(min_size=32, max_size=32)
revisions = st.builds(
    Revision,
    scope_id=bytes32.map(ScopeId),
    nullifier=bytes32.map(Nullifier),
    serial=st.integers(1, MAX_SERIAL),
    choice=st.integers(0, 0xFFFF),
    sealed_hash=bytes32,
    signature=st.binary(min_size=64, max_size=64),
)


def test_the_signature_covers_every_field_under_the_domain() -> None:
    data = REVISION.to_bytes()
    assert len(data) == 168
    assert REVISION.signed_message == b"headcount/revision/v1\x00" + data[2:104]
    signature.verify(PLEDGE.revision_key, REVISION.signed_message, REVISION.signature)


@given(revisions)
def test_a_revision_is_read_as_written(revision: Revision) -> None:
    assert Revision.from_bytes(revision.to_bytes()) == revision


@given(spoilt_bytes(REVISION.to_bytes()))
def test_any_bytes_are_a_revision_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert Revision.from_bytes(data).to_bytes() == data
