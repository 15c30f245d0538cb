"""Pictures of what an audit has recounted, as PNG and SVG: the count, the batches, the tokens.

The same audit gives the same pictures: nothing of the hour or the machine is in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headcount.audit_verdict import count_words
from headcount.course import Point, by_day, course
from headcount.plot_frame import FILL, INK, MAIN, MUTED, SECOND, STYLE, WARM, Draw, dates, frame, save, scale
from headcount.quota_words import standing
from headcount.terminal import shown
from headcount_ledger.audit import AuditReport, Issuance, ScopeCount
from headcount_spec.errors import ConfigurationError
from headcount_spec.text import format_day

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ISSUERS = ("#2a7f62", "#7c4d9e", "#b0711a", "#a23b5c", "#3d7a91", "#5c6b1f", "#8a5a44", "#4a5fc1")
_DASHED = (0, (6, 3))
_MANY = 200  # batches that bars cannot show

Said = Mapping[str, Sequence[Issuance]]  # by issuer


def write_plots(report: AuditReport, folder: Path) -> list[Path]:
    """Write three pictures of each scope that has pledges; the paths of the files.

    Raises:
        ConfigurationError: matplotlib is not installed, or a file cannot be written.
    """
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError as exc:
        raise ConfigurationError("plots need matplotlib: pip install 'headcount[audit]'") from exc
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"cannot write to {folder.name}: {exc.strerror}") from exc
    verdict = "" if report.ok else "NOT PROVEN: the audit has found faults. "
    root = f"{report.root.hex()[:16]}…"
    source = f"{verdict}Recounted from {shown(report.origin)}: {report.size:,} entries, root {root}"
    paths = []
    for scope_id, scope in sorted(report.scopes.items()):
        points = list(course(report, scope_id))
        if not points:
            continue
        said = report.issuances.get(scope_id, {})
        rows = -(-(len(said) + 1) // 3)
        with rc_context(STYLE):
            pictures = {
                "count": frame(scope.title, _count_words(scope), source, _count(scope, points)),
                "batches": frame(scope.title, _batch_words(scope, points), source, _batches(scope, points)),
                "issued": frame(
                    scope.title, _issued_words(said), source, _issued(points, said), legend_rows=rows
                ),
            }
            for name, figure in pictures.items():
                for suffix in (".png", ".svg"):
                    paths.append(folder / f"{name}-{scope_id.hex()[:12]}{suffix}")
                    save(figure, paths[-1])
    return paths


def _count_words(scope: ScopeCount) -> str:
    text = count_words(scope.live, scope.level).replace(str(scope.live), f"{scope.live:,}", 1)
    if scope.withdrawn:
        text += f", after {scope.withdrawn:,} withdrawn"
    if scope.reached is None:
        also = "" if scope.quotas is None else f", besides {standing(scope.quotas, scope.choices)}"
        return f"{text}, of {scope.threshold:,} that are asked for{also}."
    day = format_day(scope.reached.day)
    return f"{text}. The {scope.threshold:,} that were asked for were reached on {day}."


def _count(scope: ScopeCount, points: Sequence[Point]) -> Draw:
    def draw(axes: Axes) -> None:
        days = list(by_day(iter(points)))
        # A count stands until the next batch; the picture begins with nobody, on the day before.
        x = [days[0].day - 1, *(p.day for p in days)]
        live = [0, *(p.live for p in days)]
        gross = [0, *(p.gross for p in days)]
        top = max(gross)
        axes.fill_between(x, live, step="post", color=FILL, linewidth=0)
        if scope.threshold <= 4 * max(top, 1):
            # Beside the curve, not on it.
            is_early = scope.reached is not None and scope.reached.day - x[0] < 0.3 * (x[-1] - x[0])
            axes.axhline(scope.threshold, color=WARM, linewidth=1.4, linestyle=_DASHED)
            axes.annotate(
                f"enough: {scope.threshold:,}",
                (0.55 if is_early else 0.0, scope.threshold),
                xycoords=("axes fraction", "data"),
                xytext=(6, 5),
                textcoords="offset points",
                color=WARM,
                fontsize=10,
            )
            top = max(top, scope.threshold)
        if gross != live:
            axes.step(x, gross, where="post", color=SECOND, linewidth=1.4, linestyle=(0, (4, 2)))
        axes.step(x, live, where="post", color=MAIN, linewidth=2.4, solid_joinstyle="round")
        axes.plot(x[-1], live[-1], "o", color=MAIN, markersize=6)
        is_close = gross != live and gross[-1] - live[-1] < 0.07 * top
        _label(axes, x[-1], live[-1], f"{live[-1]:,}", MAIN, shift=-8 if is_close else 0, bold=True)
        if gross != live:
            _label(axes, x[-1], gross[-1], f"{gross[-1]:,} pledged", SECOND, shift=9 if is_close else 0)
        if scope.reached is not None:
            at = next((p for p in points if p.batch >= scope.reached.batch), points[-1])
            axes.plot(
                scope.reached.day,
                at.live,
                "o",
                color="white",
                markeredgecolor=WARM,
                markeredgewidth=2,
                markersize=8,
                zorder=5,
            )
        scale(axes, top)
        dates(axes, x, room=0.23)

    return draw


def _label(axes: Axes, x: float, y: float, text: str, colour: str, *, shift: int, bold: bool = False) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(9, shift),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=12 if bold else 10,
        fontweight="bold" if bold else "normal",
    )


def _batch_words(scope: ScopeCount, points: Sequence[Point]) -> str:
    sizes = [p.pledges for p in points if p.pledges and p.batch != scope.closed_in]
    text = "How many pledges were published together, and so hide each other"
    if not sizes:
        return f"{text}."
    has_closing = any(p.pledges for p in points if p.batch == scope.closed_in)
    return f"{text}: never fewer than {min(sizes):,}{', but in the closing batch' if has_closing else ''}."


def _batches(scope: ScopeCount, points: Sequence[Point]) -> Draw:
    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator, NullLocator

        filled = [p for p in points if p.pledges] or list(points)
        x = [p.batch for p in filled]
        sizes = [p.pledges for p in filled]
        colours = [SECOND if p.batch == scope.closed_in else MAIN for p in filled]
        span = max(x) - min(x) + 1
        if span <= _MANY:
            axes.bar(x, sizes, width=0.72, color=colours)
        else:
            axes.scatter(x, sizes, s=max(4.0, 30 - span / 100), c=colours, linewidths=0, alpha=0.65)
        least, top = max(1, scope.min_batch), max(*sizes, scope.min_batch, 1)
        axes.axhline(least, color=WARM, linewidth=1.4, linestyle=_DASHED)
        axes.annotate(
            f"at least {least:,}, say the terms",
            (1, least),
            xycoords=("axes fraction", "data"),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            color=WARM,
            fontsize=10,
        )
        if scope.closed_in in x:
            axes.annotate(
                "closing batch",
                (scope.closed_in, sizes[x.index(scope.closed_in)]),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                color=MUTED,
                fontsize=10,
            )
        scale(axes, top)
        if top > 60 * max(1, min(*sizes, least)):
            axes.set_yscale("log")
            axes.set_ylim(max(0.8, min(*sizes, least) / 3), top * 2)
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        edge = max(0.7, span * 0.02)
        axes.set_xlim(min(x) - edge, max(x) + max(edge, span * 0.26))  # room for what the terms say
        axes.set_xlabel("batch", labelpad=6, fontsize=10)
        ticks = MaxNLocator(integer=True, nbins=10).tick_values(min(x), max(x))
        axes.set_xticks([tick for tick in ticks if min(x) <= tick <= max(x)])

    return draw


def _issued_words(said: Said) -> str:
    if not said:
        return "Pledges that were counted. No issuer has published yet how many tokens it has signed."
    return (
        "Tokens that each issuer says it has signed, rounded up to the next 16, and the pledges that count."
    )


def _issued(points: Sequence[Point], said: Said) -> Draw:
    def draw(axes: Axes) -> None:
        days = list(by_day(iter(points)))
        end = max([days[-1].day, *(item.day for items in said.values() for item in items)])
        x = [days[0].day - 1, *(p.day for p in days), end]
        gross = [0, *(p.gross for p in days), days[-1].gross]
        label = f"pledges counted: {gross[-1]:,}"
        axes.fill_between(x, gross, step="post", color=FILL, linewidth=0)
        axes.step(x, gross, where="post", color=MAIN, linewidth=2.4, label=label)
        top = max(gross)
        for number, (name, items) in enumerate(sorted(said.items())):
            issued = [item.issued for item in items]
            axes.step(
                [*(item.day for item in items), end],
                [*issued, issued[-1]],
                where="post",
                color=_ISSUERS[number % len(_ISSUERS)],
                linewidth=2,
                # Lines of issuers that say the same number are all to be seen.
                linestyle="solid" if number == 0 else (2 * number, (4, 2 + number)),
                marker="o",
                markersize=4,
                label=f"{shown(name)} says: {issued[-1]:,}",
            )
            top = max(top, *issued)
        scale(axes, top)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=3,
            frameon=False,
            fontsize=10,
            labelcolor=INK,
            borderaxespad=0,
            borderpad=0.2,
            columnspacing=1.6,
        )
        dates(axes, x, room=0.02)

    return draw
