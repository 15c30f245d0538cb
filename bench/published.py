"""A published ledger made straight from pledges, by the specification alone: for sizes that no test makes.

Writes what a mirror holds: full tiles, the partial ones of each published size, totals and checkpoints.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import factory  # finds the packages of this tree

import manifests
from headcount_spec.checkpoint import Checkpoint, sign_checkpoint
from headcount_spec.merkle import CompactRange, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice
from headcount_spec.pledge import DOMAIN
from headcount_spec.policy import Log, Policy
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_start
from headcount_spec.tile import TILE_WIDTH, Bundle, TileBuilder, encode_bundle
from headcount_spec.totals import encode_totals

DAY = 20_000
KEY = manifests.LEDGER_KEY


def policy() -> Policy:
    """Trusts the ledger's key alone."""
    return Policy(logs=(Log(KEY.verification_key),))


class Publisher:
    """Seals batches into a folder."""

    def __init__(self, folder: Path, key: SigningKey = KEY) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self._key = key
        self._tree = CompactRange()
        self._builder = TileBuilder()
        self._open: list[bytes] = []  # entries of the last, partial bundle
        self._chain = chain_start(key.name)
        self._seal = self._checkpoint = GENESIS
        self._batch = 0
        self._pledges = 0
        self._issued: Notice = manifests.openings(factory.manifest())[0]

    def terms(self) -> None:
        """The first batch: manifest, texts and opening."""
        scope = factory.manifest()
        notices = [manifests.manifest_notice(scope), *manifests.text_notices(scope), self._issued]
        entries = sorted((notice.to_bytes() for notice in notices), key=leaf_hash)
        self._close(entries, 0)
        indices = "".join(f"{index}\n" for index in range(len(entries)))
        self._write(f"scopes/{scope.scope_id.hex()}", indices.encode())

    def pledges(self, entries: list[bytes]) -> None:
        """One batch of pledges of the factory's scope, in their order."""
        self._pledges += len(entries)
        self._close(sorted(entries, key=_nullifier), len(entries))

    def _close(self, entries: list[bytes], pledges: int) -> None:
        size, root = self._tree.size, self._tree.root()
        for entry in entries:
            leaf = leaf_hash(entry)
            self._chain = chain_extend(self._chain, leaf)
            self._append(entry, leaf)
        counts = (self._pledges, self._pledges)
        totals = encode_totals({factory.manifest().scope_id: counts} if self._pledges else {})
        seal = Seal(
            self._batch,
            size,
            pledges,
            self._pledges,
            DAY,
            self._seal,
            bytes(root) if size else GENESIS,
            self._checkpoint,
            hashlib.sha256(totals).digest(),
            self._chain,
        ).to_bytes()
        self._seal = leaf_hash(seal)
        self._chain = chain_extend(self._chain, self._seal)
        self._append(seal, self._seal)
        for tile, data in self._builder.partial_tiles():
            self._write(tile.path, data)
        width = self._tree.size % TILE_WIDTH
        if width:
            self._write(Bundle(self._tree.size // TILE_WIDTH, width).path, encode_bundle(self._open))
        signed = sign_checkpoint(Checkpoint(self._key.name, self._tree.size, self._tree.root()), self._key)
        self._checkpoint = hashlib.sha256(signed).digest()
        self._write(f"totals/{self._batch}", totals)
        self._write(f"checkpoints/{self._batch}", signed)
        self._write("checkpoint", signed)
        self._batch += 1

    def _append(self, entry: bytes, leaf: bytes) -> None:
        self._tree.append(leaf)
        self._open.append(entry)
        if len(self._open) == TILE_WIDTH:
            self._write(Bundle(self._tree.size // TILE_WIDTH - 1).path, encode_bundle(self._open))
            self._open.clear()
        for tile, data in self._builder.extend((leaf,)):
            self._write(tile.path, data)

    def _write(self, path: str, data: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def publish(folder: Path, pledges: Iterator[bytes], batch: int = 50_000) -> Publisher:
    """A ledger of these pledges in batches of so many."""
    publisher = Publisher(folder)
    publisher.terms()
    while entries := list(islice(pledges, batch)):
        publisher.pledges(entries)
    return publisher


def _nullifier(entry: bytes) -> bytes:
    return hashlib.sha256(DOMAIN + entry[2:100]).digest()
