from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import manifests
from headcount_spec.batch import check_order, order
from headcount_spec.entry import Entry
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.revision import Revision
from headcount_spec.seal import GENESIS, Seal

FIRST, SECOND = manifests.manifest(), manifests.manifest(2)
PLEDGES = [manifests.pledge(manifest, i) for manifest in (FIRST, SECOND) for i in range(3)]
REVISIONS = [manifests.revision(PLEDGES[i], i, serial) for i in range(2) for serial in (2, 1)]
NOTICES = [manifests.manifest_notice(FIRST), *manifests.openings(SECOND)]
SEAL = Seal(0, 0, 6, 6, 20000, GENESIS, GENESIS, GENESIS, bytes(32), bytes(32))
ENTRIES: list[Entry] = [*PLEDGES, *REVISIONS, *NOTICES, SEAL]
ORDERED = order(ENTRIES)


def test_pledges_then_revisions_then_notices_then_the_seal() -> None:
    pledges, revisions, notices = ORDERED[:6], ORDERED[6:10], ORDERED[10:13]
    nullifiers = [entry.nullifier for entry in pledges if isinstance(entry, Pledge)]
    serials = [(entry.nullifier, entry.serial) for entry in revisions if isinstance(entry, Revision)]
    leaves = [leaf_hash(entry.to_bytes()) for entry in notices]
    assert len(nullifiers) == 6
    assert nullifiers == sorted(nullifiers)
    assert len(serials) == 4
    assert serials == sorted(serials)
    assert leaves == sorted(leaves)
    assert ORDERED[13:] == [SEAL]


@given(st.permutations(ENTRIES))
def test_the_order_does_not_depend_on_the_arrival(entries: list[Entry]) -> None:
    assert order(entries) == ORDERED
    assert (check_order(entries) is None) == (entries == ORDERED)


@given(st.integers(0, 12))
def test_the_first_violation_is_named(i: int) -> None:
    swapped = list(ORDERED)
    swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
    assert check_order(swapped) == i + 1


def test_nothing_follows_a_seal() -> None:
    assert check_order([SEAL, SEAL]) == 1
    assert check_order([PLEDGES[0], SEAL, PLEDGES[0]]) == 2


def test_the_same_twice_is_another_fault() -> None:
    assert check_order([PLEDGES[0], PLEDGES[0]]) is None


def test_an_empty_batch_is_in_order() -> None:
    assert check_order([]) is None
