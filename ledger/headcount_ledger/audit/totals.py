"""The published totals of each batch against the recount."""

from __future__ import annotations

import hashlib

from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.recount import Recount
from headcount_spec.errors import MalformedError
from headcount_spec.scope import ScopeId
from headcount_spec.totals import decode_totals, totals_path


class TotalsAudit:
    """Compares ``totals/<batch>`` with the seal's hash and the counts."""

    __slots__ = ("_explained", "_faults", "_files", "_recount")

    def __init__(self, files: Files, recount: Recount, faults: FaultList) -> None:
        self._files = files
        self._recount = recount
        self._faults = faults
        # By how much totals and recount differ for a reason that has a fault of its own, and how many
        # pledges and revisions were invalid then.
        self._explained: dict[ScopeId, tuple[tuple[int, int], tuple[int, int]]] = {}

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
        before, seen = self._explained.get(scope_id, ((0, 0), (0, 0)))
        invalid = (scope.uncounted_pledges, scope.uncounted_revisions)
        differs = (said[0] - scope.gross, said[1] - scope.live)
        self._explained[scope_id] = (differs, invalid)
        if differs in ((0, 0), before):
            return
        # A ledger that took invalid entries has counted them; that fault is named already.
        gross, live = differs[0] - before[0], differs[1] - before[1]
        pledges, revisions = invalid[0] - seen[0], invalid[1] - seen[1]
        counted_all = gross in (0, pledges) and -revisions <= live - gross <= revisions
        if is_whole and not counted_all:
            self._faults.add(
                "edited-count",
                f"{path} says {said[0]} pledges and {said[1]} live of {scope.manifest.title_text!r} "
                f"where {scope.gross} and {scope.live} are",
                batch=batch,
            )
