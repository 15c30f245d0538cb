from __future__ import annotations

from pathlib import Path

import pytest

import parts
from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import NotFoundError
from headcount_spec.note import SigningKey, VerificationKey
from headcount_spec.policy import Policy
from headcount_spec.tile import TILE_WIDTH, TileBuilder, TileReader, bundles_for, encode_bundle
from headcount_spec.tlog_proof import TlogProof, verify_tlog_proof

try:
    from tlog_scales import backend, cli, reader, signing, tlog, writer
except ImportError:
    reader = None

LOG = SigningKey("pledge.example/demo", bytes(32))
WITNESS = SigningKey("witness.example/w1", b"\1" * 32)
POLICY = Policy.from_bytes(
    f"log {LOG.verification_key.to_text()}\nwitness w {WITNESS.cosigner_key.to_text()}\nquorum w\n".encode()
)
SIZES = [1, 5, 256, 257, 700, 65793]
ENTRIES = [b"entry %d" % i for i in range(65793)]
LEAVES = [merkle.leaf_hash(e) for e in ENTRIES]


def publish(folder: Path, size: int) -> Checkpoint:
    """Our tiles, bundles and cosigned checkpoint as static files."""
    builder = TileBuilder()
    files = {tile.path: data for tile, data in builder.extend(LEAVES[:size])}
    files |= {tile.path: data for tile, data in builder.partial_tiles()}
    for bundle in bundles_for(size):
        first = bundle.index * TILE_WIDTH
        files[bundle.path] = encode_bundle(ENTRIES[first : first + bundle.width])
    checkpoint = Checkpoint(LOG.name, size, merkle.root(LEAVES[:size]))
    note = parse_checkpoint(sign_checkpoint(checkpoint, LOG)).note
    files["checkpoint"] = note.with_signatures([cosign(checkpoint, WITNESS, 1_700_000_000)]).to_bytes()
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return checkpoint


def fetch_from(folder: Path):
    def fetch(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError as exc:
            raise NotFoundError(path) from exc

    return fetch


@pytest.fixture(autouse=True)
def installed() -> None:
    parts.require(reader, "tlog-scales")


@pytest.mark.parametrize("size", SIZES)
def test_it_proves_from_our_tiles_and_we_verify(tmp_path: Path, capsys, monkeypatch, size: int) -> None:
    publish(tmp_path, size)
    for index in {0, size // 2, size - 1}:
        monkeypatch.setattr("sys.argv", ["tlog-tiles", "gen-proof", str(tmp_path), str(index)])
        cli.main()
        proof = TlogProof.from_text(capsys.readouterr().out)
        verified = verify_tlog_proof(proof, LEAVES[index], POLICY)
        assert (verified.index, verified.checkpoint.size) == (index, size)
        assert verified.cosigners == (("w", 1_700_000_000),)


@pytest.mark.parametrize("size", SIZES)
def test_it_verifies_our_checkpoint_root_and_proofs(tmp_path: Path, size: int) -> None:
    checkpoint = publish(tmp_path, size)
    theirs = reader.TilesReader(backend.make_backend(str(tmp_path)))
    head = theirs.get_checkpoint()
    head.verify(signing.Vkey.from_string(LOG.verification_key.to_text()))
    head.verify(signing.Vkey.from_string(WITNESS.cosigner_key.to_text()))
    assert theirs.calculate_root_hash() == checkpoint.root
    ours = TileReader(fetch_from(tmp_path), size)
    for index in {0, size // 3, size - 1}:
        assert theirs.get_entry(index) == ENTRIES[index]
        path = ours.inclusion_proof(index)
        assert theirs.get_inclusion_proof(index, size).node_hashes == path
        tlog.InclusionProof(index, size, path).check(LEAVES[index], checkpoint.root)
        steps = ours.consistency_proof(index + 1)
        assert theirs.get_consistency_proof(index + 1, size).node_hashes == steps
        tlog.ConsistencyProof(index + 1, size, steps).check(ours.root_at(index + 1), checkpoint.root)


def test_we_read_a_log_that_it_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    signers = [
        signing.PlainEd25519Signer(LOG.name, LOG.seed),
        signing.MLDSA44CosignatureSigner("witness.example/pq", b"\2" * 32),
    ]
    written = writer.TilesWriter.create(folder, LOG.name)
    size = 0
    for step in (1, 254, 1, 1, 300):
        for entry in ENTRIES[size : size + step]:
            written.add_leaf(entry)
        for level in ("tile/entries", "tile/0", "tile/1"):
            (folder / level / "000.p").mkdir(parents=True, exist_ok=True)
            (folder / level / "001.p").mkdir(parents=True, exist_ok=True)
            (folder / level / "002.p").mkdir(parents=True, exist_ok=True)
        written.commit(signers)
        size += step
        raw = (folder / "checkpoint").read_bytes()
        opened = open_checkpoint(raw, LOG.verification_key)
        ours = TileReader(fetch_from(folder), size)
        assert opened.checkpoint == Checkpoint(LOG.name, size, ours.root())
        assert ours.root() == merkle.root(LEAVES[:size])
        assert ours.entry(size - 1) == ENTRIES[size - 1]
        pq = VerificationKey.from_text(signers[1].vkey.serialize())
        policy = Policy.from_bytes(
            f"log {LOG.verification_key.to_text()}\nwitness pq {pq.to_text()}\nquorum pq\n".encode()
        )
        assert policy.verify_checkpoint(raw).cosignatures[0][0] == "pq"
