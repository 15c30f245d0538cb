"""Totals: both counts of every scope at a seal, in a static file whose hash the seal carries.

Where a scope has quotas, rows for its options stand among those of scopes (quotas).
"""

from __future__ import annotations

from collections.abc import Mapping

from headcount_spec.errors import MalformedError
from headcount_spec.scope import ScopeId
from headcount_spec.wire import Reader, u64

ROW_BYTES = 48


def totals_path(batch: int) -> str:
    """Where the file of a batch stands, relative to the ledger's prefix."""
    return f"totals/{batch}"


# struct {
#     opaque scope_id[32];
#     uint64 gross;
#     uint64 live;
# } Total;     the file is a sequence of them in ascending order of scope_id
def encode_totals(totals: Mapping[ScopeId, tuple[int, int]]) -> bytes:
    """The bytes of the file: scope id → (gross, live)."""
    return b"".join(scope + u64(gross) + u64(live) for scope, (gross, live) in sorted(totals.items()))


def decode_totals(data: bytes) -> dict[ScopeId, tuple[int, int]]:
    """Read the file, scope id → (gross, live).

    Raises:
        MalformedError: no multiple of 48 bytes, not ascending, or more live than gross.
    """
    if len(data) % ROW_BYTES:
        raise MalformedError(f"totals are no multiple of {ROW_BYTES} bytes")
    reader = Reader(data)
    totals: dict[ScopeId, tuple[int, int]] = {}
    last = b""
    while reader.left:
        scope, gross, live = ScopeId(reader.take(32)), reader.u64(), reader.u64()
        if scope <= last:
            raise MalformedError("totals are not in ascending order of scope ids")
        if live > gross:
            raise MalformedError("more live than gross pledges")
        totals[scope] = (gross, live)
        last = scope
    return totals
