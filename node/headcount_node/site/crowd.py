"""The crowd: two hundred dots that stand for the threshold, of which as many are people as have pledged."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS, ROWS = 40, 5
DOTS = COLUMNS * ROWS
STEP = 10  # units of the drawing between two dots


@dataclass(frozen=True, slots=True)
class Crowd:
    """Two SVG paths of points with round caps: those who are there, and the places still empty."""

    full: str
    empty: str
    width: int = COLUMNS * STEP
    height: int = ROWS * STEP


def crowd(live: int, threshold: int, *, is_short: bool = False) -> Crowd:
    """The picture of a count: never empty with somebody in it, never full before it is enough.

    is_short: something else than the threshold is missing.
    """
    filled = min(DOTS - 1 if is_short else DOTS, live * DOTS // threshold)
    if live and not filled:
        filled = 1
    # Column by column, as a room fills from one side.
    points = [f"M{STEP * column + 5} {STEP * row + 5}h0" for column in range(COLUMNS) for row in range(ROWS)]
    return Crowd("".join(points[:filled]), "".join(points[filled:]))
