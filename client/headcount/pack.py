"""Making a proof pack from a published ledger: what shows the count of one scope without the ledger."""

from __future__ import annotations

from collections.abc import Iterator

from headcount.scope_view import find_scope
from headcount_ledger.reader.view import LedgerView, Progress
from headcount_spec.errors import MalformedError, ProofError
from headcount_spec.pack import Pack, VerifiedPack, make_pack, verify_pack
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal


def make(view: LedgerView, scope_id: ScopeId, progress: Progress | None = None) -> tuple[Pack, VerifiedPack]:
    """The pack of a scope at the view's checkpoint, verified under the view's policy.

    Reads the bundles in which a seal or one of the scope's notices stands.

    Raises:
        NotFoundError: the ledger has no such scope, or a file of it is missing.
        ProtocolError: what the ledger shows is no proof, as headcount_spec.pack.verify_pack.
    """
    scope = find_scope(view, scope_id, need_openings=False, progress=progress)
    indices = {item.index for item in scope.notices}
    first = min(item.index for item in scope.notices if item.statement.type == "manifest")
    leaves = {index: view.entry(index) for index in sorted(indices)}
    leaves |= dict(_seals(view, first, progress))
    pack = make_pack(scope_id, sorted(leaves.items()), view.reader.hash, view.fetch, view.verified.signed)
    return pack, verify_pack(pack, view.policy)


def _seals(view: LedgerView, first: int, progress: Progress | None) -> Iterator[tuple[int, bytes]]:
    """The seals behind a leaf index, the last first: each says where the one before it stands."""
    index = view.size - 1
    while index > first:
        entry = view.entry(index)
        try:
            seal = Seal.from_bytes(entry)
        except MalformedError as exc:
            raise ProofError(f"entry {index} is not the seal that must stand there") from exc
        if not seal.first_index <= index:
            raise ProofError(f"the seal of batch {seal.batch} names a later first entry")
        yield index, entry
        if progress is not None:
            progress(view.size - seal.first_index, view.size - first)
        index = seal.first_index - 1
    if progress is not None:
        progress(1, 1)
