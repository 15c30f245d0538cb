"""The course of one scope over an audit's batches: what its tables and pictures are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headcount_ledger.audit import AuditReport
from headcount_spec.scope import ScopeId


@dataclass(frozen=True, slots=True)
class Point:
    """A scope at the end of one batch."""

    batch: int
    day: int
    pledges: int  # valid ones of this batch
    gross: int
    live: int


def course(report: AuditReport, scope_id: ScopeId) -> Iterator[Point]:
    """One point for every batch that has pledges of the scope or changes its count."""
    gross = live = 0
    for row in report.batch_rows:
        if scope_id in row.pledges or scope_id in row.live:
            pledges = row.pledges.get(scope_id, 0)
            gross += pledges
            live = row.live.get(scope_id, live)
            yield Point(row.number, row.day, pledges, gross, live)


def by_day(points: Iterator[Point]) -> Iterator[Point]:
    """The last point of each day, with the pledges of the whole day."""
    last: Point | None = None
    for point in points:
        if last is not None and last.day == point.day:
            point = Point(point.batch, point.day, last.pledges + point.pledges, point.gross, point.live)
        elif last is not None:
            yield last
        last = point
    if last is not None:
        yield last
