"""The published totals of each batch against the recount."""

from __future__ import annotations

import hashlib

from headcount_spec.errors import MalformedError
from headcount_spec.scope import ScopeId
from headcount_spec.totals import decode_totals, totals_path

from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.recount import Recount


class TotalsAudit:
    """Compares ``totals/<batch>`` with the seal's hash and the counts."""

    __slots__ = ("_explained", "_faults", "_files", "_recount")

    def __init__(self, files: Files, recount: Recount, faults: FaultList) -> None:
        self._files = files
        self._recount = recount
        self._faults = faults
        # By how much totals and recount differ for a reason that has a fault of its own.
        self._explained: dict[ScopeId, tuple[int, int]] = {}

    def check(self, batch: int, expected_hash: bytes, is_whole: bool) -> None:
        """Judge one file; is_whole unless entries of the batch are missing or changed."""
        path = totals_path(batch)
        data = self._files.read(path, batch=batch)
        if data is None:
            return
        if hashlib.sha256(data).digest() != expected_hash:
            self._faults.add("edited-count", f"{path} is not the file whose hash the seal has", batch=batch)
            return
        try:
            totals = decode_totals(data)
        except MalformedError as exc:
            self._faults.add("edited-count", f"{path}: {exc}", batch=batch)
            return
        for scope_id in sorted(totals.keys() | self._recount.totals().keys()):
            self._compare(path, batch, scope_id, totals.get(scope_id, (0, 0)), is_whole)

    def _compare(
        self, path: str, batch: int, scope_id: ScopeId, said: tuple[int, int], is_whole: bool
    ) -> None:
        scope = self._recount.scopes.get(scope_id)
        if scope is None:
            if is_whole and scope_id not in self._recount.unknown:
                self._faults.add(
                    "edited-count",
                    f"{path} counts scope {scope_id.hex()[:16]}…, which is not here",
                    batch=batch,
                )
            return
        differs = (said[0] - scope.gross, said[1] - scope.live)
        if differs in ((0, 0), self._explained.get(scope_id)):
            self._explained[scope_id] = differs
            return
        # A ledger that took an invalid entry has counted it; that fault is named already.
        invalid, revisions = scope.uncounted_pledges, scope.uncounted_revisions
        counted_all = differs[0] == invalid and abs(differs[1] - invalid) <= revisions
        if is_whole and not counted_all:
            self._faults.add(
                "edited-count",
                f"{path} says {said[0]} pledges and {said[1]} live of {scope.manifest.title_text!r} "
                f"where {scope.gross} and {scope.live} are",
                batch=batch,
            )
        self._explained[scope_id] = differs
