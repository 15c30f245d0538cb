"""The published totals of each batch against the recount."""

from __future__ import annotations

import hashlib

from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.recount import Recount
from headcount_ledger.audit.scopes import ScopeRecount
from headcount_spec.errors import MalformedError
from headcount_spec.quotas import option_id
from headcount_spec.scope import MAX_OPTIONS, ScopeId
from headcount_spec.totals import decode_totals, totals_path


class TotalsAudit:
    """Compares ``totals/<batch>`` with the seal's hash and the counts."""

    __slots__ = ("_explained", "_faults", "_files", "_options", "_recount")

    def __init__(self, files: Files, recount: Recount, faults: FaultList) -> None:
        self._files = files
        self._recount = recount
        self._faults = faults
        # By how much totals and recount differ for a reason that has a fault of its own, and how many
        # pledges and revisions were invalid then.
        self._explained: dict[ScopeId, tuple[tuple[int, int], tuple[int, int]]] = {}
        self._options: dict[ScopeId, dict[ScopeId, int]] = {}  # scope → row → option

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
        counted = self._recount.totals()
        options = {
            row: (scope, option)
            for scope in counted.values()
            if scope.manifest.quotas is not None
            for row, option in self._options_of(scope.manifest.scope_id).items()
            if row in totals or scope.choices[option]
        }
        for row in sorted(totals.keys() | counted.keys() | options.keys()):
            said = totals.get(row, (0, 0))
            known = self._recount.scopes.get(row)
            if row in options:
                self._compare_option(path, batch, row, said, *options[row], is_whole)
            elif known is not None:
                self._compare(path, batch, known, said, is_whole)
            elif is_whole and not self._is_of_unknown(row):
                detail = f"{path} counts scope {row.hex()[:16]}…, which is not here"
                self._faults.add("edited-count", detail, batch=batch)

    def _options_of(self, scope_id: ScopeId) -> dict[ScopeId, int]:
        """The rows that the options of a scope have."""
        if scope_id not in self._options:
            rows = {option_id(scope_id, option): option for option in range(1, MAX_OPTIONS + 1)}
            self._options[scope_id] = rows
        return self._options[scope_id]

    def _is_of_unknown(self, row: ScopeId) -> bool:
        """Whether it is a scope without terms, or may be an option of one: these are faulted already."""
        return any(row == scope or row in self._options_of(scope) for scope in self._recount.unknown)

    def _compare_option(
        self,
        path: str,
        batch: int,
        row: ScopeId,
        said: tuple[int, int],
        scope: ScopeRecount,
        option: int,
        is_whole: bool,
    ) -> None:
        live = scope.choices[option]
        before, seen = self._explained.get(row, ((0, 0), (0, 0)))
        invalid = (scope.uncounted_pledges, scope.uncounted_revisions)
        differs = (said[0] - live, said[1] - live)
        self._explained[row] = (differs, invalid)
        if differs in ((0, 0), before):
            return
        # As below: what the ledger has counted of invalid entries.
        more = differs[0] - before[0]
        pledges, revisions = invalid[0] - seen[0], invalid[1] - seen[1]
        is_explained = said[0] == said[1] and -revisions <= more <= pledges + revisions
        if is_whole and not is_explained:
            self._faults.add(
                "edited-count",
                f"{path} says {said[0]} and {said[1]} at option {option} of {scope.manifest.title_text!r} "
                f"where {live} are live",
                batch=batch,
            )

    def _compare(
        self, path: str, batch: int, scope: ScopeRecount, said: tuple[int, int], is_whole: bool
    ) -> None:
        scope_id = scope.manifest.scope_id
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
