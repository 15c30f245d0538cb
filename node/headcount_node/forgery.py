"""A published ledger in the hands of somebody dishonest: the demo's attacks on a copy of the static files.

Two attackers: whoever controls the file host edits files; the operator holds the key and signs again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from headcount_spec import jcs, seal
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.entry import parse_entry
from headcount_spec.merkle import leaf_hash, root
from headcount_spec.note import SigningKey
from headcount_spec.notice import HEADER, Notice
from headcount_spec.pledge import Pledge
from headcount_spec.seal import Seal
from headcount_spec.tile import (
    TILE_WIDTH,
    TileBuilder,
    TileReader,
    bundles_for,
    encode_bundle,
    tiles_for,
)
from headcount_spec.totals import decode_totals, encode_totals, totals_path
from headcount_spec.wire import opaque16, u8


class StolenLedger:
    """A copy of the public tree, to be edited in place."""

    def __init__(self, public: Path) -> None:
        self.public = public
        self.checkpoint = parse_checkpoint((public / "checkpoint").read_bytes()).checkpoint
        reader = TileReader(lambda path: (public / path).read_bytes(), self.checkpoint.size)
        self.entries = [
            entry for bundle in bundles_for(self.checkpoint.size) for entry in reader.bundle(bundle.index)
        ]

    def sign_again(self, key: SigningKey) -> None:
        """As the operator: write bundles, tiles and a signed checkpoint for the entries as they are now."""
        hashes = [leaf_hash(entry) for entry in self.entries]
        shutil.rmtree(self.public / "tile")
        builder = TileBuilder()
        ends = [i + 1 for i, entry in enumerate(self.entries) if entry.startswith(seal.HEADER)]
        for size in ends:
            tiles = [*builder.extend(hashes[builder.size : size]), *builder.partial_tiles()]
            for tile, data in tiles:
                self._write(tile.path, data)
            for bundle in bundles_for(size):
                start = bundle.index * TILE_WIDTH
                self._write(bundle.path, encode_bundle(self.entries[start : start + bundle.width]))
        checkpoint = Checkpoint(self.checkpoint.origin, len(hashes), root(hashes))
        self._write("checkpoint", sign_checkpoint(checkpoint, key))

    def edit_tile(self) -> None:
        """As the file host: change one bit of a leaf hash."""
        path = tiles_for(self.checkpoint.size)[0].path
        data = bytearray((self.public / path).read_bytes())
        data[40] ^= 1
        self._write(path, bytes(data))

    def edit_count(self) -> None:
        """As the file host: write a larger count into the last totals file."""
        path = totals_path(self._last_seal().batch)
        totals = decode_totals((self.public / path).read_bytes())
        larger = {scope: (gross + 1000, live + 1000) for scope, (gross, live) in totals.items()}
        self._write(path, encode_totals(larger))

    def fork(self, key: SigningKey) -> None:
        """As the operator: sign a second history of the same size, in which one pledge is another one."""
        place = self._place(lambda entry: isinstance(entry, Pledge))
        pledge = Pledge.from_bytes(self.entries[place])
        self.entries[place] = dataclasses.replace(pledge, revision_key=bytes(32)).to_bytes()
        self.sign_again(key)

    def swap_terms(self, key: SigningKey) -> None:
        """As the operator: lower the threshold under everybody's signature, and sign again."""
        place = self._place(lambda entry: isinstance(entry, Notice) and entry.statement.type == "manifest")
        notice = Notice.from_bytes(self.entries[place])
        statement = json.loads(notice.statement_bytes)
        statement["body"]["manifest"]["threshold"] = 1
        # Built from the parts, since our own types refuse to say that the hash of these terms is the scope.
        self.entries[place] = b"".join(
            (
                HEADER,
                opaque16(jcs.canonicalise(statement)),
                u8(len(notice.signatures)),
                *(public_key + signature for public_key, signature in notice.signatures),
            )
        )
        self.sign_again(key)

    def forge_seal(self, key: SigningKey) -> None:
        """As the operator: let the last seal follow another history, and sign again."""
        self.entries[-1] = dataclasses.replace(self._last_seal(), prev_root=bytes(32)).to_bytes()
        self.sign_again(key)

    def _last_seal(self) -> Seal:
        return Seal.from_bytes(self.entries[-1])

    def _place(self, wanted: Callable[[object], bool]) -> int:
        return next(index for index, entry in enumerate(self.entries) if wanted(parse_entry(entry)))

    def _write(self, path: str, data: bytes) -> None:
        target = self.public / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
