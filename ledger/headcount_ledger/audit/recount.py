"""The recount: entries in the order of the log, batch by batch, into counts and faults.

Takes what ``scan`` has verified by the block, and entry by entry what ``bundle`` has parsed and ``block``
has found genuine; reads no bundle itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from headcount_engine.acceptance import ScopeVerifier
from headcount_ledger.audit.bundle import Leaf, ScopeJudge
from headcount_ledger.audit.fault import FaultList, Place
from headcount_ledger.audit.scopes import CountedPledge, PlacedNotice, ScopeRecount
from headcount_ledger.audit.spent import Spent
from headcount_ledger.audit.unit import PREFIX_BYTES, Extent, PledgeRun
from headcount_spec import batch as batches
from headcount_spec import blind_rsa, lint, spki
from headcount_spec.errors import ProtocolError, SignatureError, UnavailableError
from headcount_spec.merkle import LeafHash
from headcount_spec.note import VerificationKey
from headcount_spec.notice import Notice, manifest_of
from headcount_spec.pledge import Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import format_day
from headcount_spec.wire import u16

SCOPE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of the log."""

    index: int
    hash: LeafHash
    leaf: Leaf | None  # None if no served entry has the hash

    @property
    def number(self) -> int:
        """How many entries it is."""
        return 1

    @property
    def offset(self) -> int | None:
        """Of the entry in its bundle."""
        return None if self.leaf is None else self.leaf.offset


@dataclass(frozen=True, slots=True)
class PlacedRun:
    """Verified pledges side by side in one block."""

    index: int  # of the first
    run: PledgeRun
    entry: Callable[[int], tuple[Slot, Leaf]]  # reads one of them again by its position in the run

    @property
    def number(self) -> int:
        """How many they are."""
        return self.run.number


Part = Slot | PlacedRun


class BatchCount(NamedTuple):
    """What one batch held, for its seal to be compared with."""

    pledges: int  # leaves, valid or not
    missing: int  # places of which it is not known what stands there
    is_ordered: bool
    counted: Mapping[ScopeId, int]  # valid pledges by scope
    live: Mapping[ScopeId, int]  # at the seal, of the scopes whose count has changed


class Recount:
    """The state of the recount after the entries so far."""

    def __init__(
        self,
        origin: str,
        log_keys: Sequence[VerificationKey],
        faults: FaultList,
        spent: Spent,
        extent: Extent,
    ) -> None:
        self.scopes: dict[ScopeId, ScopeRecount] = {}
        self.spent = spent
        self._extent = extent
        self.judges: dict[ScopeId, ScopeJudge] = {}
        self._origin = origin
        self._log_keys = tuple(log_keys)
        self._faults = faults
        self.has_gaps = False  # some entry is not served
        self.unknown: set[ScopeId] = set()  # without terms, each faulted once

    def restore(self, state: dict[str, Any]) -> None:
        """Take a scope as an earlier run has left it."""

        def judge(manifest: Manifest) -> ScopeJudge:
            return self.judges.setdefault(manifest.scope_id, ScopeJudge(manifest))

        scope = ScopeRecount.from_state(state, judge)
        self.scopes[scope.manifest.scope_id] = scope

    def take_batch(self, parts: Sequence[Part], batch: int, day: int) -> BatchCount:
        """Judge and count the entries of one batch, the seal not among them."""
        slots = [part for part in parts if isinstance(part, Slot)]
        present = [(slot, slot.leaf) for slot in slots if slot.leaf is not None]
        is_ordered = self._check_order(parts, batch)
        self.has_gaps = self.has_gaps or len(present) < len(slots)
        for scope in self.scopes.values():
            scope.has_gaps = self.has_gaps
        live_before = {scope_id: scope.live for scope_id, scope in self.scopes.items()}
        notices: list[PlacedNotice] = []
        leaves: Counter[ScopeId] = Counter()
        counted: Counter[ScopeId] = Counter()
        pledges: list[PlacedRun | tuple[Slot, Leaf, Pledge]] = []
        revisions: list[tuple[Slot, Leaf, Revision]] = []
        for part in parts:
            if isinstance(part, PlacedRun):
                pledges.append(part)
                for what, number in part.run.choices:
                    leaves[ScopeId(what[:SCOPE_BYTES])] += number
                continue
            slot, leaf = part, part.leaf
            if leaf is None:
                continue
            entry = leaf.entry
            if isinstance(entry, Pledge):
                pledges.append((slot, leaf, entry))
                leaves[entry.scope_id] += 1
            elif isinstance(entry, Revision):
                revisions.append((slot, leaf, entry))
            elif isinstance(entry, Notice):
                notices.append(PlacedNotice(slot.index, leaf.offset, leaf.hash, entry))
            elif leaf.verdict is not None:
                self._faults.add(
                    leaf.verdict.code, leaf.verdict.detail, batch=batch, index=slot.index, offset=leaf.offset
                )
        # Notices first: a manifest and its notices may stand in one batch in any order.
        self._take_notices(notices, batch, day)
        for item in pledges:
            if isinstance(item, PlacedRun):
                counted.update(self._take_run(item, batch, day))
            elif self._take_pledge(*item, batch, day):
                counted[item[2].scope_id] += 1
        for slot, leaf, revision in revisions:
            self._take_revision(slot, leaf, revision, batch, day)
        for scope_id, scope in self.scopes.items():
            scope.seal(batch, day, leaves[scope_id], counted[scope_id], self._faults)
        missing = len(slots) - sum(leaf.entry is not None for _, leaf in present)
        live = {
            scope_id: scope.live
            for scope_id, scope in self.scopes.items()
            if counted[scope_id] or scope.live != live_before.get(scope_id, 0)
        }
        return BatchCount(leaves.total(), missing, is_ordered, dict(+counted), live)

    def totals(self) -> Mapping[ScopeId, ScopeRecount]:
        """The scopes that have pledges."""
        return {scope_id: scope for scope_id, scope in self.scopes.items() if scope.gross}

    def _check_order(self, parts: Sequence[Part], batch: int) -> bool:
        last: batches.Key = (0, b"", 0)
        for part in parts:
            if isinstance(part, PlacedRun):
                first, end = ((1, nullifier, 0) for nullifier in part.run.edges)
            elif part.leaf is not None and part.leaf.entry is not None:
                first = end = batches.sort_key(part.leaf.entry)
            else:
                continue
            if first < last:
                offset = part.entry(0)[1].offset if isinstance(part, PlacedRun) else part.offset
                self._faults.add(
                    "reordered-batch",
                    "the entry does not stand behind the one before it",
                    batch=batch,
                    index=part.index,
                    offset=offset,
                )
                return False
            last = end
        return True

    def _take_notices(self, notices: Sequence[PlacedNotice], batch: int, day: int) -> None:
        by_scope: dict[ScopeId, list[PlacedNotice]] = {}
        for placed in notices:
            statement = placed.notice.statement
            by_scope.setdefault(statement.scope, []).append(placed)
            if statement.type == "manifest" and statement.scope not in self.scopes:
                self._open(placed, manifest_of(statement), batch)
        for scope_id, theirs in by_scope.items():
            scope = self.scopes.get(scope_id)
            if scope is not None:
                scope.take_notices(theirs, batch, day, self._faults)
                continue
            first = theirs[0]
            place: Place = {"batch": batch, "index": first.index, "offset": first.offset}
            self._add_unknown(scope_id, "notices", place)

    def _open(self, placed: PlacedNotice, manifest: Manifest, batch: int) -> None:
        place: Place = {"batch": batch, "index": placed.index, "offset": placed.offset}
        problems = [
            f"{finding.path}: {finding.message}"
            for finding in lint.lint(manifest.json, [scope.manifest for scope in self.scopes.values()])
            if finding.severity == "error"
        ]
        if manifest.ledger.origin != self._origin or manifest.ledger.key not in self._log_keys:
            problems.append("its pledges count in another ledger")
        if manifest.continues is not None:
            before = self.scopes.get(ScopeId(manifest.continues.scope))
            if before is None or not before.batch <= manifest.continues.seal < batch:
                problems.append("it continues a scope, or from a seal, that was not there")
        ours = {issuer.token_key for issuer in manifest.issuers}
        for scope in self.scopes.values():
            if ours & {issuer.token_key for issuer in scope.manifest.issuers}:
                problems.append(f"it shares a token key with {scope.manifest.title_text!r}")
        if problems:
            self._faults.add("refused-terms", f"{manifest.title_text!r}: {'; '.join(problems)}", **place)
        judge = self.judges[manifest.scope_id] = ScopeJudge(manifest)
        self.scopes[manifest.scope_id] = ScopeRecount(manifest, judge, batch, has_gaps=self.has_gaps)

    def _take_run(self, placed: PlacedRun, batch: int, day: int) -> Counter[ScopeId]:
        """Count verified pledges side by side; one by one only where the batch or the scope asks for it."""
        run = placed.run
        counted: Counter[ScopeId] = Counter()
        left = dict(run.choices)
        scopes = [self.scopes.get(ScopeId(what[:SCOPE_BYTES])) for what in left]
        plain = all(
            scope is not None and scope.batch < batch and self._too_soon_or_late(scope, batch, day) is None
            for scope in scopes
        )
        alone = self.spent.hits(run.prefixes) if plain else range(run.number)
        for position in alone:
            slot, leaf = placed.entry(position)
            pledge = leaf.entry
            if not isinstance(pledge, Pledge):
                raise UnavailableError("the files change while they are read")
            left[pledge.scope_id + u16(pledge.choice)] -= 1
            if self._take_pledge(slot, leaf, pledge, batch, day):
                counted[pledge.scope_id] += 1
        if not plain:
            return counted
        for scope, (what, number) in zip(scopes, left.items(), strict=True):
            if scope is not None:
                scope.count(int.from_bytes(what[SCOPE_BYTES:], "big"), number)
                counted[scope.manifest.scope_id] += number
        start = 0
        for position in (*alone, run.number):
            if position > start:
                prefixes = run.prefixes[start * PREFIX_BYTES : position * PREFIX_BYTES]
                self.spent.put_run(prefixes, placed.index + start)
            start = position + 1
        return counted

    def _take_pledge(self, slot: Slot, leaf: Leaf, pledge: Pledge, batch: int, day: int) -> bool:
        place: Place = {"batch": batch, "index": slot.index, "offset": leaf.offset}
        scope = self.scopes.get(pledge.scope_id)
        if scope is None or scope.batch >= batch:
            self._miss(pledge, place, swapped=scope is None)
            return False
        fault = self._judge(slot, leaf, pledge, scope, batch, day)
        if fault is not None:
            self._faults.add(*fault, **place)
            scope.uncounted_pledges += 1
            self.spent.refuse(pledge.nullifier)
            return False
        counted = CountedPledge(slot.index, batch, scope, pledge.revision_key, pledge.choice)
        self.spent.put(pledge.nullifier, counted)
        scope.count(pledge.choice)
        return True

    def _judge(
        self, slot: Slot, leaf: Leaf, pledge: Pledge, scope: ScopeRecount, batch: int, day: int
    ) -> tuple[str, str] | None:
        """Why a pledge does not count, None if it does."""
        before = self.spent.get(pledge.nullifier)
        if before is not None:
            return "replayed-token", f"it has counted already as entry {before.index}"
        verdict = leaf.verdict
        if verdict is None and self._extent.covers(slot.index, pledge.scope_id):
            verdict = scope.judge.judge(pledge)
        if verdict is not None and verdict.code:
            return verdict.code, verdict.detail
        return self._too_soon_or_late(scope, batch, day)

    def _too_soon_or_late(self, scope: ScopeRecount, batch: int, day: int) -> tuple[str, str] | None:
        manifest = scope.manifest
        if not scope.is_opened_before(batch) and not self.has_gaps:
            return "missing-opening", f"not every issuer has opened {manifest.title_text!r}"
        if day < manifest.opens:
            return "early-entry", f"{manifest.title_text!r} opens on {format_day(manifest.opens)}"
        if day > manifest.deadline_day or (scope.closed_in is not None and scope.closed_in < batch):
            return "late-entry", f"{manifest.title_text!r} closed on {format_day(manifest.closes)}"
        return None

    def _miss(self, pledge: Pledge, place: Place, *, swapped: bool) -> None:
        """A pledge whose terms are not there: has somebody put other terms in their place?"""
        if pledge.scope_id in self.unknown:
            return
        name = f"scope {pledge.scope_id.hex()[:16]}…"
        for scope in self.scopes.values() if swapped else ():
            for issuer in scope.manifest.issuers:
                # The token input does not matter: whose signature it is shows in its structure.
                public = spki.decode_token_key(issuer.token_key)
                if any(blind_rsa.diagnose(public, b"", a) == "other-message" for a in pledge.authenticators):
                    self._faults.add(
                        "swapped-terms",
                        f"pledges of {name} are signed by the token key of {scope.manifest.title_text!r}, "
                        "whose terms are others",
                        **place,
                    )
                    self.unknown.add(pledge.scope_id)
                    return
        self._add_unknown(pledge.scope_id, "pledges", place)

    def _take_revision(self, slot: Slot, leaf: Leaf, revision: Revision, batch: int, day: int) -> None:
        place: Place = {"batch": batch, "index": slot.index, "offset": leaf.offset}
        scope = self.scopes.get(revision.scope_id)
        if scope is None:
            self._add_unknown(revision.scope_id, "revisions", place)
            return
        pledge = self.spent.revised(revision.nullifier)
        if pledge is None or pledge.scope is not scope:
            # That its pledge does not count, or is not served, is a fault already.
            if not self.has_gaps and not self.spent.is_refused(revision.nullifier):
                self._faults.add("wrong-revision", "there is no such pledge in the scope", **place)
            scope.uncounted_revisions += 1
            return
        fault = self._judge_revision(revision, pledge, batch, day)
        if fault is None:
            pledge.serial, pledge.revised_in = revision.serial, batch
            scope.change(pledge, revision.choice)
        else:
            scope.uncounted_revisions += 1
            self._faults.add(*fault, **place)

    def _add_unknown(self, scope_id: ScopeId, what: str, place: Place) -> None:
        """A scope whose terms are not there is one fault, however many entries it has."""
        if scope_id not in self.unknown:
            self.unknown.add(scope_id)
            self._faults.add(
                "unknown-scope", f"{what} of scope {scope_id.hex()[:16]}…, the first of them here", **place
            )

    def _judge_revision(
        self, revision: Revision, pledge: CountedPledge, batch: int, day: int
    ) -> tuple[str, str] | None:
        scope = pledge.scope
        verifier: ScopeVerifier = scope.judge.verifier
        try:
            verifier.verify_revision(revision, pledge.revision_key, pledge.serial)
        except SignatureError as exc:
            return "forged-revision", str(exc)
        except ProtocolError as exc:
            return "wrong-revision", str(exc)
        manifest = scope.manifest
        if pledge.revised_in == batch:
            return "wrong-revision", "the second of this pledge in one batch"
        if scope.closed_in is not None and scope.closed_in < batch:
            return "late-entry", f"{manifest.title_text!r} closed on {format_day(manifest.closes)}"
        # One accepted on the freeze day may be published a tick later, and with its pledge later still.
        if day > manifest.freezes + 1 and pledge.batch != batch:
            return "late-revision", f"changes ended on {format_day(manifest.freezes)}"
        return None
