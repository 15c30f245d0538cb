"""The leaves of a batch in their order, from the staged tables, and what they change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from headcount_ledger import sealed, staged, taking
from headcount_ledger.head import Head
from headcount_ledger.sealed import PlacedNotice
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice, Statement, manifest_of, sign_statement
from headcount_spec.scope import WITHDRAWN, ScopeId

LEDGER_AUTHOR = "ledger"

_CHOICE = slice(34, 36)  # of a pledge's entry: behind its header and its scope


@dataclass(frozen=True, slots=True)
class Selection:
    """What the next batch takes; marked in the staged tables."""

    batch: int
    day: int
    closing: tuple[ScopeId, ...]  # ascending


class Leaves:
    """The entries of a batch in their order, and what they change."""

    def __init__(self, tx: Connection, head: Head, selection: Selection, key: SigningKey) -> None:
        self._tx = tx
        self._batch = selection.batch
        self._index = head.size
        self._closings = closings(tx, selection, key)
        self._deltas: dict[ScopeId, tuple[int, int]] = {}
        terms = sealed.manifests(tx)
        self._with_quotas = {scope for scope, manifest in terms.items() if manifest.quotas is not None}
        self._options: Counter[tuple[ScopeId, int]] = Counter()
        self.pledges = 0
        self.revisions = 0
        self.notices: list[PlacedNotice] = []
        self.manifests: dict[ScopeId, bytes] = {}

    def blocks(self) -> Iterator[tuple[Sequence[bytes], Sequence[LeafHash]]]:
        """All entries but the seal, with their leaf hashes."""
        gross: Counter[ScopeId] = Counter()
        for scopes, hashes, entries in taking.pledges(self._tx, self._batch):
            gross.update(scopes)
            if not self._with_quotas.isdisjoint(scopes):
                for scope, entry in zip(scopes, entries, strict=True):
                    if scope in self._with_quotas:
                        self._options[scope, int.from_bytes(entry[_CHOICE])] += 1
            yield entries, hashes
        for scope, number in gross.items():
            self._change(scope, number, number)
        self.pledges = gross.total()
        for row in taking.revisions(self._tx, self._batch):
            self.revisions += 1
            self._change(row.scope, 0, (row.before == WITHDRAWN) - (row.choice == WITHDRAWN))
            if row.scope in self._with_quotas:
                self._move(row.scope, row.before, row.choice)
            yield [row.entry], [row.leaf_hash]
        self._index += self.pledges + self.revisions
        for hash, entry in self._notices():
            yield [entry], [hash]

    def _notices(self) -> Iterator[tuple[LeafHash, bytes]]:
        leaves: list[tuple[LeafHash, bytes, tuple[ScopeId, str, int, str]]] = []
        for row in taking.notices(self._tx, self._batch):
            leaves.append((row.leaf_hash, row.entry, (row.scope, row.author, row.seq, row.type)))
            if row.type == "manifest":
                self.manifests[row.scope] = manifest_of(Notice.from_bytes(row.entry).statement).raw
        for notice in self._closings:
            entry, statement = notice.to_bytes(), notice.statement
            place = (statement.scope, LEDGER_AUTHOR, statement.seq, statement.type)
            leaves.append((leaf_hash(entry), entry, place))
        for hash, entry, place in sorted(leaves):
            self.notices.append(PlacedNotice(*place, hash, self._index))
            self._index += 1
            yield hash, entry

    def _change(self, scope: ScopeId, gross: int, live: int) -> None:
        before = self._deltas.get(scope, (0, 0))
        self._deltas[scope] = (before[0] + gross, before[1] + live)

    def _move(self, scope: ScopeId, before: int, after: int) -> None:
        for choice, number in ((before, -1), (after, 1)):
            if choice != WITHDRAWN:
                self._options[scope, choice] += number

    def changed(self, totals: Mapping[ScopeId, tuple[int, int]]) -> dict[ScopeId, tuple[int, int]]:
        """The new (gross, live) of the scopes of which it changes."""
        return {
            scope: (totals[scope][0] + gross, totals[scope][1] + live)
            for scope, (gross, live) in self._deltas.items()
        }

    def changed_options(self, counts: Mapping[tuple[ScopeId, int], int]) -> dict[tuple[ScopeId, int], int]:
        """The new live pledges of the (scope, option) of which it changes."""
        return {place: counts.get(place, 0) + number for place, number in self._options.items() if number}


def closings(tx: Connection, selection: Selection, key: SigningKey) -> list[Notice]:
    """The ledger's notices that scopes are closed."""
    notices = []
    for scope in selection.closing:
        last = staged.last_notice(tx, scope, LEDGER_AUTHOR)
        seq, prev = (0, bytes(32)) if last is None else (last.seq + 1, last.leaf_hash)
        body = {"day": selection.day}
        statement = Statement(LEDGER_AUTHOR, scope, seq, prev, "closing", body)
        notices.append(sign_statement(statement, [key.seed]))
    return notices
