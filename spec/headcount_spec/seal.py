"""Seals: the last leaf of every batch, which chains the ledger.

Whether a seal is true is the audit's question; here are its bytes and the running chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.wire import Reader, u32, u64

HEADER = b"\x02\x01"  # entry type, version
GENESIS = bytes(32)  # every prev_ field of batch 0


def chain_start(origin: str) -> bytes:
    """c_0, before the first leaf of the ledger with this origin line. Protocol, Section 4."""
    return hashlib.sha256(origin.encode() + b"\n").digest()


def chain_extend(chain: bytes, leaf_hash: bytes) -> bytes:
    """c_i from c_(i-1) and the hash of leaf i. Protocol, Section 4.

    A seal's own leaf joins the chain after it: its field is over every leaf before it.
    """
    return hashlib.sha256(b"\x02" + chain + leaf_hash).digest()


def chain_over(chain: bytes, leaf_hashes: Iterable[bytes]) -> bytes:
    """The chain after these leaves, one after the other."""
    digest = hashlib.sha256
    for hash in leaf_hashes:
        chain = digest(b"\x02" + chain + hash).digest()
    return chain


# struct {
#     uint8 entry_type = 2;  uint8 version = 1;
#     uint64 batch;
#     uint64 first_index;
#     uint64 pledges_in_batch;
#     uint64 pledges_total;
#     uint32 day;
#     opaque prev_seal[32];
#     opaque prev_root[32];
#     opaque prev_checkpoint[32];
#     opaque totals[32];
#     opaque chain[32];
# } Seal;
@dataclass(frozen=True, slots=True)
class Seal:
    """The end of one batch."""

    batch: int  # from 0
    first_index: int  # of the batch's first leaf
    pledges_in_batch: int
    pledges_total: int  # this batch's included
    day: int  # UTC days since 1970, never falling
    prev_seal: bytes  # leaf hash of the seal before
    prev_root: bytes  # root hash of everything before the batch
    prev_checkpoint: bytes  # SHA-256 of the checkpoint before, as published, with its cosignatures
    totals: bytes  # SHA-256 of the file totals/<batch>
    chain: bytes  # over every leaf before this one

    def to_bytes(self) -> bytes:
        """The entry, 198 bytes."""
        return b"".join(
            (
                HEADER,
                u64(self.batch),
                u64(self.first_index),
                u64(self.pledges_in_batch),
                u64(self.pledges_total),
                u32(self.day),
                self.prev_seal,
                self.prev_root,
                self.prev_checkpoint,
                self.totals,
                self.chain,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Seal:
        """Read an entry.

        Raises:
            MalformedError: another type, version or length, or more pledges in the batch than in all.
        """
        reader = Reader(data)
        reader.expect(HEADER, "entry type or version")
        seal = cls(
            reader.u64(),
            reader.u64(),
            reader.u64(),
            reader.u64(),
            reader.u32(),
            reader.take(32),
            reader.take(32),
            reader.take(32),
            reader.take(32),
            reader.take(32),
        )
        reader.finish()
        if seal.pledges_in_batch > seal.pledges_total:
            raise MalformedError("more pledges in the batch than in all batches")
        return seal
