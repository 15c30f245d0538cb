"""What a ledger says of a scope, verified as an auditor's reader would: for pages and badges.

Checkpoint, witnesses as the manifest demands them, the last seal's inclusion, and the totals file under the
hash in the seal. A page of this node shows no number that its own ledger has not published and signed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from headcount.scope_view import find_scope
from headcount_ledger.reader.reached import find_reached, seals, totals_at
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec.errors import NotFoundError, ProtocolError
from headcount_spec.quotas import option_counts
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.terms import Continues
from headcount_spec.tile import Fetch
from headcount_verifier.manifests import policy_of


@dataclass(frozen=True, slots=True)
class Count:
    """The count of one scope at the last seal."""

    gross: int
    live: int
    batch: int
    day: int  # of the batch
    size: int  # entries of the ledger
    options: Mapping[int, int] = field(default_factory=dict)  # live pledges of each; only with quotas

    @property
    def withdrawn(self) -> int:
        """How many pledges were taken back."""
        return self.gross - self.live


@dataclass(slots=True)
class _Step:
    """A scope that another continues, at the seal from which it does; this never changes."""

    live: int
    continues: Continues | None  # what it continues itself


@dataclass(slots=True)
class _Seen:
    """What was verified under one checkpoint."""

    view: LedgerView
    seal: Seal
    totals: Mapping[ScopeId, tuple[int, int]]


class Counts:
    """The counts of the scopes that one ledger holds. Threads may share it."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._seen: dict[bytes, tuple[bytes, _Seen]] = {}  # policy → (checkpoint, what it holds)
        self._steps: dict[tuple[ScopeId, int], _Step] = {}
        self._texts: dict[ScopeId, Mapping[str, str]] = {}
        self._reached: dict[ScopeId, int] = {}  # scope → day; permanent
        self._looked: dict[ScopeId, int] = {}  # scope → the last batch that is known not to have reached it
        self._closed: set[ScopeId] = set()

    def of(self, manifest: Manifest) -> Count | None:
        """The verified count; None where the ledger does not answer, has no batch, or does not verify."""
        try:
            seen = self._look(manifest)
            options = option_counts(manifest, seen.totals)
        except (ProtocolError, OSError):
            return None
        gross, live = seen.totals.get(manifest.scope_id, (0, 0))
        return Count(gross, live, seen.seal.batch, seen.seal.day, seen.view.size, options)

    def before(self, manifest: Manifest) -> int | None:
        """The count of what the terms continue, at the seals that they name; None if they continue nothing.

        Protocol, Section 2.3. The terms are looked up in the ledger. What cannot be read or verified counts
        for nothing: no more is shown than what is known.
        """
        if manifest.continues is None:
            return None
        found, seen = 0, {manifest.scope_id}
        continues: Continues | None = manifest.continues
        while continues is not None and (scope := ScopeId(continues.scope)) not in seen:
            seen.add(scope)
            try:
                step = self._step(manifest, scope, continues.seal)
            except (ProtocolError, OSError):
                break
            found += step.live
            continues = step.continues
        return found

    def _step(self, manifest: Manifest, scope: ScopeId, batch: int) -> _Step:
        known = self._steps.get((scope, batch))
        if known is None:
            view = self._look(manifest).view
            seal = next(placed.seal for placed in seals(view) if placed.seal.batch <= batch)
            _, live = totals_at(view, seal).get(scope, (0, 0))
            earlier = find_scope(view, scope, need_openings=False).manifest
            known = self._steps[scope, batch] = _Step(live, earlier.continues)
        return known

    def reached_on(self, manifest: Manifest) -> int | None:
        """The day of the first seal at which the campaign was reached; None as long as none is known.

        Protocol, Section 4.8.
        """
        scope_id = manifest.scope_id
        if scope_id in self._reached:
            return self._reached[scope_id]
        try:
            seen = self._look(manifest)
            if self._looked.get(scope_id) != seen.seal.batch:
                found = find_reached(seen.view, manifest, self._looked.get(scope_id, -1))
                self._looked[scope_id] = seen.seal.batch
                if found is not None:
                    self._reached[scope_id] = found.reached.day
        except (ProtocolError, OSError):
            return None
        return self._reached.get(scope_id)

    def is_closed(self, manifest: Manifest) -> bool:
        """Whether the ledger has published the closing of the scope."""
        if manifest.scope_id not in self._closed:
            try:
                found = find_scope(self._look(manifest).view, manifest.scope_id, need_openings=False)
            except (ProtocolError, OSError):
                return False
            if any(notice.statement.type == "closing" for notice in found.notices):
                self._closed.add(manifest.scope_id)
        return manifest.scope_id in self._closed

    def texts(self, manifest: Manifest) -> Mapping[str, str]:
        """The full texts by language, as the ledger publishes them; once complete they never change."""
        known = self._texts.get(manifest.scope_id)
        if known is not None:
            return known
        try:
            found = find_scope(self._look(manifest).view, manifest.scope_id, need_openings=False).texts
        except (ProtocolError, OSError):
            return {}
        if set(found) >= set(manifest.texts):
            self._texts[manifest.scope_id] = found
        return found

    def _look(self, manifest: Manifest) -> _Seen:
        policy = policy_of(manifest)
        name = policy.to_bytes()
        raw = self._fetch("checkpoint")
        with self._lock:
            kept = self._seen.get(name)
        if kept is not None and kept[0] == raw:
            return kept[1]
        view = open_ledger(_fixed(self._fetch, raw), policy)
        seen = _read(view)
        with self._lock:
            self._seen[name] = (raw, seen)
        return seen


def _read(view: LedgerView) -> _Seen:
    if view.size == 0:
        raise NotFoundError("the ledger has no batch yet")
    seal = Seal.from_bytes(view.entry(view.size - 1))
    return _Seen(view, seal, totals_at(view, seal))


def _fixed(fetch: Fetch, checkpoint: bytes) -> Callable[[str], bytes]:
    """The same files, with this checkpoint: the published one may move on meanwhile."""
    return lambda path: checkpoint if path == "checkpoint" else fetch(path)
