from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import MalformedError, ProofError, SignatureError, UnknownKeyError
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy
from headcount_spec.tlog_proof import MAX_PROOF_BYTES, TlogProof, VerifiedInclusion, verify_tlog_proof

LOG = SigningKey("pledge.example/demo", bytes(32))
WITNESS = SigningKey("witness.example/w1", b"\1" * 32)
POLICY = Policy.from_bytes(
    f"log {LOG.verification_key.to_text()}\nwitness w {WITNESS.cosigner_key.to_text()}\nquorum w\n".encode()
)
LEAVES = [merkle.leaf_hash(b"pledge-%d" % i) for i in range(5)]
CHECKPOINT = Checkpoint(LOG.name, 5, merkle.root(LEAVES))
LOGGED = sign_checkpoint(CHECKPOINT, LOG)
RAW = parse_checkpoint(LOGGED).note.with_signatures([cosign(CHECKPOINT, WITNESS, 1_700_000_000)]).to_bytes()
PROOF = TlogProof(2, tuple(merkle.inclusion_path(LEAVES, 2)), RAW)
TEXT = PROOF.to_text()


def test_a_proof_is_verified() -> None:
    expected = VerifiedInclusion(2, CHECKPOINT, (("w", 1_700_000_000),))
    assert verify_tlog_proof(TlogProof.from_text(TEXT), LEAVES[2], POLICY) == expected
    with_extra = dataclasses.replace(PROOF, extra=b"anything")
    assert verify_tlog_proof(with_extra, LEAVES[2], POLICY) == expected


def test_a_proof_in_a_tree_of_one_has_no_hashes() -> None:
    raw = sign_checkpoint(Checkpoint(LOG.name, 1, merkle.root(LEAVES[:1])), LOG)
    proof = TlogProof.from_bytes(TlogProof(0, (), raw).to_bytes())
    policy = Policy.from_bytes(f"log {LOG.verification_key.to_text()}\nquorum none\n".encode())
    assert verify_tlog_proof(proof, LEAVES[0], policy).cosigners == ()


def test_what_is_not_proven_is_refused() -> None:
    with pytest.raises(ProofError):
        verify_tlog_proof(PROOF, LEAVES[3], POLICY)
    with pytest.raises(ProofError):
        verify_tlog_proof(dataclasses.replace(PROOF, index=3), LEAVES[2], POLICY)
    with pytest.raises(ProofError):
        verify_tlog_proof(dataclasses.replace(PROOF, index=5), LEAVES[2], POLICY)
    with pytest.raises(ProofError):
        verify_tlog_proof(dataclasses.replace(PROOF, hashes=PROOF.hashes[:-1]), LEAVES[2], POLICY)
    with pytest.raises(UnknownKeyError):
        verify_tlog_proof(dataclasses.replace(PROOF, checkpoint=LOGGED), LEAVES[2], POLICY)
    with pytest.raises(UnknownKeyError):
        verify_tlog_proof(PROOF, LEAVES[2], Policy())
    forged = RAW.replace(b"\n5\n", b"\n6\n")
    with pytest.raises(SignatureError):
        verify_tlog_proof(dataclasses.replace(PROOF, checkpoint=forged), LEAVES[2], POLICY)
    with pytest.raises(MalformedError):
        verify_tlog_proof(dataclasses.replace(PROOF, checkpoint=RAW[:-1]), LEAVES[2], POLICY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        TEXT.replace("@v1", "@v2"),
        TEXT.replace("c2sp.org/", ""),
        "\n" + TEXT,
        TEXT.partition("\n\n")[0],
        TEXT.partition("\n\n")[0] + "\n\n",
        TEXT.replace("index 2\n", ""),
        TEXT.replace("index 2", "index"),
        TEXT.replace("index 2", "index 02"),
        TEXT.replace("index 2", "index  2"),
        TEXT.replace("index 2", "index -2"),
        TEXT.replace("index 2", "index 9223372036854775808"),
        TEXT.replace("index 2", "index 2\nindex 2"),
        TEXT.replace("index 2", "index 2\nextra AAAA"),
        TEXT.replace("index 2", "extra AAA\nindex 2"),
        TEXT.replace("index 2", "extra AAB=\nindex 2"),
        TEXT.replace("index 2", "extra\nindex 2"),
        TEXT.replace("index 2", "extra AAAA\nextra AAAA\nindex 2"),
        TEXT.replace("index 2", "index 2\nAAAA"),
        TEXT.replace("index 2", "index 2\n" + "\n".join(["A" * 43 + "="] * 62)),
        TEXT.replace("c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\n\n"),
        TEXT + "\udc80",
        "c2sp.org/tlog-proof@v1\n\n" + TEXT,
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        TlogProof.from_text(text)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(MalformedError, match="longer"):
        TlogProof.from_bytes(PROOF.to_bytes() + b"\n" * MAX_PROOF_BYTES)
    with pytest.raises(MalformedError, match="UTF-8"):
        TlogProof.from_bytes(PROOF.to_bytes() + b"\xff")


@given(
    st.integers(0, merkle.MAX_SIZE),
    st.lists(st.binary(min_size=32, max_size=32), max_size=64),
    st.none() | st.binary(max_size=80),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_proofs_are_read_back(index: int, hashes: list[bytes], extra: bytes | None, note: str) -> None:
    proof = TlogProof(index, tuple(hashes), note.encode(), extra)
    assert TlogProof.from_bytes(proof.to_bytes()) == proof


@given(st.binary(max_size=60), st.text(max_size=30))
def test_any_bytes_are_read_or_refused(data: bytes, text: str) -> None:
    changed = TEXT.replace("index 2", "index 2" + text).encode("utf-8", "replace")
    for some in (data, b"c2sp.org/tlog-proof@v1\n" + data, PROOF.to_bytes()[:40] + data, changed):
        with contextlib.suppress(MalformedError):
            assert TlogProof.from_bytes(some).to_bytes() == some
