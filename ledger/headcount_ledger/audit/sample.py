"""A quick answer: some entries drawn at random, each with its proof, and no recount.

Says with what probability it would have met bad pledges. It does not count, and cannot see a token that was
used twice.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headcount_ledger.audit.archive import judge_checkpoint
from headcount_ledger.audit.bundle import ScopeJudge, look
from headcount_ledger.audit.fault import Fault, FaultList
from headcount_ledger.audit.files import Files
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import MalformedError, NotFoundError, ProtocolError, UnavailableError
from headcount_spec.merkle import leaf_hash, verify_inclusion
from headcount_spec.notice import Notice, manifest_of
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Policy
from headcount_spec.quotas import option_id
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.text import parse_decimal
from headcount_spec.tile import Fetch, TileReader
from headcount_spec.totals import decode_totals, totals_path

CONFIDENCE = 0.99

NOT_CHECKED = (
    "The entries that were not drawn, and so that no token was used twice, were not looked at.",
    "Nothing was counted: the totals are those that the ledger says.",
    "Order, days, chain, notices, revisions and issuance were not checked, and no earlier checkpoint.",
)


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What some entries say about a ledger."""

    origin: str
    size: int
    root: bytes
    cosigners: tuple[str, ...]
    entries: int  # drawn
    pledges: int  # of them
    said: dict[ScopeId, tuple[int, int]]  # gross and live by the last totals, not recounted
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.faults

    @property
    def bad_fraction(self) -> float:
        """If at least this part of the pledges were bad, one would have been drawn with 99 %."""
        return 1.0 if not self.pledges else 1 - (1 - CONFIDENCE) ** (1 / self.pledges)

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "ok": self.ok,
            "sampled": True,
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "cosigners": list(self.cosigners),
            "entries": self.entries,
            "pledges": self.pledges,
            "bad_fraction": self.bad_fraction,
            "confidence": CONFIDENCE,
            "said": {
                scope.hex(): {"gross": gross, "live": live}
                for scope, (gross, live) in sorted(self.said.items())
            },
            "faults": [fault.to_json() for fault in self.faults],
            "unchecked": list(NOT_CHECKED),
        }


def sample(
    fetch: Fetch,
    policy: Policy,
    number: int,
    *,
    draw: random.Random | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SampleReport:
    """Verify checkpoint and witnesses, the last seal with its totals, and so many entries drawn at random."""
    faults = FaultList()
    files = Files(fetch, faults)
    raw = files.read("checkpoint")
    judged = None if raw is None else judge_checkpoint("checkpoint", raw, policy, faults)
    if judged is None:
        return SampleReport("", 0, b"", (), 0, 0, {}, tuple(faults))
    task = _Sample(files, judged.checkpoint, faults)
    size = judged.checkpoint.size
    drawn = (draw or random.SystemRandom()).sample(range(size), min(number, size))
    pledges = 0
    said: dict[ScopeId, tuple[int, int]] = {}
    try:
        said = task.last_totals()
        for done, index in enumerate(sorted(drawn), 1):
            pledges += task.check(index)
            if progress is not None:
                progress(done, len(drawn))
    except UnavailableError as exc:
        faults.add("unreadable-file", f"the host has stopped to answer: {exc}")
    cosigners = tuple(name for name, _ in judged.cosignatures)
    found = faults.placed(lambda index: None)
    checkpoint = judged.checkpoint
    return SampleReport(checkpoint.origin, size, checkpoint.root, cosigners, len(drawn), pledges, said, found)


class _Sample:
    def __init__(self, files: Files, checkpoint: Checkpoint, faults: FaultList) -> None:
        self._files = files
        self._checkpoint = checkpoint
        self._faults = faults
        self._reader = TileReader(files.fetch, checkpoint.size)
        self._judges: dict[ScopeId, ScopeJudge | None] = {}

    def last_totals(self) -> dict[ScopeId, tuple[int, int]]:
        """What the last seal says, if the file is the one it names."""
        size = self._checkpoint.size
        data = self._entry(size - 1) if size else None
        if data is None:
            return {}
        seal = look(data, 0).entry
        if not isinstance(seal, Seal):
            self._faults.add("broken-seal", "the last entry is not a seal", index=size - 1)
            return {}
        totals = self._files.read(totals_path(seal.batch), batch=seal.batch)
        try:
            if totals is not None and hashlib.sha256(totals).digest() == seal.totals:
                return self._scopes_of(decode_totals(totals))
        except MalformedError:
            pass
        if totals is not None:
            detail = f"{totals_path(seal.batch)} is not the file whose hash the seal has"
            self._faults.add("edited-count", detail, batch=seal.batch)
        return {}

    def _scopes_of(self, totals: dict[ScopeId, tuple[int, int]]) -> dict[ScopeId, tuple[int, int]]:
        """The rows of scopes, without those of their options."""
        options: set[ScopeId] = set()
        scopes = {}
        # No option has more pledges than its scope, so terms are asked for before their options come.
        for row, counts in sorted(totals.items(), key=lambda item: -item[1][0]):
            if row in options:
                continue
            scopes[row] = counts
            judge = self._judge(row)
            if judge is not None and judge.manifest.quotas is not None:
                options.update(option_id(row, option.number) for option in judge.manifest.options)
        return {row: counts for row, counts in scopes.items() if row not in options}

    def check(self, index: int) -> int:
        """Verify one entry; 1 if it is a pledge."""
        data = self._entry(index)
        if data is None:
            return 0
        leaf = look(data, 0)
        if not isinstance(leaf.entry, Pledge):
            if leaf.verdict is not None:
                self._faults.add(leaf.verdict.code, leaf.verdict.detail, index=index)
            return 0
        judge = self._judge(leaf.entry.scope_id)
        if judge is None:
            name = f"pledges of scope {leaf.entry.scope_id.hex()[:16]}…"
            self._faults.add("unknown-scope", f"{name}, one of them here", index=index)
            return 1
        verdict = judge.judge(leaf.entry)
        if verdict.code:
            self._faults.add(verdict.code, verdict.detail, index=index)
        return 1

    def _entry(self, index: int) -> bytes | None:
        """An entry that is proven to be in the tree."""
        try:
            data = self._reader.entry(index)
            proof = self._reader.inclusion_proof(index)
            verify_inclusion(proof, index, self._reader.size, leaf_hash(data), self._checkpoint.root)
        except UnavailableError:
            raise
        except NotFoundError as exc:
            self._faults.add("unreadable-file", f"{exc}", index=index)
        except ProtocolError as exc:
            self._faults.add("wrong-root", f"an entry is not proven: {exc}", index=index)
        else:
            return data
        return None

    def _judge(self, scope_id: ScopeId) -> ScopeJudge | None:
        if scope_id not in self._judges:
            self._judges[scope_id] = self._find_terms(scope_id)
        return self._judges[scope_id]

    def _find_terms(self, scope_id: ScopeId) -> ScopeJudge | None:
        hint = self._files.find(f"scopes/{scope_id.hex()}")
        try:
            indices = [parse_decimal(line) for line in (hint or b"").decode("ascii").split()]
        except (UnicodeDecodeError, MalformedError):
            return None
        for index in indices:
            data = self._entry(index) if index < self._checkpoint.size else None
            entry = None if data is None else look(data, 0).entry
            if isinstance(entry, Notice) and entry.statement.type == "manifest":
                manifest = manifest_of(entry.statement)
                if manifest.scope_id == scope_id:
                    return ScopeJudge(manifest)
        return None
