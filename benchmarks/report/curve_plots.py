"""Plots of a benchmark's page: reliability and scaling curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from orthoedge.benchmarks.report.formatting import own
from orthoedge.benchmarks.report.svg import INK, MUTED, SERIES, draw, legend_below, logarithmic
from orthoedge.benchmarks.scaling.power_law import upper_half
from orthoedge.benchmarks.schema import Accuracy, Report, ScalingCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SMALL = 4.0  # inches: three in a row
_MARKERS = "os^Dvp"


def reliability(report: Report) -> str:
    """Share of right predictions over confidence; below, the images in each bin."""
    if not report.accuracy:
        return ""
    of = [scores for scores in report.accuracy if (scores.target, scores.precision) == own(report)]
    counted = (of or list(report.accuracy))[0]

    def fill(figure: Figure, axes: list[Axes]) -> None:
        share, count = axes
        share.plot([0, 1], [0, 1], color=INK, ls=":", lw=1, label="as sure as right")
        for number, scores in enumerate(report.accuracy):
            _line(share, scores, SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)])
        share.set_ylabel("share right")
        share.set_ylim(-0.02, 1.03)
        share.grid()
        bins = counted.reliability
        wide = [(b.high - b.low) * 0.86 for b in bins]
        count.bar([(b.low + b.high) / 2 for b in bins], [b.count for b in bins], wide, color=MUTED)
        count.set_ylabel("images")
        count.set_xlabel(f"confidence; bars: {counted.key}")
        count.set_xlim(-0.02, 1.03)
        legend_below(figure)

    return draw("Reliability", 5.2, fill, (3.0, 1.0))


def scaling(curve: ScalingCurve, number: int) -> str:
    """One curve, and the power law of its upper half.

    Args:
        curve: to draw.
        number: of the curve on the page, from which it takes its title.
    """
    x, y = np.array(curve.points).T

    def fill(_: Figure, axes: list[Axes]) -> None:
        axis = axes[0]
        axis.plot(x, y, "o-", color=SERIES[0], lw=1.6, ms=5)
        if curve.exponent is not None:
            upper, above = np.array(upper_half(curve.points)).T
            middle = np.exp(np.log(above / upper**curve.exponent.value).mean())
            fitted = middle * upper**curve.exponent.value
            label = f"{curve.by} to the power of {curve.exponent.value:.2f}"
            axis.plot(upper, fitted, color=INK, ls=":", lw=2, label=label)
            axis.legend(loc="upper left")
        _scale(axis, curve, y)

    title = f"Curve {number}: {curve.name}, {curve.unit} by {curve.by}"
    return draw(title, 2.9, fill, width=_SMALL)


def _line(axis: Axes, scores: Accuracy, colour: str, marker: str) -> None:
    """Bins of few images are small dots."""
    held = [b for b in scores.reliability if b.count]
    x = [b.confidence or 0.0 for b in held]  # None where nothing is held
    y = [b.accuracy or 0.0 for b in held]
    most = max(b.count for b in held)
    axis.plot(x, y, lw=1, alpha=0.6, color=colour)
    sizes = [8 + 70 * (b.count / most) ** 0.5 for b in held]
    axis.scatter(x, y, sizes, color=colour, marker=marker, label=scores.key)


def _scale(axis: Axes, curve: ScalingCurve, y: Sequence[float]) -> None:
    """Logarithmic axes for a power law; otherwise an axis from zero."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    axis.set_xlabel(curve.by)
    axis.set_ylabel(curve.unit)
    if curve.exponent is None:
        axis.set_ylim(0, 1.25 * max(y))
    else:
        axis.set_yscale("log")
        logarithmic(axis.yaxis)
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid()
