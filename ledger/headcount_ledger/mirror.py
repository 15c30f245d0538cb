"""Mirrors: a verified copy of somebody's ledger as plain files, which serves every client as the ledger does.

Works downwards from a checkpoint that the policy accepts: the right edge of the tree leads to its root, each
full tile to a hash in the tile above, each bundle to its leaf hashes, totals and archived checkpoints to a
seal. Nothing is written before it is verified, and what is written never changes, so that a mirror that was
stopped anywhere goes on from its files. The new checkpoint is written last.

Partial tiles of older sizes and the hints of scopes are not fetched: they follow from the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headcount_ledger import durable
from headcount_ledger.derived import NewEntries, partials
from headcount_ledger.history import checkpoint_path
from headcount_ledger.reader.view import LedgerView, Progress, open_ledger
from headcount_ledger.storage import CHECKPOINT, DirectoryStorage, find
from headcount_spec.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    ProofError,
    ProtocolError,
    UnavailableError,
)
from headcount_spec.merkle import HASH_BYTES, leaf_hash, root
from headcount_spec.policy import Policy
from headcount_spec.seal import Seal
from headcount_spec.tile import (
    TILE_WIDTH,
    Bundle,
    Fetch,
    Tile,
    decode_bundle,
    encode_bundle,
    new_bundles,
    new_tiles,
)
from headcount_spec.totals import totals_path

NEXT = ".next"  # the checkpoint that is being mirrored
LOCK = ".lock"
_OURS = re.compile(r"checkpoint|checkpoints|scopes|tile|totals|\.next|\.lock|\..*\.new")


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a mirror holds."""

    checkpoint: Checkpoint
    added: int  # entries that it did not hold before


def mirror(fetch: Fetch, policy: Policy, directory: Path, progress: Progress | None = None) -> Mirrored:
    """Bring a mirror up to date with the ledger, or begin one in a directory that is empty or not there.

    Raises:
        ConfigurationError: the directory holds something else, or a mirror of another ledger.
        MisbehaviourError: the ledger went back or signed another history; carries both checkpoints.
        VerificationError, MalformedError: the ledger's files are not those that it signed.
        CorruptionError: a file of the mirror is damaged; nothing is overwritten.
        NotFoundError, UnavailableError: the ledger cannot be read; what was written is kept.
    """
    durable.make_directory(directory)
    strange = [path.name for path in directory.iterdir() if not _OURS.fullmatch(path.name)]
    if strange:
        raise ConfigurationError(f"{directory} is no mirror: it holds {min(strange)}")
    with _locked(directory / LOCK):
        return _Run(fetch, policy, directory, progress).run()


class _Run:
    """One pass."""

    def __init__(self, fetch: Fetch, policy: Policy, directory: Path, progress: Progress | None) -> None:
        self._fetch = fetch
        self._policy = policy
        self._directory = directory
        self._storage = DirectoryStorage(directory)
        self._progress = progress
        self._parent: tuple[Tile, bytes] | None = None

    def run(self) -> Mirrored:
        """Everything, in the order in which it may be interrupted."""
        raw, begun = find(self._storage, CHECKPOINT), find(self._storage, NEXT)
        known = [self._own(item) for item in (raw, begun) if item is not None]
        view = open_ledger(self._fetch, self._policy, [item for item in (raw, begun) if item is not None])
        if any(checkpoint.origin != view.checkpoint.origin for checkpoint in known):
            raise ConfigurationError(f"{self._directory} is a mirror of another ledger")
        old_size = 0 if raw is None else known[0].size
        if view.raw != raw:
            self._storage.put(NEXT, view.raw)
            self._copy(view, old_size)
            self._storage.put(CHECKPOINT, view.raw)
            begun = view.raw
        if begun is not None:
            self._collect()
            durable.remove_file(self._directory / NEXT)
        return Mirrored(view.checkpoint, view.size - old_size)

    def _own(self, raw: bytes) -> Checkpoint:
        """A checkpoint of the mirror itself: one that is not known would hide that the ledger went back."""
        try:
            origin = parse_checkpoint(raw).checkpoint.origin
        except MalformedError as exc:
            raise CorruptionError(f"the mirror's checkpoint is damaged: {exc}") from exc
        for key in self._policy.log_keys(origin):
            with contextlib.suppress(ProtocolError):
                return open_checkpoint(raw, key).checkpoint
        raise ConfigurationError(f"the policy does not list the ledger that {self._directory} mirrors")

    def _copy(self, view: LedgerView, old_size: int) -> None:
        # All hashes of the right edge are under the root, and no others are read for it.
        if view.reader.root() != view.checkpoint.root:
            raise ProofError("the published tiles do not lead to the signed root")
        for tile in sorted(new_tiles(old_size, view.size), key=lambda tile: (-tile.level, tile.index)):
            self._copy_tile(view, tile)
        new = NewEntries(old_size)
        for bundle in new_bundles(old_size, view.size):
            entries = self._copy_bundle(view, bundle)
            new.take(bundle.index * TILE_WIDTH, entries)
            if self._progress is not None:
                self._progress(bundle.index * TILE_WIDTH + bundle.width, view.size)
        if view.size > old_size and (not new.seals or new.seals[-1][0] + 1 != view.size):
            raise ProofError("the ledger does not end with a seal; audit it")
        ends = [index + 1 for index, _ in new.seals]
        self._storage.create(partials(self._storage.read, view.size, ends))
        self._copy_archive(view, new.seals)
        for scope in sorted(new.notices):
            path = f"scopes/{scope.hex()}"
            self._storage.put(path, new.hint(scope, find(self._storage, path)))

    def _copy_tile(self, view: LedgerView, tile: Tile) -> None:
        def is_genuine(data: bytes) -> bool:
            if len(data) != tile.size_bytes:
                return False
            if not tile.is_full:
                return data == view.reader.tile(tile.level, tile.index)
            hashes = [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]
            return root(hashes) == self._hash_above(view, tile)

        self._copy_file(tile.path, lambda: view.reader.tile(tile.level, tile.index), is_genuine)

    def _hash_above(self, view: LedgerView, tile: Tile) -> bytes:
        """What the tile above, which is written already, says about a full tile."""
        index, place = divmod(tile.index, TILE_WIDTH)
        parent = _tile_of(tile.level + 1, index, view.size)
        if self._parent is None or self._parent[0] != parent:
            self._parent = (parent, self._storage.read(parent.path))
        return self._parent[1][place * HASH_BYTES : (place + 1) * HASH_BYTES]

    def _copy_bundle(self, view: LedgerView, bundle: Bundle) -> list[bytes]:
        tile = self._storage.read(_tile_of(0, bundle.index, view.size).path)

        def is_genuine(data: bytes) -> bool:
            try:
                entries = decode_bundle(data, bundle.width)
            except MalformedError:
                return False
            return b"".join(map(leaf_hash, entries)) == tile

        data = self._copy_file(
            bundle.path, lambda: encode_bundle(view.reader.bundle(bundle.index)), is_genuine
        )
        return decode_bundle(data, bundle.width)

    def _copy_archive(self, view: LedgerView, seals: list[tuple[int, Seal]]) -> None:
        """Totals, and the checkpoints as they were published, each with the hash that a seal has."""
        for index, item in seals:
            path = totals_path(item.batch)
            self._copy_file(path, partial(self._fetch, path), _has_hash(item.totals))
            if item.batch == 0:
                continue
            path = checkpoint_path(item.batch - 1)
            before = min(item.first_index, index)
            local, is_pinned = find(self._storage, path), _has_hash(item.prev_checkpoint)
            if local is not None and not is_pinned(local) and self._is_of(local, view, before):
                # It was the newest and no seal had its hash yet: the host has shown another copy.
                self._storage.put(path, _checked(path, self._fetch(path), is_pinned))
            else:
                self._copy_file(path, partial(self._fetch, path), is_pinned)
        if seals:
            path = checkpoint_path(seals[-1][1].batch)
            self._storage.put(path, view.raw)  # until the next seal says what was published

    def _is_of(self, raw: bytes, view: LedgerView, size: int) -> bool:
        """Whether the log has signed this for its first size entries, with whatever cosignatures."""
        try:
            checkpoint = Policy(logs=self._policy.logs).verify_checkpoint(raw).signed.checkpoint
        except ProtocolError:
            return False
        return checkpoint == Checkpoint(view.checkpoint.origin, size, view.reader.root_at(size))

    def _copy_file(self, path: str, read: Callable[[], bytes], is_genuine: Callable[[bytes], bool]) -> bytes:
        """A verified file that never changes; it is fetched unless it is there."""
        local = find(self._storage, path)
        if local is not None:
            if not is_genuine(local):
                raise CorruptionError(f"{path} of the mirror is damaged")
            return local
        data = _checked(path, read(), is_genuine)
        self._storage.create([(path, data)])
        return data

    def _collect(self) -> None:
        """Remove partial tiles whose full one is there (C2SP tlog-tiles, "Partial Tiles")."""
        for folder, names, _ in os.walk(self._directory / "tile"):
            for name in names:
                partial = Path(folder, name)
                if name.endswith(".p") and partial.with_suffix("").is_file():
                    with durable.writing():
                        for path in partial.iterdir():
                            path.unlink()
                        partial.rmdir()
                    durable.sync_directory(Path(folder))


def _tile_of(level: int, index: int, size: int) -> Tile:
    return Tile(level, index, min(TILE_WIDTH, (size >> 8 * level) - index * TILE_WIDTH))


def _has_hash(digest: bytes) -> Callable[[bytes], bool]:
    return lambda data: hashlib.sha256(data).digest() == digest


def _checked(path: str, data: bytes, is_genuine: Callable[[bytes], bool]) -> bytes:
    if not is_genuine(data):
        raise ProofError(f"{path} is not what the ledger signed")
    return data


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with durable.writing():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, durable.PUBLIC_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise UnavailableError("another mirror runs in this directory") from exc
    try:
        yield
    finally:
        os.close(descriptor)
