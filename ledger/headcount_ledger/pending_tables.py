"""The pending batch in PostgreSQL, so that another machine can finish what one has committed.

It stands in the database and not in the bucket, because there the sequencer's lock guards it: one that
has lost the lock cannot write over the batch of the one that took over.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from headcount_ledger.pending import Plan, check_plan, frame
from headcount_ledger.postgresql import copying
from headcount_ledger.schema import pending_objects, pending_plan
from headcount_ledger.store import LockedStore, Store
from headcount_spec.errors import CorruptionError, NotFoundError


class ObjectCopier:
    """Sends the objects of a batch to the server; see ``NewObjects``."""

    def __init__(self, copy: Any) -> None:
        self._copy = copy
        self._number = 0
        self._digest = hashlib.sha256()

    def add(self, path: str, data: bytes) -> None:
        """Append one object."""
        for part in frame(path, data):
            self._digest.update(part)
        self._copy.write_row((self._number, path, data))
        self._number += 1

    def finish(self) -> bytes:
        """The SHA-256 of all."""
        return self._digest.digest()


class StoredObjects:
    """Reads the objects of a batch back from the server, each in a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.read() as tx:
            query = select(pending_objects.c.path).order_by(pending_objects.c.number)
            self._paths = dict.fromkeys(tx.execute(query).scalars())
        if not self._paths:
            raise CorruptionError("the objects of the pending batch are missing")

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for path in self._paths:
            yield path, self.read(path)

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def read(self, path: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFoundError: the batch has none of this path.
        """
        with self._store.read() as tx:
            query = select(pending_objects.c.data).where(pending_objects.c.path == path)
            data = tx.execute(query).scalar_one_or_none()
        if data is None:
            raise NotFoundError(f"no {path} in the batch")
        return bytes(data)

    def digest(self) -> bytes:
        """The SHA-256 of all, computed from what is stored."""
        digest = hashlib.sha256()
        for path, data in self:
            for part in frame(path, data):
                digest.update(part)
        return digest.digest()


class PendingTables:
    """The two tables of the batch that is on its way; it holds one at most."""

    def __init__(self, store: LockedStore) -> None:
        self._store = store

    @contextlib.contextmanager
    def writer(self) -> Iterator[ObjectCopier]:
        """Begin a batch, in the place of whatever is there; durable when the block ends."""
        with self._store.write_aside() as tx:
            self._truncate(tx)
            with copying(tx, pending_objects) as copy:
                yield ObjectCopier(copy)

    def objects(self) -> StoredObjects:
        """The objects as they are stored."""
        return StoredObjects(self._store)

    def save(self, plan: Plan) -> None:
        """Keep the plan, durably."""
        with self._store.write_aside() as tx:
            tx.execute(delete(pending_plan))
            tx.execute(insert(pending_plan).values(id=1, plan=plan.to_bytes()))

    def load(self, batch: int) -> Plan:
        """The plan of a batch that the head says is committed."""
        with self._store.read() as tx:
            stored = tx.execute(select(pending_plan.c.plan)).scalar_one_or_none()
        return check_plan(stored, batch, self)

    def is_empty(self) -> bool:
        """Whether both tables are empty."""
        with self._store.read() as tx:
            columns = (pending_plan.c.id, pending_objects.c.number)
            return all(tx.execute(select(column).limit(1)).first() is None for column in columns)

    def clear(self) -> None:
        """Remove what is there: published, or never committed."""
        if self.is_empty():
            return  # every idle tick comes here, and a TRUNCATE makes new files
        with self._store.write_aside() as tx:
            self._truncate(tx)
            tx.execute(delete(pending_plan))

    def _truncate(self, tx: Connection) -> None:
        tx.exec_driver_sql(f"TRUNCATE {pending_objects.name}")
