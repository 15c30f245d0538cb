"""Vectors of .tlog-proof files."""

from __future__ import annotations

import dataclasses
from typing import Any

from headcount_spec import merkle
from headcount_spec.checkpoint import sign_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import MalformedError, ProofError, ProtocolError, SignatureError, UnknownKeyError
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy
from headcount_spec.tlog_proof import TlogProof, verify_tlog_proof

from . import Case, checkpoints, fails, octets, ok, text

FILE = "proofs.json"

_LEAVES = checkpoints.LEAVES
_POLICY = (
    f"log {checkpoints.LOG.verification_key.to_text()}\n"
    f"witness w1 {checkpoints.WITNESS.cosigner_key.to_text()}\n"
    "quorum w1\n"
)
_COSIGNED = checkpoints.cosigned(cosign(checkpoints.CHECKPOINT, checkpoints.WITNESS, checkpoints.TIME))


def make() -> dict[str, Any]:
    """Proofs of entry 2 of 5, and what is wrong with others."""
    return {
        "about": "Offline proofs that an entry is in the ledger, c2sp.org/tlog-proof, under a policy.",
        "source": "Made by makers/proofs.py; the case entry-2-of-5 agrees with another implementation.",
        "cases": [*_verified(), *_malformed()],
    }


def _proof(index: int) -> TlogProof:
    return TlogProof(index, tuple(merkle.inclusion_path(_LEAVES, index)), _COSIGNED)


def _case(
    proof: TlogProof | bytes, leaf: bytes = _LEAVES[2], policy: str = _POLICY, **more: Any
) -> dict[str, Any]:
    data = proof if isinstance(proof, bytes) else proof.to_bytes()
    return {**text("proof", data), "leaf_hash": leaf.hex(), "policy": policy, **more}


def _verified() -> list[Case]:
    right = _proof(2)
    found: dict[str, Any] = {"size": 5, "cosigners": {"w1": checkpoints.TIME}}
    no_quorum = _POLICY.replace("quorum w1", "quorum none")
    only = dataclasses.replace(checkpoints.CHECKPOINT, size=1, root=merkle.root(_LEAVES[:1]))
    single = TlogProof(0, (), sign_checkpoint(only, checkpoints.LOG))
    stranger = SigningKey("stranger.example", b"\3" * 32)
    unsigned = dataclasses.replace(right, checkpoint=sign_checkpoint(checkpoints.CHECKPOINT, checkpoints.LOG))
    forged = dataclasses.replace(right, checkpoint=_COSIGNED.replace(b"\n5\n", b"\n6\n"))
    wrong_witness = _COSIGNED.replace(b"CtfTXgAAAABlU/EA", b"CtfTXgAAAABlU/EB")
    changes: dict[str, dict[str, Any]] = {
        "index-of-the-neighbour": {"index": 3},
        "index-beyond-the-tree": {"index": 5},
        "hash-missing": {"hashes": right.hashes[:-1]},
        "hash-added": {"hashes": (*right.hashes, bytes(32))},
        "hashes-exchanged": {"hashes": (right.hashes[1], right.hashes[0], right.hashes[2])},
    }
    return [
        *(ok(f"entry-{i}-of-5", **_case(_proof(i), _LEAVES[i], index=i, **found)) for i in range(5)),
        ok("entry-0-of-1", **_case(single, _LEAVES[0], no_quorum, index=0, size=1, cosigners={})),
        ok("extra-data", **_case(dataclasses.replace(right, extra=b"any bytes"), index=2, **found)),
        ok("empty-extra-data", **_case(dataclasses.replace(right, extra=b""), index=2, **found)),
        fails("other-leaf", ProofError, **_case(right, _LEAVES[3])),
        *(fails(n, ProofError, **_case(dataclasses.replace(right, **c))) for n, c in changes.items()),
        fails("checkpoint-changed", SignatureError, **_case(forged)),
        fails(
            "cosignature-changed",
            SignatureError,
            **_case(dataclasses.replace(right, checkpoint=wrong_witness)),
        ),
        fails("no-cosignature", UnknownKeyError, **_case(unsigned)),
        fails(
            "log-not-in-the-policy",
            UnknownKeyError,
            **_case(
                right,
                policy=_POLICY.replace(
                    checkpoints.LOG.verification_key.to_text(), stranger.verification_key.to_text()
                ),
            ),
        ),
    ]


def _malformed() -> list[Case]:
    right = _proof(2).to_text()
    head, _, checkpoint = right.partition("\n\n")
    first = head.split("\n")[2]
    wrong = {
        "version-2": right.replace("@v1", "@v2"),
        "leading-newline": "\n" + right,
        "no-index": right.replace("index 2\n", ""),
        "index-with-leading-zero": right.replace("index 2", "index 02"),
        "index-with-two-spaces": right.replace("index 2", "index  2"),
        "index-2-to-the-63": right.replace("index 2", "index 9223372036854775808"),
        "extra-after-the-index": right.replace("index 2\n", "index 2\nextra AAAA\n"),
        "extra-twice": right.replace("index", "extra AAAA\nextra AAAA\nindex"),
        "extra-without-data": right.replace("index", "extra\nindex"),
        "extra-noncanonical-base64": right.replace("index", "extra AAB=\nindex"),
        "hash-noncanonical-base64": right.replace(first, first[:-2] + "l="),
        "hash-of-31-bytes": right.replace(first, first[:40] + "QQ=="),
        "hash-trailing-space": right.replace(first, first + " "),
        "sixty-five-hashes": right.replace(first, "\n".join([first] * 63)),
        "no-empty-line": head + "\n" + checkpoint,
        "no-checkpoint": head + "\n\n",
        "two-empty-lines": head + "\n\n\n" + checkpoint,
        "carriage-returns": right.replace("\n", "\r\n"),
        "trailing-line": right + "junk\n",
        "truncated": right[:-1],
    }
    cases = [fails(f"malformed-{name}", MalformedError, **_case(p.encode())) for name, p in wrong.items()]
    return [*cases, fails("malformed-not-utf-8", MalformedError, **_case(right.encode() + b"\xff"))]


def check(case: Case) -> None:
    """Read a proof and a policy and verify the one under the other."""
    proof = TlogProof.from_bytes(octets(case, "proof"))
    policy = Policy.from_bytes(octets(case, "policy"))
    leaf = merkle.LeafHash(bytes.fromhex(case["leaf_hash"]))
    verified = verify_tlog_proof(proof, leaf, policy)
    found = verified.index, verified.checkpoint.size, dict(verified.cosigners)
    if found != (case["index"], case["size"], case["cosigners"]) or proof.to_bytes() != octets(case, "proof"):
        raise ProtocolError("another result")
