"""The frame of every picture: title, what it says in a sentence, where the numbers come from, plain axes."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headcount import output_file
from headcount.terminal import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2430", "#697082", "#e3e6ec"
MAIN, FILL, WARM, SECOND = "#1d5fa8", "#d6e4f4", "#c2410c", "#6b8fb8"

_LEFT, _RIGHT = 0.1, 0.965  # of the figure's width
_BOTTOM = 0.155
_INCHES, _DPI = (9.6, 5.6), 150
_TITLE_CHARS, _SENTENCE_CHARS = 52, 96  # that fit into a line

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,  # a title is other people's text
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.unicode_minus": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "svg.fonttype": "path",  # alike on machines that lack the font
    "svg.hashsalt": "headcount",
}

Draw = Callable[["Axes"], None]


def frame(title: str, sentence: str, source: str, draw: Draw, *, legend_rows: int = 0) -> Figure:
    """A picture; draw fills the axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    top = 0.95
    for line in _lines(title, _TITLE_CHARS):
        figure.text(_LEFT, top, line, fontsize=17, fontweight="bold", va="top")
        top -= 0.062
    top -= 0.012
    for line in _lines(sentence, _SENTENCE_CHARS):
        figure.text(_LEFT, top, line, fontsize=11, color=MUTED, va="top")
        top -= 0.044
    top -= 0.03 + 0.05 * legend_rows
    axes = figure.add_axes((_LEFT, _BOTTOM, _RIGHT - _LEFT, top - _BOTTOM))
    figure.text(_LEFT, 0.028, source, fontsize=8.5, color=MUTED)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.tick_params(axis="both", length=0, pad=6)
    axes.set_axisbelow(True)
    draw(axes)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture in the format of the name's suffix; the same picture is the same file."""
    suffix = path.suffix.removeprefix(".")
    # Both formats write the hour, or a version, unless they are told not to.
    metadata = {"Date": None, "Creator": None} if suffix == "svg" else {"Software": None}
    with output_file.replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a script that the font lacks
        figure.savefig(temporary, format=suffix, metadata=metadata)


def scale(axes: Axes, top: float, bottom: float = 0) -> None:
    """The vertical axis, in whole numbers from bottom to a little above top."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(bottom, top * 1.1)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    millions = top >= 2_000_000
    axes.yaxis.set_major_formatter(lambda v, _: f"{v / 1e6:g} M" if millions and v else f"{v:,.0f}")


def dates(axes: Axes, days: Sequence[int], room: float) -> None:
    """The horizontal axis, in days since 1970, with a share of it kept free on the right."""
    from matplotlib import dates as module

    untyped: Any = module  # its classes have no annotations
    first, last = min(days), max(days)
    axes.set_xlim(first, last + max(0.5, (last - first) * room))
    locator = untyped.AutoDateLocator(minticks=3, maxticks=8)
    locator.intervald[3] = [1, 2, 3, 7, 14]  # daily: nothing below a day is known
    axes.xaxis.set_major_locator(locator)
    # matplotlib counts days from 1970, as the seals do; Python's month names are English without a locale.
    axes.xaxis.set_major_formatter(lambda day, _: _day(day, last - first))
    years = sorted({_date(first).year, _date(last).year})
    axes.set_xlabel(" to ".join(map(str, years)), labelpad=6, fontsize=10)


def _date(day: float) -> date:
    return date(1970, 1, 1) + timedelta(days=int(day))


def _day(day: float, span: int) -> str:
    found = _date(day)
    month = _MONTHS[found.month - 1]
    return f"{month} {found.year}" if span > 300 else f"{found.day} {month}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _lines(text: str, width: int) -> list[str]:
    plain = " ".join(shown(text).split())
    return textwrap.wrap(plain, width, max_lines=2, placeholder=" …") or [""]
