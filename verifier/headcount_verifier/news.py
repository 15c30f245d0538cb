"""What there is to tell about the counts, from one look at the ledger to the next.

    scope.counted  a new batch has moved the count of a scope, or how many of its options have enough
    scope.reached  the threshold was reached at a seal in time, and the quotas met
    scope.failed   the last day on which it could be reached is over
    scope.closed   the same day of a scope that was reached

Every number is of a seal that is proven to be in a checkpoint with the witnesses that the terms demand:
public before it is told. Nothing is told of one pledge. An event's id is made of what it says, so that after
a restart the same event has the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from headcount_ledger.reader.reached import find_reached, totals_at
from headcount_ledger.reader.view import LedgerView
from headcount_spec import jcs
from headcount_spec.errors import MalformedError
from headcount_spec.members import Members
from headcount_spec.merkle import leaf_hash
from headcount_spec.quotas import enough_at, option_counts
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.text import format_day

COUNTED, REACHED, FAILED, CLOSED = "scope.counted", "scope.reached", "scope.failed", "scope.closed"


@dataclass(frozen=True, slots=True)
class News:
    """One event."""

    type: str
    id: str
    order: int  # events are told by ascending order
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a scope."""

    batch: int = -1  # of the last look
    gross: int = 0
    live: int = 0
    is_reached: bool = False
    is_over: bool = False
    enough: int = 0  # options that have what the quotas ask

    @classmethod
    def from_members(cls, members: Members) -> Told:
        """Read it.

        Raises:
            MalformedError: it is something else.
        """
        told = cls(
            members.integer("batch", -1),
            members.integer("gross", 0),
            members.integer("live", 0),
            members.boolean("is_reached"),
            members.boolean("is_over"),
            members.integer("enough", 0) if members.has("enough") else 0,
        )
        members.finish()
        return told

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "batch": self.batch,
            "gross": self.gross,
            "live": self.live,
            "enough": self.enough,
            "is_reached": self.is_reached,
            "is_over": self.is_over,
        }


def tell(manifest: Manifest, view: LedgerView, today: int, told: Told) -> tuple[list[News], Told]:
    """What is new about a scope under a verified checkpoint, and what was told then.

    Raises:
        ProtocolError: the ledger's files cannot be read or do not verify.
    """
    if view.size == 0:
        return [], told
    view.check_terms(manifest)
    data = view.entry(view.size - 1)
    seal = Seal.from_bytes(data)
    totals = totals_at(view, seal)
    gross, live = totals.get(manifest.scope_id, (0, 0))
    enough = _enough(manifest, totals)
    news: list[News] = []
    after = replace(told, batch=seal.batch, gross=gross, live=live, enough=enough)
    if seal.batch > told.batch and (gross, live, enough) != (told.gross, told.live, told.enough):
        hash = leaf_hash(data).hex()
        counts: dict[str, int | str] = {"gross": gross, "live": live, "seal": hash}
        news.append(_news(manifest, COUNTED, seal.batch, seal.day, enough, **counts))
    if seal.batch > told.batch and not told.is_reached:
        found = find_reached(view, manifest, told.batch)
        if found is not None:
            first = found.reached
            hash = first.seal.hex()
            then = _enough(manifest, totals_at(view, Seal.from_bytes(view.entry(found.index))))
            news.append(_news(manifest, REACHED, first.batch, first.day, then, live=first.live, seal=hash))
            after = replace(after, is_reached=True)
    if not told.is_over and today > manifest.deadline_day:
        ended = CLOSED if after.is_reached else FAILED
        day = manifest.deadline_day + 1
        news.append(_news(manifest, ended, seal.batch, day, enough, gross=gross, live=live))
        after = replace(after, is_over=True)
    return news, after


_RANKS = {COUNTED: 0, REACHED: 1, FAILED: 2, CLOSED: 2}


def _enough(manifest: Manifest, totals: Mapping[ScopeId, tuple[int, int]]) -> int:
    if manifest.quotas is None:
        return 0
    return enough_at(manifest.quotas, option_counts(manifest, totals))


def _news(manifest: Manifest, type: str, batch: int, day: int, enough: int, **data: int | str) -> News:
    scope, quotas = manifest.scope_id.hex(), manifest.quotas
    asked: dict[str, Any] = {}
    if quotas is not None:
        asked = {"quotas": {"each": quotas.each, "options": quotas.options, "enough": enough}}
    # A scope is reached and ends once, whatever batch is the newest when that is seen.
    named = f"{type}\n{scope}\n{batch if type == COUNTED else ''}"
    value: Mapping[str, Any] = {
        "type": type,
        "timestamp": f"{format_day(day)}T00:00:00Z",  # nothing here is more exact than a day
        "data": {
            "scope": scope,
            "ledger": manifest.ledger.origin,
            "level": manifest.level,
            "threshold": manifest.threshold,
            **asked,
            "batch": batch,
            "day": format_day(day),
            **data,
        },
    }
    id = "msg_" + hashlib.sha256(named.encode()).hexdigest()[:32]
    return News(type, id, batch * 4 + _RANKS[type], jcs.canonicalise(dict(value)))


def read_told(data: bytes) -> tuple[dict[str, bytes], dict[str, Told]]:
    """The checkpoints that were looked at, by policy, and what was told of each scope.

    Raises:
        MalformedError: it is something else.
    """
    members = Members(jcs.parse_json(data, 1 << 24), "state")
    if members.integer("headcount_webhooks", 1) != 1:
        raise MalformedError("another version")
    checkpoints, scopes = members.take("checkpoints"), members.take("scopes")
    members.finish()
    if not isinstance(checkpoints, dict) or not isinstance(scopes, dict):
        raise MalformedError("not what was told")
    if not all(isinstance(item, str) for item in checkpoints.values()):
        raise MalformedError("not a checkpoint")
    return (
        {name: raw.encode() for name, raw in checkpoints.items()},
        {name: Told.from_members(Members(item, "scope")) for name, item in scopes.items()},
    )


def write_told(checkpoints: Mapping[str, bytes], scopes: Mapping[str, Told]) -> bytes:
    """The same as a file."""
    return jcs.canonicalise(
        {
            "headcount_webhooks": 1,
            "checkpoints": {name: raw.decode() for name, raw in checkpoints.items()},
            "scopes": {name: told.to_json() for name, told in scopes.items()},
        }
    )
