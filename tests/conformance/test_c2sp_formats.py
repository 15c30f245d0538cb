from __future__ import annotations

import pytest

from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign, verify_cosignature
from headcount_spec.note import Note, SigningKey, VerificationKey, verify_note
from headcount_spec.policy import Policy
from headcount_spec.tile import encode_bundle
from headcount_spec.tlog_proof import TlogProof, verify_tlog_proof

# c2sp.org/signed-note, "Example".
NOTE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

# From an all-zero seed (log) and an all-one seed (witness), by another implementation.
LOG_KEY = "pledge.example/demo+5e7290dd+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
WITNESS_KEY = "witness.example/w1+0ad7d35e+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
CHECKPOINT = (
    "pledge.example/demo\n"
    "5\n"
    "smK0W8pdpHR4w4gRA0V8RmCXtcP+s7Kv0OWq40XJ71A=\n\n"
    "— pledge.example/demo "
    "XnKQ3YynaRnoQaismyo9GeDeUGP032qMuJX5ploUGltqWXKxZRQol6zqjZe5QE2LmVGyu01cedDk9SZFBtgBVUNwfgM=\n"
)
COSIGNATURE = (
    "— witness.example/w1 CtfTXgAAAABlU/EAPpzn1a3A5AHjxEmX4I00uoIARyxhA4TQpeqEQbGeBI9TEjkcyURG9/H/"
    "HLkWT8bBpQuqXl7rjujAH+LO92xzBw==\n"
)
PROOF = (
    "c2sp.org/tlog-proof@v1\n"
    "index 2\n"
    "TMWK0qq/br2njrgkKRBLlBjfN/aAaVzxwmPU35a4Qlk=\n"
    "5HJq3sHqkSIu4GM7Ck4MmpblamGXSTSmnTayiDITu3w=\n"
    "VQX/lzcGSvPaG0j1juVIsXIR5INGNKoDBiwwDtxGX3o=\n\n"
) + (CHECKPOINT + COSIGNATURE)

# c2sp.org/tlog-cosignature, first example; its keys are not published.
SOFA = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)

LOG = SigningKey("pledge.example/demo", bytes(32))
WITNESS = SigningKey("witness.example/w1", b"\1" * 32)
LEAVES = [merkle.leaf_hash(b"pledge-%d" % i) for i in range(5)]


def test_the_example_note_verifies() -> None:
    key = VerificationKey.from_text(NOTE_KEY)
    note = Note.from_bytes(NOTE.encode())
    assert key.to_text() == NOTE_KEY
    assert note.text == "This is an example message.\n"
    assert len(verify_note(note, [key])) == 1
    assert note.to_bytes() == NOTE.encode()


def test_the_demo_keys() -> None:
    assert LOG.verification_key.to_text() == LOG_KEY
    assert WITNESS.cosigner_key.to_text() == WITNESS_KEY
    assert LOG.to_text() == "PRIVATE+KEY+pledge.example/demo+5e7290dd+" + "AQ" + "A" * 42


def test_the_demo_checkpoint() -> None:
    checkpoint = Checkpoint("pledge.example/demo", 5, merkle.root(LEAVES))
    assert sign_checkpoint(checkpoint, LOG) == CHECKPOINT.encode()
    opened = open_checkpoint(CHECKPOINT.encode(), VerificationKey.from_text(LOG_KEY))
    assert opened.checkpoint == checkpoint


def test_the_demo_cosignature() -> None:
    signed = parse_checkpoint((CHECKPOINT + COSIGNATURE).encode())
    signature = cosign(signed.checkpoint, WITNESS, 1_700_000_000)
    assert signature.line == COSIGNATURE
    assert signed.note.signatures[1] == signature
    key = VerificationKey.from_text(WITNESS_KEY)
    assert verify_cosignature(signed.checkpoint, signature, key) == 1_700_000_000


def test_the_example_of_tlog_cosignature_is_read() -> None:
    signed = parse_checkpoint(SOFA.encode())
    assert (signed.checkpoint.origin, signed.checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert int.from_bytes(signed.note.signatures[1].signature[:8], "big") == 1679315147
    assert signed.note.to_bytes() == SOFA.encode()


def test_the_demo_proof() -> None:
    policy = Policy.from_bytes(f"log {LOG_KEY}\nwitness w1 {WITNESS_KEY}\nquorum w1\n".encode())
    proof = TlogProof.from_text(PROOF)
    assert proof.to_text() == PROOF
    assert proof.hashes == tuple(merkle.inclusion_path(LEAVES, 2))
    verified = verify_tlog_proof(proof, LEAVES[2], policy)
    assert verified.cosigners == (("w1", 1_700_000_000),)


@pytest.mark.parametrize("index", range(5))
def test_the_demo_bundle(index: int) -> None:
    data = encode_bundle([b"pledge-%d" % i for i in range(5)])
    assert data[10 * index : 10 * index + 10].hex() == f"0008706c656467652d3{index}"
