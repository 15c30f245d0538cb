from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_merkle as reference
from headcount_spec import merkle
from headcount_spec.errors import MalformedError, ProofError
from headcount_spec.merkle import CompactRange, RootHash

ENTRIES = [b"pledge-%d" % i for i in range(70)]
LEAVES = [merkle.leaf_hash(e) for e in ENTRIES]


def tree(size: int) -> list[merkle.LeafHash]:
    return [merkle.leaf_hash(b"%d" % i) for i in range(size)]


@pytest.mark.parametrize("size", [*range(71)])
def test_roots_and_proofs_are_those_of_the_recursion(size: int) -> None:
    entries, leaves = ENTRIES[:size], LEAVES[:size]
    root = merkle.root(leaves)
    assert root == reference.mth(entries)
    for index in range(size):
        path = merkle.inclusion_path(leaves, index)
        assert path == reference.path(index, entries)
        merkle.verify_inclusion(path, index, size, leaves[index], root)
    for old_size in range(1, size + 1):
        proof = merkle.consistency_path(leaves, old_size)
        assert proof == reference.proof(old_size, entries)
        merkle.verify_consistency(proof, old_size, size, merkle.root(leaves[:old_size]), root)


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513, 1023, 1025])
def test_proofs_around_powers_of_two(size: int) -> None:
    entries = [b"%d" % i for i in range(size)]
    leaves = tree(size)
    root = merkle.root(leaves)
    assert root == reference.mth(entries)
    for place in {0, 1, 127, 128, 254, size // 2, size - 2, size - 1}:
        path = merkle.inclusion_path(leaves, place)
        assert path == reference.path(place, entries)
        merkle.verify_inclusion(path, place, size, leaves[place], root)
        proof = merkle.consistency_path(leaves, place + 1)
        assert proof == reference.proof(place + 1, entries)
        merkle.verify_consistency(proof, place + 1, size, merkle.root(leaves[: place + 1]), root)


def test_roots_around_65536_grow_from_one_range() -> None:
    leaves = tree(65537)
    entries = [b"%d" % i for i in range(65537)]
    grown = CompactRange()
    grown.extend(leaves[:65535])
    for size in (65535, 65536, 65537):
        assert grown.size == size
        assert grown.root() == merkle.root(leaves[:size]) == reference.mth(entries[:size])
        grown.append(leaves[size % 65537])


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_range_grows_in_any_steps(steps: list[int]) -> None:
    grown, size = CompactRange(), 0
    leaves = tree(320)
    for step in steps:
        grown.extend(leaves[size : size + step])
        size += step
    assert grown.size == size
    assert grown.root() == merkle.root(leaves[:size])
    stored = CompactRange.from_hashes(size, grown.hashes)
    copied = grown.copy()
    for other in (stored, copied):
        other.append(leaves[-1])
        assert other.root() == merkle.root([*leaves[:size], leaves[-1]])
    assert grown.size == size


@pytest.mark.parametrize(
    ("size", "hashes"),
    [
        (0, [bytes(32)]),
        (3, [bytes(32)]),
        (3, [bytes(32)] * 3),
        (1, [bytes(31)]),
        (-1, []),
        (2**63, [bytes(32)]),
    ],
)
def test_a_range_that_does_not_fit_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(MalformedError):
        CompactRange.from_hashes(size, hashes)


def test_a_root_is_folded_from_perfect_subtrees() -> None:
    for size in (0, 1, 2, 7, 64, 70):
        assert merkle.root_from_subtrees(merkle.subtrees(LEAVES), size) == merkle.root(LEAVES[:size])


def test_proofs_come_from_a_subtree_function_too() -> None:
    subtree = merkle.subtrees(LEAVES)
    assert merkle.inclusion_path(subtree, 3, 50) == merkle.inclusion_path(LEAVES[:50], 3)
    assert merkle.consistency_path(subtree, 3, 50) == merkle.consistency_path(LEAVES, 3, 50)
    with pytest.raises(ValueError, match="needs a size"):
        merkle.inclusion_path(subtree, 3)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_no_path_to_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.inclusion_path(LEAVES[:size], index)


@pytest.mark.parametrize("old_size", [-1, 6])
def test_no_proof_from_a_tree_that_never_was(old_size: int) -> None:
    with pytest.raises(ValueError, match="no such tree"):
        merkle.consistency_path(LEAVES[:5], old_size)


def mutations(proof: list[bytes]) -> list[list[bytes]]:
    changed = [[*proof, bytes(32)], [bytes(32), *proof]]
    for i, h in enumerate(proof):
        flipped = bytes([h[0] ^ 1]) + h[1:]
        changed += [[*proof[:i], flipped, *proof[i + 1 :]], proof[:i] + proof[i + 1 :]]
        changed += [[*proof[:i], h[:31], *proof[i + 1 :]], [*proof[:i], h + b"\0", *proof[i + 1 :]]]
    if len(proof) > 1:
        changed += [proof[::-1], proof + proof]
    return changed


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 31])
def test_changed_inclusion_proofs_are_refused(size: int) -> None:
    leaves = LEAVES[:size]
    root = merkle.root(leaves)
    for index in range(size):
        path = merkle.inclusion_path(leaves, index)
        for changed in mutations(path):
            with pytest.raises(ProofError):
                merkle.verify_inclusion(changed, index, size, leaves[index], root)
        for other in (index - 1, index + 1, size):
            with pytest.raises(ProofError):
                merkle.verify_inclusion(path, other, size, leaves[index], root)
        with pytest.raises(ProofError):
            merkle.verify_inclusion(path, index, size, LEAVES[-1], root)
        with pytest.raises(ProofError):
            merkle.verify_inclusion(path, index, 0, leaves[index], root)


@pytest.mark.parametrize("size", [2, 3, 5, 8, 13, 31])
def test_changed_consistency_proofs_are_refused(size: int) -> None:
    new_root = merkle.root(LEAVES[:size])
    other = RootHash(bytes(32))
    for old_size in range(1, size):
        old_root = merkle.root(LEAVES[:old_size])
        proof = merkle.consistency_path(LEAVES, old_size, size)
        for changed in [*mutations(proof), []]:
            with pytest.raises(ProofError):
                merkle.verify_consistency(changed, old_size, size, old_root, new_root)
        for roots in ((other, new_root), (old_root, other), (new_root, old_root)):
            with pytest.raises(ProofError):
                merkle.verify_consistency(proof, old_size, size, *roots)
        with pytest.raises(ProofError):
            merkle.verify_consistency(proof, size, old_size, new_root, old_root)


def test_the_empty_tree_is_consistent_with_every_tree() -> None:
    root = merkle.root(LEAVES[:3])
    merkle.verify_consistency([], 0, 3, merkle.EMPTY_ROOT, root)
    merkle.verify_consistency([], 0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    merkle.verify_consistency([], 3, 3, root, root)
    assert merkle.consistency_path(LEAVES, 0, 3) == merkle.consistency_path(LEAVES, 3, 3) == []
    for old_size, new_size, old_root in ((0, 3, root), (0, 0, root), (3, 3, merkle.EMPTY_ROOT)):
        with pytest.raises(ProofError):
            merkle.verify_consistency([], old_size, new_size, old_root, merkle.root(LEAVES[:new_size]))
    with pytest.raises(ProofError, match="too long"):
        merkle.verify_consistency([bytes(32)], 0, 3, merkle.EMPTY_ROOT, root)


@pytest.mark.parametrize("index", [0, 1, 2**62 - 1, 2**62, 2**63 - 2])
def test_the_largest_tree_has_proofs(index: int) -> None:
    perfect: list[bytes] = [LEAVES[0]]  # the same entry in every place
    for _ in range(63):
        perfect.append(merkle.node_hash(perfect[-1], perfect[-1]))

    def subtree(level: int, _index: int) -> bytes:
        return perfect[level]

    size = merkle.MAX_SIZE
    root = merkle.root_from_subtrees(subtree, size)
    path = merkle.inclusion_path(subtree, index, size)
    merkle.verify_inclusion(path, index, size, LEAVES[0], root)
    old_root = merkle.root_from_subtrees(subtree, index)
    proof = merkle.consistency_path(subtree, index, size)
    merkle.verify_consistency(proof, index, size, old_root, root)
    with pytest.raises(ProofError):
        merkle.root_from_inclusion(path, index, size + 1, LEAVES[0])
    with pytest.raises(ProofError, match="proof is too long"):
        merkle.root_from_inclusion([bytes(32)] * 65, index, size, LEAVES[0])


@given(
    st.lists(st.binary(min_size=31, max_size=33), max_size=70),
    st.integers(-1, 2**64),
    st.integers(-1, 2**64),
)
def test_any_proof_verifies_or_is_refused(proof: list[bytes], a: int, b: int) -> None:
    root = RootHash(bytes(32))
    with pytest.raises(ProofError):
        merkle.verify_inclusion(proof, a, b, LEAVES[0], root)
    with pytest.raises(ProofError):
        merkle.verify_consistency([*proof, bytes(32)], a, b, root, merkle.EMPTY_ROOT)


def test_the_examples_of_the_module_run() -> None:
    assert doctest.testmod(merkle).failed == 0
    assert doctest.testmod(merkle).attempted > 0
