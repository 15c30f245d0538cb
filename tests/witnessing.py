"""A log without entries' sense, whose checkpoints are shown to witnesses, honestly or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from flask import Flask

import fakes
import keys
from headcount_ledger.witness.app import create_app
from headcount_ledger.witness.server import Witness, create
from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, sign_checkpoint
from headcount_spec.note import SigningKey, VerificationKey
from headcount_spec.tlog_witness import AddCheckpoint

LOG = SigningKey("log.example/1", keys.seed("witnessed log"))
LEAVES = [merkle.leaf_hash(b"entry %d" % i) for i in range(300)]
OTHER = [LEAVES[0], merkle.leaf_hash(b"another"), *LEAVES[2:]]  # another history, from the second leaf on


def checkpoint(size: int, leaves: list[merkle.LeafHash] = LEAVES, key: SigningKey = LOG) -> bytes:
    return sign_checkpoint(Checkpoint(key.name, size, merkle.root(leaves[:size])), key)


def request(
    old: int, size: int, leaves: list[merkle.LeafHash] = LEAVES, proof: tuple[bytes, ...] | None = None
) -> bytes:
    if proof is None:
        proof = tuple(merkle.consistency_path(leaves[:size], min(old, size)))
    return AddCheckpoint(old, proof, checkpoint(size, leaves)).to_bytes()


def new_witness(
    folder: Path,
    clock: fakes.FakeClock,
    log: VerificationKey = LOG.verification_key,
    name: str = "witness.example/w1",
) -> Witness:
    create(folder, name, (log,))
    return Witness.open(folder, clock)


class Network(httpx.BaseTransport):
    """Delivers by host: to an application, or to a function that answers as a test says."""

    def __init__(self, hosts: Mapping[str, Flask | Callable[[httpx.Request], httpx.Response]]) -> None:
        self.hosts = dict(hosts)
        self.seen: list[tuple[str, str, bytes]] = []  # host, path, body

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.url.host, request.url.path, request.read()))
        host = self.hosts[request.url.host]
        if isinstance(host, Flask):
            return httpx.WSGITransport(host).handle_request(request)
        return host(request)


def app(witness: Witness) -> Flask:
    return create_app(witness, halt=lambda reason: None)
