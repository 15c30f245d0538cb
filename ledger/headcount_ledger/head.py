"""The head of the ledger: the one row that is the truth after a crash."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, and_, insert, select, update

from headcount_ledger.schema import head
from headcount_spec.merkle import RootHash
from headcount_spec.seal import GENESIS


@dataclass(frozen=True, slots=True)
class Head:
    """The ledger after its last committed batch."""

    key: str  # vkey
    batches: int  # sealed so far
    size: int  # entries
    root: RootHash
    pledges: int
    day: int  # of the last seal
    seal: bytes  # leaf hash of the last seal, zeros before any
    chain: bytes  # over every leaf
    checkpoint: bytes  # signed by the ledger, no cosignatures
    published: bytes | None  # SHA-256 of the published checkpoint, None while its publication is pending

    @property
    def prev_root(self) -> bytes:
        """What the next seal says of the tree before its batch: the root, zeros before any batch."""
        return self.root if self.batches else GENESIS


def load_head(tx: Connection) -> Head:
    """The one row."""
    row = tx.execute(select(head)).one()
    return Head(
        row.key,
        row.batches,
        row.size,
        RootHash(row.root),
        row.pledges,
        row.day,
        row.seal,
        row.chain,
        row.checkpoint,
        row.published,
    )


def insert_head(tx: Connection, first: Head) -> None:
    """The row of a new ledger."""
    tx.execute(insert(head).values(id=1, **asdict(first)))


def swap_head(tx: Connection, old: Head, new: Head) -> bool:
    """Replace the head if it is still the old one; False if it is not."""
    unchanged = and_(
        head.c.batches == old.batches,
        head.c.size == old.size,
        head.c.root == old.root,
        head.c.published.is_not(None),
    )
    return tx.execute(update(head).where(unchanged).values(**asdict(new))).rowcount == 1


def mark_published(tx: Connection, batches: int, digest: bytes) -> bool:
    """Note what was published; False if the head is another by now."""
    done = update(head).where(head.c.batches == batches).values(published=digest)
    return tx.execute(done).rowcount == 1
