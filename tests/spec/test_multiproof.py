from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_merkle
from headcount_spec import merkle
from headcount_spec.errors import ProofError
from headcount_spec.multiproof import prove_leaves, root_from_leaves

ENTRIES = [b"pledge-%d" % i for i in range(40)]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRIES]
ROOTS = [reference_merkle.mth(ENTRIES[:size]) for size in range(len(ENTRIES) + 1)]


def proof_of(indices: list[int], size: int) -> list[bytes]:
    return prove_leaves(merkle.subtrees(HASHES[:size]), indices, size)


def leaves_of(indices: list[int]) -> list[tuple[int, merkle.LeafHash]]:
    return [(index, HASHES[index]) for index in indices]


@st.composite
def shown(draw: st.DrawFn) -> tuple[int, list[int]]:
    size = draw(st.integers(1, len(ENTRIES)))
    return size, sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=8)))


@given(shown())
def test_leaves_lead_to_the_root_and_no_hash_is_spare(case: tuple[int, list[int]]) -> None:
    size, indices = case
    proof = proof_of(indices, size)
    assert root_from_leaves(proof, leaves_of(indices), size) == ROOTS[size]
    with pytest.raises(ProofError, match="long"):
        root_from_leaves([*proof, bytes(32)], leaves_of(indices), size)
    if proof:
        with pytest.raises(ProofError, match="short"):
            root_from_leaves(proof[:-1], leaves_of(indices), size)


@given(shown(), st.data())
def test_another_leaf_hash_or_index_leads_elsewhere(case: tuple[int, list[int]], data: st.DataObject) -> None:
    size, indices = case
    proof = proof_of(indices, size)
    leaves = leaves_of(indices)
    at = data.draw(st.integers(0, len(leaves) - 1))
    leaves[at] = (leaves[at][0], merkle.LeafHash(bytes(32)))
    assert root_from_leaves(proof, leaves, size) != ROOTS[size]
    if indices[-1] + 1 < size:
        moved = [*leaves_of(indices)[:-1], (indices[-1] + 1, HASHES[indices[-1]])]
        with contextlib.suppress(ProofError):
            assert root_from_leaves(proof, moved, size) != ROOTS[size]


def test_one_leaf_needs_the_hashes_of_an_inclusion_proof_and_all_need_none() -> None:
    for size in range(1, 20):
        for index in range(size):
            assert sorted(proof_of([index], size)) == sorted(reference_merkle.path(index, ENTRIES[:size]))
        assert proof_of(list(range(size)), size) == []


def test_many_neighbours_share_hashes() -> None:
    alone = sum(len(reference_merkle.path(index, ENTRIES)) for index in (7, 8, 9, 30))
    assert len(proof_of([7, 8, 9, 30], 40)) < alone / 2


@pytest.mark.parametrize("indices", [[], [5], [-1], [1, 1], [2, 1], [0, 7]])
def test_leaves_that_are_no_leaves_are_refused(indices: list[int]) -> None:
    with pytest.raises(ProofError):
        root_from_leaves([bytes(32)] * 3, leaves_of(indices), 5)
    with pytest.raises(ValueError, match="no such leaves"):
        proof_of(indices, 5)


def test_hashes_of_another_length_are_refused() -> None:
    with pytest.raises(ProofError, match="32 bytes"):
        root_from_leaves([bytes(31)], leaves_of([0]), 2)
    with pytest.raises(ProofError, match="32 bytes"):
        root_from_leaves([bytes(32)], [(0, merkle.LeafHash(b""))], 2)


def test_a_tree_beyond_all_sizes_costs_no_more_than_its_height() -> None:
    with pytest.raises(ProofError):
        root_from_leaves([bytes(32)] * 62, [(5, HASHES[5])], merkle.MAX_SIZE)
    with pytest.raises(ProofError, match="below"):
        root_from_leaves([], [(5, HASHES[5])], merkle.MAX_SIZE + 1)
