from __future__ import annotations

import pytest

import parts
from headcount_spec import merkle

try:
    import pymerkle
except ImportError:
    pymerkle = None

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 70]
ENTRIES = [b"entry %d" % i for i in range(70)]
LEAVES = [merkle.leaf_hash(e) for e in ENTRIES]


@pytest.fixture(scope="module")
def tree():
    parts.require(pymerkle, "pymerkle")
    return pymerkle.InmemoryTree.init_from_entries(ENTRIES, algorithm="sha256")


@pytest.mark.parametrize("size", SIZES)
def test_it_finds_our_root(tree, size: int) -> None:
    assert tree.get_root(size) == merkle.root(LEAVES[:size])
    assert tree.get_leaf(size) == LEAVES[size - 1]


@pytest.mark.parametrize("size", SIZES)
def test_its_inclusion_proofs_and_ours_check_each_other(tree, size: int) -> None:
    root = merkle.root(LEAVES[:size])
    for index in range(size):
        theirs = tree.prove_inclusion(index + 1, size)  # counts from one, and begins with the leaf
        ours = merkle.inclusion_path(LEAVES[:size], index)
        assert theirs.path[1:] == ours
        merkle.verify_inclusion(theirs.path[1:], index, size, LEAVES[index], root)
        built = pymerkle.InclusionProof("sha256", True, size, index + 1, theirs.rule, [LEAVES[index], *ours])
        pymerkle.verify_inclusion(LEAVES[index], root, built, index + 1, size)
        with pytest.raises(pymerkle.InvalidProof):
            pymerkle.verify_inclusion(LEAVES[index], bytes(32), built, index + 1, size)


@pytest.mark.parametrize("size", SIZES)
def test_its_consistency_proofs_hold_between_our_roots(tree, size: int) -> None:
    new_root = merkle.root(LEAVES[:size])
    for old_size in range(1, size + 1):
        old_root = merkle.root(LEAVES[:old_size])
        theirs = tree.prove_consistency(old_size, size)
        pymerkle.verify_consistency(old_root, new_root, theirs, old_size, size)
        # Its consistency paths are its own, longer than RFC 6962's: only the roots can be shared.
        ours = merkle.consistency_path(LEAVES, old_size, size)
        merkle.verify_consistency(ours, old_size, size, tree.get_root(old_size), tree.get_root(size))
