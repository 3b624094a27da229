"""The plots of a benchmark's page, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orthoedge.benchmarks.metrics.pareto import pareto_front
from orthoedge.benchmarks.report.formatting import ENSEMBLE, accuracy_of, ensemble_f1
from orthoedge.benchmarks.report.svg import (
    INK,
    MUTED,
    PAPER,
    SERIES,
    draw,
    legend_below,
    logarithmic,
)
from orthoedge.benchmarks.schema import Candidate, Interval, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_FAR = 10.0  # times as much: then a logarithmic axis
_CROWDED = 500.0  # then 1, 2 and 5 of every power of ten would run together
_ENOUGH = 20  # samples that make a curve
_HOLDS = 0.99  # MLPerf's share of the reference


def pareto(report: Report) -> str:
    """Macro-F1 over median latency of the models alone; empty where none has both."""
    alone = [candidate for candidate in report.candidates if candidate.scope == "model"]
    points = [(c, a.macro_f1) for c in alone if (a := accuracy_of(report, c)) is not None]
    if not points:
        return ""
    if (teacher := ensemble_f1(report)) is not None:
        known = Interval(value=teacher, low=teacher, high=teacher)  # the report has no interval
        points += [(candidate, known) for candidate in alone if candidate.name.startswith(ENSEMBLE)]
    styles = _styles(report.candidates)

    def fill(figure: Figure, axes: list[Axes]) -> None:
        axis = axes[0]
        for candidate, f1 in points:
            colour, _, marker, inside = styles[candidate.name]
            # A percentile interval need not hold the value itself.
            reach = [[max(0.0, f1.value - f1.low)], [max(0.0, f1.high - f1.value)]]
            marks: dict[str, Any] = {"ms": 9, "mew": 2, "elinewidth": 1.2, "capsize": 3, "ls": ""}
            marks |= {"color": colour, "mfc": inside, "mec": colour, "label": candidate.name}
            axis.errorbar(candidate.latency.p50, f1.value, reach, fmt=marker, **marks)
        times = ((candidate.latency.p50, f1.value) for candidate, f1 in points)
        front = pareto_front(times, lambda point: point)
        # Between two of its points the better one is out of reach: hence steps, not slopes.
        axis.step(*zip(*front, strict=True), where="post", color=MUTED, ls="--", lw=1, zorder=1)
        if teacher is not None:
            label = "99 % of the ensemble's"
            axis.axhline(_HOLDS * teacher, color=INK, ls=":", lw=1, label=label)
        _milliseconds(axis, "x", "the model alone, median in ms")
        axis.set_ylabel("macro-F1")
        axis.margins(x=0.12, y=0.15)
        legend_below(figure)

    return draw("Macro-F1 over median latency", 4.6, fill)


def percentiles(report: Report, scope: str, title: str) -> str:
    """Latency over percentile, the tail spread out; empty where nothing has enough samples."""
    scoped = [candidate for candidate in report.candidates if candidate.scope == scope]
    chosen = [candidate for candidate in scoped if candidate.latency.count >= _ENOUGH]
    if not chosen:
        return ""
    styles = _styles(report.candidates)

    def fill(figure: Figure, axes: list[Axes]) -> None:
        axis = axes[0]
        for candidate in chosen:
            times = candidate.latency
            points = [*enumerate(times.curve[:100]), *([(99.9, times.p999)] if times.p999 else [])]
            shares, curve = zip(*points, strict=True)
            colour, dashes, *_ = styles[candidate.name]
            axis.plot(_nines(shares), curve, color=colour, ls=dashes, lw=1.8, label=candidate.name)
        ticks = [0, 50, 90, 99, *([99.9] if any(c.latency.p999 for c in chosen) else [])]
        axis.set_xticks(_nines(ticks), [f"{tick:g}" for tick in ticks])
        axis.set_xlabel("percentile, the slow ones stretched")
        _milliseconds(axis, "y", "ms")
        legend_below(figure)

    return draw(title, 4.4, fill)


def ratios(report: Report) -> str:
    """Every candidate's ratio to the reference with its interval; empty without candidates."""
    if not report.candidates:
        return ""
    styles = _styles(report.candidates)

    def fill(_: Figure, axes: list[Axes]) -> None:
        axis = axes[0]
        for row, candidate in enumerate(report.candidates):
            colour, _, marker, inside = styles[candidate.name]
            ratio = candidate.ratio
            axis.plot([ratio.low, ratio.high], [row, row], color=colour, lw=2)
            axis.plot(ratio.value, row, marker, ms=6, mfc=inside, mec=colour, mew=1.6)
        axis.set_yticks(range(len(styles)), list(styles))
        axis.invert_yaxis()
        _milliseconds(axis, "x", f"times as long as {report.reference}")

    return draw("Ratios with 95 % intervals", 1.0 + 0.3 * len(report.candidates), fill)


def _styles(candidates: Sequence[Candidate]) -> dict[str, tuple[str, Any, str, str]]:
    """Of each candidate colour, which tells the target, dashes, marker and the marker's fill."""
    families = list(dict.fromkeys(map(_family, candidates)))
    styles: dict[str, tuple[str, Any, str, str]] = {}
    for candidate in candidates:
        colour = SERIES[families.index(_family(candidate)) % len(SERIES)]
        if candidate.name.startswith(ENSEMBLE):
            styles[candidate.name] = (colour, (0, (1, 1.4)), "D", colour)
        else:
            hollow = candidate.precision != "int8"
            dashes = (0, (4, 1.6)) if hollow else "-"
            styles[candidate.name] = (colour, dashes, "o", PAPER if hollow else colour)
    return styles


def _family(candidate: Candidate) -> str:
    """Its target, or what it is where it is no network of ours on a target."""
    ours = candidate.name.startswith((f"{candidate.target} ", f"{ENSEMBLE} ")) and candidate.target
    return candidate.target if ours else candidate.name


def _nines(shares: Sequence[float]) -> list[float]:
    """Percentiles where the distance from 90 to 99 is that from 0 to 90."""
    return [-float(np.log10(1 - share / 100)) for share in shares]


def _milliseconds(axis: Axes, which: str, label: str) -> None:
    """An axis from 0, or a logarithmic one with plain numbers where the values are far apart."""
    getattr(axis, f"set_{which}label")(label)
    axis.grid()
    low, high = getattr(axis.dataLim, f"interval{which}")
    if high < _FAR * low:
        getattr(axis, f"set_{which}lim")(0, 1.1 * high)
        return
    getattr(axis, f"set_{which}scale")("log")
    logarithmic(getattr(axis, f"{which}axis"), (1, 2, 5) if high < _CROWDED * low else (1,))
