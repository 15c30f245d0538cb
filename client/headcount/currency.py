"""How many of a count have been said lately: pledges made, changed or said again since a day.

A pledge of two years ago may be forgotten by who made it. Campaigns ask "still in?", and who is says so by a
revision to the same choice (headcount reaffirm). This number stands beside the count and never replaces it.
"""

from __future__ import annotations

from headcount_ledger.reader.reached import seals
from headcount_ledger.reader.view import LedgerView, Progress
from headcount_spec.entry import parse_entry
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import WITHDRAWN, ScopeId

_KINDS = (b"\x01", b"\x03")  # pledges and revisions


def said_since(view: LedgerView, scope_id: ScopeId, day: int, progress: Progress | None = None) -> int:
    """How many pledges of a scope stand and were said in a batch of this day or later.

    The audit of this view has passed: what stands there is valid, and checked again here is nothing. Only
    the batches since that day are read.

    Raises:
        ProofError, MalformedError, NotFoundError, UnavailableError: the files cannot be read.
    """
    first = view.size
    for placed in seals(view):
        if placed.seal.day < day:
            break
        first = placed.seal.first_index
    standing: set[Nullifier] = set()
    for _, data in view.scan(first, progress):
        if data[2:34] != scope_id or data[:1] not in _KINDS:
            continue
        entry = parse_entry(data)
        if isinstance(entry, Pledge):
            standing.add(entry.nullifier)
        elif isinstance(entry, Revision) and entry.choice == WITHDRAWN:
            standing.discard(entry.nullifier)
        elif isinstance(entry, Revision):
            standing.add(entry.nullifier)
    return len(standing)
