"""docs/performance.md and its pictures, from the figures of a whole run."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import factory
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

PAGE = factory.ROOT / "docs" / "performance.md"
TEMPLATE = factory.ROOT / "bench" / "performance.template.md"
PICTURES = factory.ROOT / "docs" / "performance"
SIZES = {"1k": 1e3, "10k": 1e4, "100k": 1e5, "200k": 2e5, "1m": 1e6, "10m": 1e7}
GOAL = 1e8
ENOUGH = 1e6  # from smaller ledgers nothing is extrapolated: what an audit takes is not yet the pledges
_INK, _LIGHT = "#1f3a5f", "#c8553d"

Bounds = Mapping[str, tuple[float, bool]]


def write(figures: Mapping[str, float], bounds: Bounds) -> None:
    """Write the page and its pictures."""
    PICTURES.mkdir(exist_ok=True)
    plt.rcParams.update({"svg.hashsalt": "headcount", "font.size": 11, "axes.grid": True, "grid.alpha": 0.3})
    _growth(figures)
    _sealing(figures)
    _ratios(figures, bounds)
    PAGE.write_text(_page(figures, bounds), encoding="utf-8")


def _curve(figures: Mapping[str, float], prefix: str) -> tuple[list[float], list[float]]:
    points = [(size, figures[prefix + name]) for name, size in SIZES.items() if prefix + name in figures]
    return [size for size, _ in points], [value for _, value in points]


def extrapolate(figures: Mapping[str, float]) -> tuple[float, float]:
    """Hours and MB of an audit of a hundred million pledges: time grows as from the largest size measured,
    memory by the straight line through the two largest."""
    sizes, rates = _curve(figures, "audit.pledges_per_s_at_")
    _, peaks = _curve(figures, "audit.peak_mb_")
    slope = (peaks[-1] - peaks[-2]) / (sizes[-1] - sizes[-2]) if len(sizes) > 1 else 0.0
    return GOAL / rates[-1] / 3600, peaks[-1] + max(slope, 0.0) * (GOAL - sizes[-1])


def _growth(figures: Mapping[str, float]) -> None:
    sizes, rates = _curve(figures, "audit.pledges_per_s_at_")
    _, peaks = _curve(figures, "audit.peak_mb_")
    hours, memory = extrapolate(figures)
    seconds = [size / rate for size, rate in zip(sizes, rates, strict=True)]
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, values, end, title in (
        (left, seconds, hours * 3600, "Seconds of a whole audit on two cores"),
        (right, peaks, memory, "Memory of all its processes, MB"),
    ):
        axes.loglog(sizes, values, "o-", color=_INK, label="measured")
        if sizes[-1] >= ENOUGH:
            axes.loglog([sizes[-1], GOAL], [values[-1], end], "o--", color=_LIGHT, label="extrapolated")
        axes.set_title(title)
        axes.set_xlabel("pledges")
        axes.legend()
    _save("audit.svg")


def _sealing(figures: Mapping[str, float]) -> None:
    sizes, costs = _curve(figures, "seal.us_per_entry_at_")
    _, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.semilogx(sizes, costs, "o-", color=_INK)
    axes.set_ylim(bottom=0)
    axes.set_title("Sealing: µs an entry, from staging to durable tiles")
    axes.set_xlabel("entries in the batch")
    _save("sealing.svg")


def _ratios(figures: Mapping[str, float], bounds: Bounds) -> None:
    names = [name for name, (bound, _) in bounds.items() if name in figures and bound]
    parts = [_reached(figures[name], *bounds[name]) for name in names]
    _, axes = plt.subplots(figsize=(8, 0.5 + 0.4 * len(names)), layout="constrained")
    axes.barh(names, parts, color=[_INK if part >= 1 else _LIGHT for part in parts])
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_title("What was reached of each bound; from the line on it is met")
    _save("bounds.svg")


def _reached(value: float, bound: float, more: bool) -> float:
    part = value / bound if more else bound / max(value, 1e-9)
    return min(part, 3.0)


def _save(name: str) -> None:
    plt.savefig(PICTURES / name, metadata={"Date": None})
    plt.close()


def _goal(figures: Mapping[str, float]) -> str:
    largest = max(_curve(figures, "audit.pledges_per_s_at_")[0])
    if largest < ENOUGH:
        return (
            "What a hundred million pledges would take cannot be said from ledgers as small as these: a run\n"
            "with `ARGS=--large` extrapolates it from ten million."
        )
    hours, memory = extrapolate(figures)
    return (
        f"A hundred million pledges would take about **{hours:.1f} hours on two cores and {memory:,.0f} MB**."
        f" That\nassumes the rate of the largest ledger measured here ({largest:,.0f} pledges), memory along"
        " the straight\nline through the two last, bundles which the disk reads as fast as they are verified"
        " (about 360 bytes\na pledge), and one issuer a pledge: n issuers cost n verifications."
    )


def _page(figures: Mapping[str, float], bounds: Bounds) -> str:
    rows = []
    for name, value in figures.items():
        bound, more = bounds.get(name, (None, True))
        wanted = "" if bound is None else f"{'≥' if more else '≤'} {bound:,g}"
        met = "" if bound is None else "yes" if (value >= bound if more else value <= bound) else "**no**"
        rows.append(f"| `{name}` | {value:,.3f} | {wanted} | {met} |")
    return TEMPLATE.read_text("utf-8").format(
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        cores=figures["machine.cores"],
        load=figures["machine.load_before"],
        goal=_goal(figures),
        rows="\n".join(rows),
    )
