"""More plots of a benchmark's page: reliability, and how time and memory grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from orthoedge.benchmarks.report.formatting import own
from orthoedge.benchmarks.report.svg import (
    INK,
    MUTED,
    SERIES,
    draw,
    legend_below,
)
from orthoedge.benchmarks.scaling.power_law import upper_half
from orthoedge.benchmarks.schema import Accuracy, Report, ScalingCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SMALL = 4.0  # inches: three in a row
_MARKERS = "os^Dvp"


def reliability(report: Report) -> str:
    """Share right over confidence; below, how many answers each bin of the first holds."""
    if not report.accuracy:
        return ""
    of = [one for one in report.accuracy if (one.target, one.precision) == own(report)]
    counted = (of or list(report.accuracy))[0]

    def fill(figure: Figure, axes: list[Axes]) -> None:
        share, count = axes
        share.plot([0, 1], [0, 1], color=INK, ls=":", lw=1, label="as sure as right")
        for number, one in enumerate(report.accuracy):
            _line(share, one, SERIES[number % len(SERIES)], _MARKERS[number % len(_MARKERS)])
        share.set_ylabel("share right")
        share.set_ylim(-0.02, 1.03)
        share.grid()
        bins = counted.reliability
        wide = [(one.high - one.low) * 0.86 for one in bins]
        count.bar(
            [(one.low + one.high) / 2 for one in bins], [b.count for b in bins], wide, color=MUTED
        )
        count.set_ylabel("images")
        count.set_xlabel(f"confidence; bars: {counted.target} {counted.precision}")
        count.set_xlim(-0.02, 1.03)
        legend_below(figure)

    return draw("Reliability", 5.2, fill, (3.0, 1.0))


def scaling(found: ScalingCurve, number: int) -> str:
    """One curve, and the power that was fitted to its upper half.

    Args:
        found: what grew.
        number: of the curve on the page, from which it takes its title.
    """
    x, y = np.array(found.points).T

    def fill(figure: Figure, axes: list[Axes]) -> None:
        del figure
        axis = axes[0]
        axis.plot(x, y, "o-", color=SERIES[0], lw=1.6, ms=5)
        if found.exponent is not None:
            upper, above = np.array(upper_half(found.points)).T
            middle = np.exp(np.log(above / upper**found.exponent.value).mean())
            axis.plot(
                upper,
                middle * upper**found.exponent.value,
                color=INK,
                ls=":",
                lw=2,
                label=f"{found.by} to the power of {found.exponent.value:.2f}",
            )
            axis.legend(loc="upper left")
        _scale(axis, found, y)

    return draw(
        f"Curve {number}: {found.name}, {found.unit} by {found.by}", 2.9, fill, width=_SMALL
    )


def _line(axis: Axes, one: Accuracy, colour: str, marker: str) -> None:
    """A bin of a few answers says little, so it is a small dot."""
    held = [b for b in one.reliability if b.count]
    x = [b.confidence or 0.0 for b in held]  # None where nothing is held
    y = [b.accuracy or 0.0 for b in held]
    most = max(b.count for b in held)
    axis.plot(x, y, lw=1, alpha=0.6, color=colour)
    sizes = [8 + 70 * (b.count / most) ** 0.5 for b in held]
    axis.scatter(x, y, sizes, color=colour, marker=marker, label=f"{one.target} {one.precision}")


def _scale(axis: Axes, found: ScalingCurve, y: Sequence[float]) -> None:
    """Powers are straight on two logarithms; what does not grow is drawn from zero."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    axis.set_xlabel(found.by)
    axis.set_ylabel(found.unit)
    if found.exponent is None:
        axis.set_ylim(0, 1.25 * max(y))
    else:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid()
