"""The plots of a benchmark's page that say where the time of one radiograph goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orthoedge.benchmarks.report.formatting import figure as written
from orthoedge.benchmarks.report.formatting import own
from orthoedge.benchmarks.report.svg import INK, SERIES, draw, legend_below
from orthoedge.benchmarks.schema import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_PARTS = ("preprocess", "image checks", "engine", "decision")
_WAYS = ("from memory", "from png", "from jpeg", "from dicom")
_PART_COLOURS = (5, 4, 2, 3)  # not those that stand for targets elsewhere


def breakdown(report: Report) -> str:
    """The stages stacked, next to the time of the whole."""
    columns = list(dict.fromkeys(f"{stage.target} {stage.precision}" for stage in report.stages))
    p50 = {stage.key: stage.latency.p50 for stage in report.stages}
    parts = [part for part in _PARTS if any(f"{part} {at}" in p50 for at in columns)]
    if not parts:
        return ""

    def fill(figure: Figure, axes: list[Axes]) -> None:
        axis = axes[0]
        start = np.zeros(len(columns))
        for part, number in zip(parts, _PART_COLOURS, strict=False):
            wide = np.array([p50.get(f"{part} {at}", 0.0) for at in columns])
            axis.barh(range(len(columns)), wide, 0.55, start, color=SERIES[number], label=part)
            start += wide
        whole = [p50.get(f"from memory {at}") for at in columns]
        for row, value in enumerate(whole):
            if value is not None:
                axis.plot([value] * 2, [row - 0.38, row + 0.38], color=INK, lw=2)
                _annotate(axis, row, value, value)
        axis.plot([], [], color=INK, lw=2, label="the whole, timed")
        _finish(axis, columns, 1.22 * max([*start, *(value or 0.0 for value in whole)]))
        axis.set_xlabel("median, ms")
        legend_below(figure)

    return draw("Stages of a radiograph in memory", 1.7 + 0.42 * len(columns), fill)


def ways_in(report: Report) -> str:
    """Median, and p90 as a whisker, of each way in, for the reference's target and precision."""
    latencies = {s.name: s.latency for s in report.stages if (s.target, s.precision) == own(report)}
    ways = [way for way in _WAYS if way in latencies]
    if not ways:
        return ""

    def fill(_: Figure, axes: list[Axes]) -> None:
        axis = axes[0]
        for row, way in enumerate(ways):
            times = latencies[way]
            axis.barh(row, times.p50, 0.55, color=SERIES[0])
            axis.plot([times.p50, times.p90], [row, row], color=INK, lw=1.5)
            _annotate(axis, row, times.p90, times.p50)
        _finish(axis, ways, 1.25 * max(latencies[way].p90 for way in ways))
        axis.set_xlabel("median, whisker to p90, ms")

    return draw(f"Ways in, {' '.join(own(report))}", 1.1 + 0.42 * len(ways), fill)


def _annotate(axis: Axes, row: int, end: float, ms: float) -> None:
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 11}
    axis.annotate(f"{written(ms)} ms", (end, row), (6, 0), **place)


def _finish(axis: Axes, rows: Sequence[str], end: float) -> None:
    axis.set_yticks(range(len(rows)), rows)
    axis.invert_yaxis()
    axis.set_xlim(0, end)
    axis.grid(axis="x")
