"""Quotas: what a campaign needs beside its threshold, and where totals say how it stands.

With quotas a campaign is reached only if, at one seal, so many different options have so many live pledges
each. What stands at an option is what people have said of themselves, and is checked by nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from headcount_spec.errors import MalformedError
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.terms import Quotas
from headcount_spec.wire import u16

_DOMAIN = b"headcount/option/v1\x00"

Totals = Mapping[ScopeId, tuple[int, int]]


def option_id(scope_id: ScopeId, option: int) -> ScopeId:
    """The name under which totals have an option, where those of scopes stand. Protocol, Section 4.5."""
    return ScopeId(hashlib.sha256(_DOMAIN + scope_id + u16(option)).digest())


def option_rows(scope_id: ScopeId, counts: Mapping[int, int]) -> Iterable[tuple[ScopeId, tuple[int, int]]]:
    """The rows of totals for a scope with quotas: one for every option that has live pledges."""
    return ((option_id(scope_id, option), (live, live)) for option, live in counts.items() if live)


def option_counts(manifest: Manifest, totals: Totals) -> dict[int, int]:
    """Option → live pledges, as totals say; empty for a scope without quotas.

    Raises:
        MalformedError: the options do not come to the count of their scope.
    """
    if manifest.quotas is None:
        return {}
    rows = {
        option.number: totals.get(option_id(manifest.scope_id, option.number), (0, 0))
        for option in manifest.options
    }
    _, live = totals.get(manifest.scope_id, (0, 0))
    if any(gross != alive for gross, alive in rows.values()) or sum(a for _, a in rows.values()) != live:
        raise MalformedError("the options do not come to the count of their scope")
    return {option: alive for option, (_, alive) in rows.items()}


def enough_at(quotas: Quotas, counts: Mapping[int, int]) -> int:
    """How many options have enough live pledges."""
    return sum(live >= quotas.each for live in counts.values())


def missing_for(quotas: Quotas, counts: Mapping[int, int]) -> int:
    """The fewest further pledges that would meet the quotas, counts being those of all options."""
    short = sorted(max(0, quotas.each - live) for live in counts.values())
    return sum(short[: quotas.options])


def is_met(quotas: Quotas | None, counts: Mapping[int, int]) -> bool:
    """Whether as many options have enough as must; always without quotas."""
    return quotas is None or enough_at(quotas, counts) >= quotas.options


def is_enough(manifest: Manifest, live: int, counts: Mapping[int, int], day: int) -> bool:
    """Whether a campaign is reached at a seal of this day. Protocol, Section 4.8.

    counts are the live pledges of the scope's options.
    """
    return live >= manifest.threshold and day <= manifest.deadline_day and is_met(manifest.quotas, counts)
