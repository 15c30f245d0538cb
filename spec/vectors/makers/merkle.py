"""Vectors of RFC 6962 trees and proofs."""

from __future__ import annotations

from typing import Any

from headcount_spec import merkle
from headcount_spec.errors import ProofError

from . import Case, fails, ok

FILE = "merkle.json"

_ENTRIES = [b"pledge-%d" % i for i in range(9)]
_LEAVES = [merkle.leaf_hash(entry) for entry in _ENTRIES]


def make() -> dict[str, Any]:
    """Roots of the first nine sizes, every proof of sizes 1 to 5, and ways in which a proof is wrong."""
    return {
        "about": "Merkle trees with SHA-256 (RFC 6962, Section 2.1) and proofs (RFC 9162, Section 2.1).",
        "source": "Made by makers/merkle.py; roots up to size 5 and the proofs 2 in 5 and 3 to 5 agree with "
        "another implementation.",
        "cases": [*_roots(), *_inclusion(), *_consistency()],
    }


def _roots() -> list[Case]:
    cases = [_root(f"root-of-{size}", _ENTRIES[:size]) for size in range(10)]
    cases.append(_root("root-of-an-empty-entry", [b""]))
    wrong = dict(_root("root-of-other-entries", _ENTRIES[:3]), root=merkle.root(_LEAVES[1:4]).hex())
    swapped = dict(_root("root-of-swapped-entries", _ENTRIES[:2]), root=merkle.root(_LEAVES[1::-1]).hex())
    return [*cases, dict(wrong, expect=ProofError.code), dict(swapped, expect=ProofError.code)]


def _root(name: str, entries: list[bytes]) -> Case:
    root = merkle.root(map(merkle.leaf_hash, entries))
    return ok(name, operation="root", entries=[e.hex() for e in entries], root=root.hex())


def _proof(index: int, size: int) -> dict[str, Any]:
    return {
        "operation": "inclusion",
        "index": index,
        "size": size,
        "leaf_hash": _LEAVES[index].hex(),
        "root": merkle.root(_LEAVES[:size]).hex(),
        "proof": [h.hex() for h in merkle.inclusion_path(_LEAVES[:size], index)],
    }


def _inclusion() -> list[Case]:
    cases = [
        ok(f"inclusion-of-{index}-in-{size}", **_proof(index, size))
        for size in range(1, 6)
        for index in range(size)
    ]
    right = _proof(2, 5)
    hashes: list[str] = right["proof"]
    zero = bytes(32).hex()
    changes: dict[str, dict[str, Any]] = {
        "index-of-the-neighbour": {"index": 3},
        "index-equal-to-the-size": {"index": 5},
        "size-zero": {"index": 0, "size": 0},
        "size-too-small": {"size": 4},
        "size-too-large": {"size": 9},
        "other-leaf": {"leaf_hash": _LEAVES[3].hex()},
        "node-in-place-of-a-leaf": {"leaf_hash": merkle.node_hash(_LEAVES[2], _LEAVES[3]).hex()},
        "other-root": {"root": merkle.root(_LEAVES[:6]).hex()},
        "short-root": {"root": right["root"][:-2]},
        "short-leaf": {"leaf_hash": right["leaf_hash"][:-2]},
        "empty-proof": {"proof": []},
        "first-hash-missing": {"proof": hashes[1:]},
        "last-hash-missing": {"proof": hashes[:-1]},
        "additional-first-hash": {"proof": [zero, *hashes]},
        "additional-last-hash": {"proof": [*hashes, zero]},
        "root-appended": {"proof": [*hashes, right["root"]]},
        "hashes-reversed": {"proof": hashes[::-1]},
        "bit-flipped": {"proof": [f"{int(hashes[0][0], 16) ^ 1:x}" + hashes[0][1:], *hashes[1:]]},
        "short-hash": {"proof": [hashes[0][:-2], *hashes[1:]]},
        "long-hash": {"proof": [hashes[0] + "00", *hashes[1:]]},
        "sixty-five-hashes": {"proof": [zero] * 65},
    }
    cases += [fails(f"inclusion-{name}", ProofError, **{**right, **c}) for name, c in changes.items()]
    return cases


def _steps(old_size: int, size: int) -> dict[str, Any]:
    return {
        "operation": "consistency",
        "old_size": old_size,
        "size": size,
        "old_root": merkle.root(_LEAVES[:old_size]).hex(),
        "root": merkle.root(_LEAVES[:size]).hex(),
        "proof": [h.hex() for h in merkle.consistency_path(_LEAVES, old_size, size)],
    }


def _consistency() -> list[Case]:
    cases = [
        ok(f"consistency-from-{old_size}-to-{size}", **_steps(old_size, size))
        for size in range(6)
        for old_size in range(size + 1)
    ]
    right = _steps(3, 5)
    hashes: list[str] = right["proof"]
    zero = bytes(32).hex()
    changes: dict[str, dict[str, Any]] = {
        "sizes-exchanged": {"old_size": 5, "size": 3},
        "other-old-size": {"old_size": 2},
        "other-new-size": {"size": 9},
        "other-old-root": {"old_root": right["root"]},
        "other-new-root": {"root": right["old_root"]},
        "roots-exchanged": {"old_root": right["root"], "root": right["old_root"]},
        "short-old-root": {"old_root": right["old_root"][:-2]},
        "empty-proof": {"proof": []},
        "first-hash-missing": {"proof": hashes[1:]},
        "last-hash-missing": {"proof": hashes[:-1]},
        "additional-last-hash": {"proof": [*hashes, zero]},
        "hashes-reversed": {"proof": hashes[::-1]},
        "bit-flipped": {"proof": [*hashes[:-1], f"{int(hashes[-1][0], 16) ^ 1:x}" + hashes[-1][1:]]},
        "short-hash": {"proof": [hashes[0][:-2], *hashes[1:]]},
    }
    cases += [fails(f"consistency-{name}", ProofError, **{**right, **c}) for name, c in changes.items()]
    equal, empty = _steps(3, 3), _steps(0, 3)
    return [
        *cases,
        fails("consistency-of-equal-sizes-with-a-hash", ProofError, **{**equal, "proof": [zero]}),
        fails("consistency-of-equal-sizes-other-root", ProofError, **{**equal, "root": zero}),
        fails("consistency-from-0-with-a-hash", ProofError, **{**empty, "proof": [zero]}),
        fails("consistency-from-0-other-old-root", ProofError, **{**empty, "old_root": zero}),
        fails("consistency-of-the-power-of-two-repeats-the-root", ProofError, **_repeated()),
    ]


def _repeated() -> dict[str, Any]:
    """Where the old tree is a left subtree, RFC 6962 leaves its root out of the proof."""
    steps = _steps(4, 5)
    return {**steps, "proof": [steps["old_root"], *steps["proof"]]}


def check(case: Case) -> None:
    """Verify a root or a proof."""
    root = merkle.RootHash(bytes.fromhex(case["root"]))
    if case["operation"] == "root":
        leaves = [merkle.leaf_hash(bytes.fromhex(e)) for e in case["entries"]]
        if merkle.root(leaves) != root:
            raise ProofError("another root")
        return
    proof = [bytes.fromhex(h) for h in case["proof"]]
    if case["operation"] == "inclusion":
        leaf = merkle.LeafHash(bytes.fromhex(case["leaf_hash"]))
        merkle.verify_inclusion(proof, case["index"], case["size"], leaf, root)
    else:
        old_root = merkle.RootHash(bytes.fromhex(case["old_root"]))
        merkle.verify_consistency(proof, case["old_size"], case["size"], old_root, root)
