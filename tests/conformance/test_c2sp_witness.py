from __future__ import annotations

from pathlib import Path

import fakes
import parts
import witnessing
from headcount_ledger.witness.app import create_app
from headcount_ledger.witness.server import Witness
from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.note import SigningKey
from headcount_spec.text import encode_base64
from headcount_spec.tlog_witness import AddCheckpoint, parse_cosignatures

try:
    from tlog_scales import backend, reader, signing, writer
except ImportError:
    reader = None

# c2sp.org/tlog-checkpoint and tlog-cosignature: the demonstration log and witness.
LOG = SigningKey("pledge.example/demo", bytes(32))
WITNESS = SigningKey("witness.example/w1", b"\1" * 32)
LEAVES = [merkle.leaf_hash(b"pledge-%d" % i) for i in range(5)]
CHECKPOINT = """\
pledge.example/demo
5
smK0W8pdpHR4w4gRA0V8RmCXtcP+s7Kv0OWq40XJ71A=

— pledge.example/demo XnKQ3YynaRnoQaismyo9GeDeUGP032qMuJX5ploUGltqWXKxZRQol6zqjZe5QE2LmVGyu01cedDk9SZFBtgBVUNwfgM=
"""  # noqa: E501
COSIGNATURE = (
    "— witness.example/w1 CtfTXgAAAABlU/EAPpzn1a3A5AHjxEmX4I00uoIARyxhA4TQpeqEQbGeBI9TEjkcyURG9"
    "/H/HLkWT8bBpQuqXl7rjujAH+LO92xzBw==\n"
)
CONSISTENCY_3_TO_5 = [LEAVES[2], LEAVES[3], merkle.root(LEAVES[:2]), LEAVES[4]]


def witness_at(folder: Path, seconds: int) -> Witness:
    clock = fakes.FakeClock()
    clock.seconds = seconds
    folder.mkdir(exist_ok=True)
    witnessing.new_witness(folder / "w", clock, LOG.verification_key, WITNESS.name).close()
    (folder / "w" / "key").write_text(WITNESS.to_text() + "\n")
    return Witness.open(folder / "w", clock)


def test_the_answer_is_that_of_the_specification_byte_for_byte(tmp_path: Path) -> None:
    first = sign_checkpoint(Checkpoint(LOG.name, 3, merkle.root(LEAVES[:3])), LOG).decode()
    lines = "".join(f"{line}\n" for line in map(encode_base64, CONSISTENCY_3_TO_5))
    with witness_at(tmp_path, 1_700_000_000) as witness:
        client = create_app(witness).test_client()
        assert client.post("/add-checkpoint", data=f"old 0\n\n{first}".encode()).status_code == 200
        stale = client.post("/add-checkpoint", data=f"old 0\n\n{CHECKPOINT}".encode())
        assert (stale.status_code, stale.data) == (409, b"3\n")
        assert stale.headers["Content-Type"] == "text/x.tlog.size"
        body = f"old 3\n{lines}\n{CHECKPOINT}".encode()
        answer = client.post("/add-checkpoint", data=body)
        assert (answer.status_code, answer.data) == (200, COSIGNATURE.encode())
        path = "/52e3f193600affa6145b21be3af1cad0d63708d69f301352262dfd87bef6037a/checkpoint"
        assert client.get(path).data == (CHECKPOINT + COSIGNATURE).encode()


def test_it_cosigns_a_log_that_tlog_scales_wrote_and_proved(tmp_path: Path) -> None:
    parts.require(reader, "tlog-scales")
    folder = tmp_path / "log"
    signers = [signing.PlainEd25519Signer(LOG.name, LOG.seed)]
    written = writer.TilesWriter.create(folder, LOG.name)
    old = 0
    with witness_at(tmp_path, 1_700_000_000) as witness:
        client = create_app(witness).test_client()
        for step in (1, 4, 251, 1, 100):
            for number in range(step):
                written.add_leaf(b"entry %d" % (old + number))
            for level in ("tile/entries", "tile/0", "tile/1"):
                for index in ("000.p", "001.p"):
                    (folder / level / index).mkdir(parents=True, exist_ok=True)
            written.commit(signers)
            theirs = reader.TilesReader(backend.make_backend(str(folder)))
            theirs.get_checkpoint()
            proof = tuple(theirs.get_consistency_proof(old, old + step).node_hashes) if old else ()
            raw = (folder / "checkpoint").read_bytes()
            answer = client.post("/add-checkpoint", data=AddCheckpoint(old, proof, raw).to_bytes())
            assert answer.status_code == 200
            cosigned = parse_checkpoint(raw).note.with_signatures(parse_cosignatures(answer.data))
            (folder / "checkpoint").write_bytes(cosigned.to_bytes())
            head = reader.TilesReader(backend.make_backend(str(folder))).get_checkpoint()
            head.verify(signing.Vkey.from_string(WITNESS.cosigner_key.to_text()))
            old += step
