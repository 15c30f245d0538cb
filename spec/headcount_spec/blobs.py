"""A file of sealed blobs, as a contact store gives it to the organiser: fixed records, sorted by nullifier.

"headcount/blobs/v1\\0" || scope_id[32] || uint8 n || (nullifier[32] || blob[355 + 81 n])*
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headcount_spec.errors import MalformedError
from headcount_spec.pledge import Nullifier
from headcount_spec.scope import ScopeId
from headcount_spec.sealed import blob_bytes
from headcount_spec.terms import MAX_TRUSTEES
from headcount_spec.wire import u8

_MAGIC = b"headcount/blobs/v1\x00"
HEADER_BYTES = len(_MAGIC) + 33
_BLOCK_RECORDS = 256

Blob = tuple[Nullifier, bytes]  # nullifier, blob


def record_bytes(n: int) -> int:
    """The size of a record in a scope with n trustees."""
    return 32 + blob_bytes(n)


def encode_header(scope_id: ScopeId, n: int) -> bytes:
    """The beginning of the file."""
    return _MAGIC + scope_id + u8(n)


def read_blobs(read: Callable[[int], bytes], scope_id: ScopeId, n: int) -> Iterator[Blob]:
    """The records of a file; read(size) gives its next bytes, fewer at the end.

    Raises:
        MalformedError: another kind of file, scope or number of trustees, truncated, or not ascending.
    """
    if not 1 <= n <= MAX_TRUSTEES or read(HEADER_BYTES) != encode_header(scope_id, n):
        raise MalformedError("not the sealed contacts of this scope")
    size, last = record_bytes(n), b""
    while block := read(size * _BLOCK_RECORDS):
        if len(block) % size:
            raise MalformedError("the file of sealed contacts is truncated")
        for at in range(0, len(block), size):
            nullifier = block[at : at + 32]
            if nullifier <= last:
                raise MalformedError("the sealed contacts are not in ascending order")
            last = nullifier
            yield Nullifier(nullifier), block[at + 32 : at + size]
