from __future__ import annotations

import pytest

from headcount_spec import merkle

LEAVES = [merkle.leaf_hash(b"pledge-%d" % i) for i in range(5)]

# The entries pledge-0 … pledge-4, hashed by another implementation.
LEAF_HASHES = [
    "1bf9c1fefc70b54a6df62a32bad5c98fb4dc7d466c0f0d1e19ef8075e2f5d682",
    "617ea34fb49f59e3244fe28a5bcc27c6e19cf3f215461dc010c4e5efce4cbd52",
    "071ede606c6092d14b2ceb5cdedd2633a0fa53d731dbf4ed71c116482988a481",
    "4cc58ad2aabf6ebda78eb82429104b9418df37f680695cf1c263d4df96b84259",
    "5505ff9737064af3da1b48f58ee548b17211e4834634aa03062c300edc465f7a",
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    LEAF_HASHES[0],
    "e4726adec1ea91222ee0633b0a4e0c9a96e56a61974934a69d36b2883213bb7c",
    "89588dc2e9aceef14d0e9b05698fd6dfa230f7ef2405cf2ac7b6bf3ee6c7582a",
    "0a69ed8ab6fbc68b91bca26795f6d80c121c05ffeafd703ac23690f6fb1f0a61",
    "b262b45bca5da47478c3881103457c466097b5c3feb3b2afd0e5aae345c9ef50",
]

# Entries and roots of github.com/transparency-dev/merkle, testonly/constants.go.
CT_ENTRIES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_leaf_hashes_and_roots() -> None:
    assert [h.hex() for h in LEAVES] == LEAF_HASHES
    assert [merkle.root(LEAVES[:n]).hex() for n in range(6)] == ROOTS
    assert merkle.EMPTY_ROOT.hex() == ROOTS[0]


def test_the_entries_of_certificate_transparency() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(e)) for e in CT_ENTRIES]
    assert [merkle.root(leaves[: n + 1]).hex() for n in range(8)] == CT_ROOTS


def test_inclusion_of_leaf_2_in_5() -> None:
    path = merkle.inclusion_path(LEAVES, 2)
    assert [h.hex() for h in path] == [LEAF_HASHES[3], ROOTS[2], LEAF_HASHES[4]]
    merkle.verify_inclusion(path, 2, 5, LEAVES[2], merkle.root(LEAVES))


def test_consistency_from_3_to_5() -> None:
    proof = merkle.consistency_path(LEAVES, 3)
    assert [h.hex() for h in proof] == [LEAF_HASHES[2], LEAF_HASHES[3], ROOTS[2], LEAF_HASHES[4]]
    merkle.verify_consistency(proof, 3, 5, merkle.root(LEAVES[:3]), merkle.root(LEAVES))


@pytest.mark.parametrize(
    ("index", "size", "letters"),
    [(0, 7, "bhl"), (3, 7, "cgl"), (4, 7, "fjk"), (6, 7, "ik")],
)
def test_the_audit_paths_of_section_2_1_3(index: int, size: int, letters: str) -> None:
    # The tree of RFC 6962, Section 2.1.3: leaves a b c d e f j; g = (a b), h = (c d), i = (e f),
    # k = (g h), l = (i j). The RFC's names of nodes, applied to seven entries.
    a, b, c, d, e, f, j = (merkle.leaf_hash(b"%d" % i) for i in range(7))
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)  # noqa: E741
    node = dict(zip("abcdefghijkl", (a, b, c, d, e, f, g, h, i, j, k, l), strict=True))
    assert merkle.inclusion_path([a, b, c, d, e, f, j], index, size) == [node[x] for x in letters]
    assert merkle.root([a, b, c, d, e, f, j]) == merkle.node_hash(k, l)


@pytest.mark.parametrize(("old_size", "letters"), [(3, "cdgl"), (4, "l"), (6, "ijk")])
def test_the_consistency_proofs_of_section_2_1_3(old_size: int, letters: str) -> None:
    a, b, c, d, e, f, j = (merkle.leaf_hash(b"%d" % i) for i in range(7))
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)  # noqa: E741
    node = dict(zip("abcdefghijkl", (a, b, c, d, e, f, g, h, i, j, k, l), strict=True))
    assert merkle.consistency_path([a, b, c, d, e, f, j], old_size) == [node[x] for x in letters]
