from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from py_ecc.bls import G2ProofOfPossession
from py_ecc.bls.g2_primitives import G1_to_pubkey, pubkey_to_G1
from py_ecc.optimized_bls12_381 import add, neg

import vectors
from headcount_engine import bls
from headcount_spec.errors import MalformedError, SignatureError

SEEDS = [bytes([i]) * 32 for i in range(1, 4)]
PROTOCOL = Path(__file__).parents[2] / "spec" / "protocol.md"


def test_an_aggregate_is_by_exactly_its_signers() -> None:
    public = [bls.public_key(seed) for seed in SEEDS]
    signature = bls.aggregate([bls.sign(seed, b"message") for seed in SEEDS[:2]])
    bls.verify(public[:2], b"message", signature)
    with pytest.raises(SignatureError):
        bls.verify(public, b"message", signature)
    with pytest.raises(SignatureError):
        bls.verify([], b"message", signature)


def test_a_rogue_key_has_no_proof_of_possession() -> None:
    honest = bls.public_key(SEEDS[0])
    evil = bls.public_key(SEEDS[1])
    rogue = bytes(G1_to_pubkey(add(pubkey_to_G1(evil), neg(pubkey_to_G1(honest)))))
    alone = bls.sign(SEEDS[1], b"message")
    # The equation alone takes the signature of one for that of both: this is what the proof is for.
    assert G2ProofOfPossession.FastAggregateVerify([honest, rogue], b"message", alone)
    for proof in (bls.prove_possession(SEEDS[1]), alone, bytes(96), bytes([0xC0]) + bytes(95)):
        with pytest.raises(SignatureError):
            bls.verify_possession(rogue, proof)


@pytest.mark.parametrize("key", [bytes(48), bytes([0xC0]) + bytes(47), b"\xff" * 48, b"short"])
def test_a_key_that_is_no_point_is_refused(key: bytes) -> None:
    with pytest.raises(SignatureError):
        bls.verify_possession(key, bytes(96))


def test_what_is_no_signature_is_not_aggregated() -> None:
    for bad in ([], [bytes(96)], [b"\xff" * 96]):
        with pytest.raises(MalformedError):
            bls.aggregate(bad)


def run(script: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.strip()


def test_the_import_leaves_the_recursion_limit_alone_and_happens_at_the_first_use() -> None:
    script = (
        "import sys; before = sys.getrecursionlimit(); import headcount_engine.certificate as c;"
        "lazy = 'py_ecc' not in sys.modules; c.bls.public_key(bytes(32));"
        "print(lazy, 'py_ecc' in sys.modules, sys.getrecursionlimit() == before)"
    )
    assert run(script) == "True True True"


def test_the_three_lines_of_the_protocol_verify_a_certificate(tmp_path: Path) -> None:
    lines = re.search(
        r"\n    (import json, sys;[^\n]*\n    [^\n]*\n    print[^\n]*)\n", PROTOCOL.read_text("utf-8")
    )
    assert lines is not None
    script = "\n".join(line.strip() for line in lines[1].splitlines())
    assert len(script.splitlines()) == 3
    case = next(case for _, name, case in vectors.cases() if name == "two-of-three" and "contacts" in case)
    certificate, manifest = tmp_path / "reached.json", tmp_path / "scope.json"
    certificate.write_text(case["certificate"])
    manifest.write_text(case["contacts"])
    assert run(script, str(certificate), str(manifest)) == "True"
    good, terms = json.loads(case["certificate"]), json.loads(case["contacts"])
    other = {**terms, "trustees": {**terms["trustees"], "t": 3}}
    swapped = {
        **terms,
        "trustees": {**terms["trustees"], "members": [dict(m) for m in terms["trustees"]["members"]]},
    }
    first, second = swapped["trustees"]["members"][0], swapped["trustees"]["members"][1]
    first["bls_proof"] = second["bls_proof"]
    for bad, under in (
        ({**good, "live": good["live"] + 1}, terms),
        (good, other),  # two are not enough
        (good, swapped),  # a key without its proof of possession
        (good, {**terms, "parent": "00" * 32}),
    ):
        certificate.write_text(json.dumps(bad))
        manifest.write_text(json.dumps(under))
        assert run(script, str(certificate), str(manifest)) == "False"
