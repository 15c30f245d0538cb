"""Moving a ledger from SQLite to PostgreSQL, and its tree into a bucket where one is named.

1. Under the sequencer's lock of the old place: freeze. The mark is a row in the old database, and every
   transaction that writes there looks for it first.
2. Copy the tree, all but ``checkpoint``, and the tables, all but ``head``.
3. Compare every row with its original, and recompute the tree from the copied entries up to the root.
4. Write ``checkpoint``, and at last the row of ``head``: with it the new place is a ledger.

The old place takes nothing from step 1 on, the new one nothing before the end of step 4: there are
never two writers. Interrupted at any point, the same command goes on; the mark names the new place,
and no other is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Table, delete, insert, select

from headcount_ledger import durable, schema, staged
from headcount_ledger.config import LedgerConfig
from headcount_ledger.head import Head, insert_head, load_head
from headcount_ledger.ledger import Ledger
from headcount_ledger.place import has_tables, open_database, open_storage
from headcount_ledger.postgresql import copying
from headcount_ledger.storage import CHECKPOINT, Storage, find
from headcount_ledger.store import Store
from headcount_spec import merkle
from headcount_spec.errors import ConfigurationError, CorruptionError, ProtocolError, UnavailableError
from headcount_spec.merkle import CompactRange, LeafHash, leaf_hash
from headcount_spec.tile import TileReader, bundles_for, tiles_for

CHUNK = 50_000  # rows in one transaction
READERS = 16  # bundles that are fetched at once
_HINTS = "scopes"

# By nullifier, so that what is there already is a beginning; the others are small and copied as a whole.
_LARGE = (schema.spent, schema.staged_pledges, schema.staged_revisions)
_SMALL = (schema.scopes, schema.option_counts, schema.notices, schema.staged_notices)

Report = Callable[[str], object]


def migrate(source: LedgerConfig, target: LedgerConfig, report: Report = lambda _line: None) -> Head:
    """Move a ledger; its head in the new place.

    Raises:
        ConfigurationError: the new place is no other one, or there is something in it already.
        CorruptionError: what was copied is not what was read, or the old ledger is damaged.
        UnavailableError: the old ledger is sealing, or a server does not answer; run it again.
    """
    if source.postgresql is not None or source.bucket is not None:
        raise ConfigurationError("a ledger is moved from SQLite and a directory")
    if target.postgresql is None:
        raise ConfigurationError("the new configuration has no ledger.database to move to")
    with Ledger.open(source) as old, old.store.locked(source.lock):
        engine = open_database(target)
        new = Store(engine)
        try:
            successor = _successor(old.store)
            if successor is None:
                elsewhere = target.bucket is not None or target.public.resolve() != source.public.resolve()
                if has_tables(engine) or (elsewhere and find(open_storage(target), CHECKPOINT) is not None):
                    raise ConfigurationError(f"there is a ledger in {target.place} already")
                _freeze(old.store, target.place)
            elif successor != target.place:
                raise ConfigurationError(f"this ledger is moving, or has moved, to {successor}")
            report(f"frozen: nothing is accepted or sealed in {source.directory} any more")
            return _Move(old, new, target, report).run()
        finally:
            new.close()


def _successor(store: Store) -> str | None:
    """Where the ledger is moving to, None while it stays."""
    with store.read() as tx:
        return tx.execute(select(schema.frozen.c.successor)).scalar_one_or_none()


def _freeze(store: Store, successor: str) -> None:
    with store.write() as tx:
        if load_head(tx).published is None:
            raise UnavailableError("the last batch is not published yet: `headcount ledger seal` finishes it")
        staged.settle(tx)
        tx.execute(insert(schema.frozen).values(id=1, successor=successor))


class _Move:
    """The steps after the freezing; each finds out what is done already."""

    def __init__(self, old: Ledger, new: Store, target: LedgerConfig, report: Report) -> None:
        self._old = old
        self._new = new
        self._target = target
        self._storage = open_storage(target)
        self._report = report
        self._head = old.head()

    def run(self) -> Head:
        """Copy, compare, open the new place."""
        self._new.create_tables()
        with self._new.read() as tx:
            moved = tx.execute(select(schema.head.c.id)).first() is not None
        if not moved:
            self._copy_key()
            self._copy_tree()
            for table in _LARGE:
                self._copy_large(table)
            for table in _SMALL:
                self._copy_small(table)
            for table in (*_LARGE, *_SMALL):
                self._compare(table)
            self._check_tree()
            self._storage.swap(CHECKPOINT, self._old.storage.read(CHECKPOINT), None)
            with self._new.write() as tx:
                insert_head(tx, self._head)
        with self._new.read() as tx:
            head = load_head(tx)
        if head.key != self._head.key:
            raise ConfigurationError(f"there is another ledger in {self._target.place}")
        self._report(f"moved: the ledger is in {self._target.place}")
        return head

    def _copy_key(self) -> None:
        key = self._old.config.key
        if self._target.key.resolve() != key.resolve():
            durable.create_files([(self._target.key, key.read_bytes())], durable.PRIVATE_MODE)

    def _copy_tree(self) -> None:
        public = self._old.config.public
        if self._target.bucket is None and self._target.public.resolve() == public.resolve():
            return
        self._storage.create((path, (public / path).read_bytes()) for path in _files(public))
        for path in _files(public, _HINTS):
            self._storage.put(path, (public / path).read_bytes())
        self._report(f"tree: {sum(1 for _ in _files(public))} objects")

    def _copy_large(self, table: Table) -> None:
        """Append the rows behind those that are there, by COPY, a chunk in each transaction."""
        names = table.c.nullifier
        with self._new.read() as tx:
            last = tx.execute(select(names).order_by(names.desc()).limit(1)).scalar() or b""
        copied = 0
        while True:
            with self._old.store.read() as tx:
                query = select(table).where(names > last).order_by(names).limit(CHUNK)
                rows = tx.execute(query).all()
            if not rows:
                break
            with self._new.write() as tx, copying(tx, table) as copy:
                for row in rows:
                    copy.write_row(tuple(row))
            last, copied = rows[-1].nullifier, copied + len(rows)
        self._report(f"{table.name}: {copied} rows")

    def _copy_small(self, table: Table) -> None:
        with self._old.store.read() as tx:
            rows = [dict(row._mapping) for row in tx.execute(select(table))]
        with self._new.write() as tx:
            tx.execute(delete(table))
            if rows:
                tx.execute(insert(table), rows)
        self._report(f"{table.name}: {len(rows)} rows")

    def _compare(self, table: Table) -> None:
        """Every row, in the order of a column of bytes: texts have another order in every database."""
        order = table.c.nullifier if table in _LARGE else next(iter(table.primary_key))
        if table in (schema.notices, schema.staged_notices):
            order = table.c.leaf_hash
        orders = (table.c.scope, table.c.choice) if table is schema.option_counts else (order,)
        query = select(table).order_by(*orders).execution_options(yield_per=1000)
        with (
            self._old.store.read() as old,
            self._new.read() as new,
            old.execute(query) as originals,
            new.execute(query) as copies,
        ):
            pairs: Iterator[tuple[Row[Any] | None, Row[Any] | None]] = zip_longest(originals, copies)
            if any(one is None or other is None or tuple(one) != tuple(other) for one, other in pairs):
                raise CorruptionError(f"the copied table {table.name} is not the one that was read")

    def _check_tree(self) -> None:
        """Hash all entries as they stand in the new place, and compare tiles, root and last seal."""
        head = self._head
        try:
            root, last = _recompute(self._storage, head.size)
        except ProtocolError as exc:
            raise CorruptionError(f"the copied tree is damaged: {exc}") from exc
        if root != head.root or (head.size and last != head.seal):
            raise CorruptionError("the copied entries lead to another root than the head's")
        for folder in ("totals", "checkpoints"):
            for path in _files(self._old.config.public, folder):
                if self._storage.read(path) != self._old.storage.read(path):
                    raise CorruptionError(f"the copied {path} is not the one that was read")
        self._report(f"root: {root.hex()} of {head.size} entries, recomputed from the copy")


def _recompute(storage: Storage, size: int) -> tuple[merkle.RootHash, LeafHash | None]:
    """Root and last leaf hash, from the entries; every tile of this size is compared on the way."""
    reader = TileReader(storage.read, size)
    tree, last = CompactRange(), None

    def hashes_of(index: int) -> list[LeafHash]:
        hashes = [leaf_hash(entry) for entry in reader.bundle(index)]
        if reader.tile(0, index) != b"".join(hashes):
            raise CorruptionError("a tile does not fit the entries below it")
        return hashes

    bundles = bundles_for(size)
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(bundles), 4 * READERS):
            indices = [bundle.index for bundle in bundles[start : start + 4 * READERS]]
            for hashes in pool.map(hashes_of, indices):
                tree.extend(hashes)
                last = hashes[-1]
    for tile in tiles_for(size):
        if tile.level:
            below = [reader.tile(tile.level - 1, 256 * tile.index + i) for i in range(tile.width)]
            roots = [merkle.root([data[i : i + 32] for i in range(0, len(data), 32)]) for data in below]
            if reader.tile(tile.level, tile.index) != b"".join(roots):
                raise CorruptionError("a tile does not fit the tiles below it")
    return tree.root(), last


def _files(public: Path, folder: str | None = None) -> Iterator[str]:
    """Paths of the published files of a folder; None: all that never change."""
    for path in sorted((public / (folder or "")).rglob("*")):
        name = str(path.relative_to(public))
        immutable = name != CHECKPOINT and not name.startswith(f"{_HINTS}/")
        if path.is_file() and not path.name.startswith(".") and (immutable or folder is not None):
            yield name
