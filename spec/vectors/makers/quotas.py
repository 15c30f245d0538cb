"""Vectors of quotas: the rows of options in totals, and when a campaign with quotas is reached."""

from __future__ import annotations

from typing import Any

import manifests
from headcount_spec import quotas
from headcount_spec.errors import MalformedError
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.totals import decode_totals, encode_totals

from . import Case, fails, ok, same, text

FILE = "quotas.json"

_OTHER = ScopeId(bytes([7]) * 32)
_OPTIONS = ("Austria", "Belgium", "Croatia", "Denmark")

# Live pledges of each option, each and options of the quotas, the threshold, days after the deadline day:
# reached or not.
_STANDINGS: tuple[tuple[str, tuple[int, ...], tuple[int, int] | None, int, int], ...] = (
    ("both", (3, 2, 0, 0), (2, 2), 5, 0),
    ("more-than-needed", (9, 8, 7, 6), (2, 2), 5, -1),
    ("enough-in-all-but-one-option-short", (9, 1, 1, 0), (2, 2), 5, 0),
    ("one-short-of-each", (4, 1, 0, 0), (2, 2), 5, 0),
    ("options-enough-but-too-few-in-all", (2, 2, 0, 0), (2, 2), 5, 0),
    ("a-day-late", (3, 2, 0, 0), (2, 2), 5, 1),
    ("every-option", (1, 1, 1, 2), (1, 4), 5, 0),
    ("one-option-of-four-empty", (1, 1, 0, 3), (1, 4), 5, 0),
    ("one-option-is-enough", (0, 0, 5, 0), (5, 1), 5, 0),
    ("nobody", (0, 0, 0, 0), (1, 1), 1, 0),
    ("without-quotas", (5, 0, 0, 0), None, 5, 0),
)


def make() -> dict[str, Any]:
    """Rows and standings, and totals whose options do not come to the count."""
    return {
        "about": "Quotas: totals have an option under "
        'SHA-256("headcount/option/v1\\0" || scope_id || uint16 option), with its live pledges twice; '
        "reached is judged at one seal.",
        "source": "Made by makers/quotas.py.",
        "cases": [*_ids(), *_standings(), *_bad()],
    }


def _ids() -> list[Case]:
    scope = _manifest((2, 2), 5).scope_id
    return [
        ok(f"row-{option}", operation="row", scope_id=scope.hex(), option=option, id=_id(scope, option))
        for option in (1, 2, 256)
    ] + [ok("row-of-another-scope", operation="row", scope_id=_OTHER.hex(), option=1, id=_id(_OTHER, 1))]


def _standings() -> list[Case]:
    cases = []
    for name, live, terms, threshold, late in _STANDINGS:
        manifest = _manifest(terms, threshold)
        inputs: dict[str, Any] = {**text("manifest", manifest.raw), "totals": _totals(manifest, live).hex()}
        inputs["day"] = manifest.deadline_day + late
        cases.append(ok(name, operation="standing", **inputs, **_outputs(manifest, inputs)))
    return cases


def _bad() -> list[Case]:
    manifest = _manifest((2, 2), 5)
    right = decode_totals(_totals(manifest, (3, 2, 0, 0)))
    first, third = (quotas.option_id(manifest.scope_id, option) for option in (1, 3))
    wrong = {
        "row-missing": {row: counts for row, counts in right.items() if row != first},
        "row-too-many": {**right, third: (1, 1)},
        "row-too-large": {**right, first: (4, 4)},
        "row-too-small": {**right, first: (2, 2)},
        "row-with-two-numbers": {**right, first: (4, 3)},
        "scope-missing": {row: counts for row, counts in right.items() if row != manifest.scope_id},
    }
    return [
        fails(
            name,
            MalformedError,
            operation="standing",
            **text("manifest", manifest.raw),
            totals=encode_totals(totals).hex(),
            day=manifest.deadline_day,
        )
        for name, totals in wrong.items()
    ]


def _manifest(terms: tuple[int, int] | None, threshold: int) -> Manifest:
    stated = None if terms is None else {"each": terms[0], "options": terms[1]}
    made: Manifest = manifests.manifest(
        options=manifests.options(*_OPTIONS), quotas=stated, threshold=threshold, tiers=None
    )
    return made


def _totals(manifest: Manifest, live: tuple[int, ...]) -> bytes:
    counts = dict(enumerate(live, 1))
    rows = {_OTHER: (8, 7)}
    if sum(live):
        rows[manifest.scope_id] = (sum(live) + 1, sum(live))
    if manifest.quotas is not None:
        rows.update(quotas.option_rows(manifest.scope_id, counts))
    return encode_totals(rows)


def _id(scope: ScopeId, option: int) -> str:
    return quotas.option_id(scope, option).hex()


def _outputs(manifest: Manifest, case: Case) -> dict[str, Any]:
    totals = decode_totals(bytes.fromhex(case["totals"]))
    counts = quotas.option_counts(manifest, totals)
    _, live = totals.get(manifest.scope_id, (0, 0))
    terms = manifest.quotas
    return {
        "options": {str(option): number for option, number in counts.items()},
        "enough": None if terms is None else quotas.enough_at(terms, counts),
        "missing": None if terms is None else quotas.missing_for(terms, counts),
        "reached": quotas.is_enough(manifest, live, counts, case["day"]),
    }


def check(case: Case) -> None:
    """Name a row, or judge a seal by its totals."""
    if case["operation"] == "row":
        same(case, id=_id(ScopeId(bytes.fromhex(case["scope_id"])), case["option"]))
        return
    manifest = Manifest.from_bytes(case["manifest"].encode())
    same(case, **_outputs(manifest, case))
