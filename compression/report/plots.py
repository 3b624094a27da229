"""Plots of a compression: the Pareto front of its candidates, and the effect of each cut."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from orthoedge.compression.report.markdown import quality_name
from orthoedge.compression.report.schema import CandidateRecord, CompressionReport, PruneStep
from orthoedge.compression.selection import candidate_front
from orthoedge.runtime.settings import plain
from orthoedge.training.evaluation.plots import COLOURS, save

_MARKERS = "os^Dvp*h"
_MAX_BUBBLE = 30  # points, the bubble of the largest file
_RING = 8  # points by which the chosen candidate's ring is wider than its bubble
_FAR = 1.5  # a budget beyond this multiple of the slowest p50 is not bubbles, only named


class _Style(NamedTuple):
    letter: str
    colour: str
    marker: str


def write_pareto_front(path: Path, report: CompressionReport) -> None:
    """Plot the quality against p50 of one or more candidates, Pareto front, budget and choice."""
    candidates, styles = report.candidates, _styles(report.candidates)
    x, y = [c.p50_ms for c in candidates], [c.quality.value for c in candidates]
    largest = max(c.bytes for c in candidates)
    # The area of a bubble is proportional to the size of the file.
    widths = [_MAX_BUBBLE * math.sqrt(c.bytes / largest) for c in candidates]
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    axis = figure.subplots()
    for c, width in zip(candidates, widths, strict=True):
        axis.errorbar(
            c.p50_ms,
            c.quality.value,
            xerr=_error_bars(c.p50_ms, c.p50_low, c.p50_high),
            yerr=_error_bars(c.quality.value, c.quality.low, c.quality.high),
            color=styles[c.student].colour,
            lw=1,
            capsize=2,
            alpha=0.5,
        )
        if c.chosen:
            ring = width + _RING
            axis.plot(c.p50_ms, c.quality.value, "o", ms=ring, mfc="none", mec="black", mew=2)
    areas, colours = [width**2 for width in widths], [styles[c.student].colour for c in candidates]
    bubbles = axis.scatter(x, y, areas, colours, alpha=0.6, zorder=3)
    front = candidate_front(candidates)
    # Steps, not slopes: no candidate exists between two points of the front.
    axis.step(
        [c.p50_ms for c in front], [c.quality.value for c in front], "k--", where="post", lw=1
    )
    far = report.budget_ms > _FAR * max(c.p50_high for c in candidates)
    if report.budget_ms > 0 and not far:
        axis.axvline(report.budget_ms, color="black", ls=":")
    axis.margins(0.14, 0.12)  # room for bubbles, intervals and labels
    axis.set_xlim(left=max(0.0, axis.get_xlim()[0]))
    if candidates[0].auc is None:
        _in_percent(axis)
    axis.set_xlabel(
        f"p50 of one INT8 inference in ms ({report.target}, {report.threads} thread(s))\n"
        f"{report.machine}"
    )
    axis.set_ylabel(f"{quality_name(report)} on {candidates[0].images} validation {report.data}")
    axis.set_title("percentages: channels cut; bars: 95 % intervals", fontsize=9)
    axis.grid(alpha=0.3)
    keys: list[Patch | Line2D] = [
        Patch(color=style.colour, label=f"{style.letter}  {student}")
        for student, style in styles.items()
    ]
    keys.append(Line2D([], [], color="black", ls="--", lw=1, label="Pareto front"))
    if report.budget_ms:
        label = f"budget of {plain(report.budget_ms)} ms{', right of the figure' if far else ''}"
        keys.append(Line2D([], [], color="black", ls=":", label=label))
    bubble = partial(Line2D, [], [], color="none", marker="o", ms=9, mec="black")
    if any(c.chosen for c in candidates):
        keys.append(bubble(mew=2, label="chosen"))
    keys.append(bubble(mfc="0.8", label=f"area: INT8 file, largest {largest / 1e6:.2f} MB"))
    figure.legend(handles=keys, loc="outside upper center", ncols=2, fontsize=9)
    figure.draw_without_rendering()  # fixes the layout, and so the distances in pixels
    labels = [
        axis.text(
            c.p50_ms,
            c.quality.value,
            f"{styles[c.student].letter} {100 * c.pruned:.0f} %",
            fontsize=9,
            zorder=5,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        for c in candidates
    ]
    adjust_text(
        labels,
        ax=axis,
        x=[end for c in candidates for end in (c.p50_ms, c.p50_ms, c.p50_low, c.p50_high)],
        y=[
            end
            for c in candidates
            for end in (c.quality.low, c.quality.high, c.quality.value, c.quality.value)
        ],
        objects=bubbles,
        expand=(1.2, 1.4),
        iter_lim=300,  # not a time limit, so the picture does not depend on the machine
        arrowprops={"arrowstyle": "-", "color": "0.3", "lw": 0.7},
    )
    save(figure, path)


def write_trace(path: Path, report: CompressionReport) -> None:
    """Plot MACs, p50 and accuracy over the share of channels cut.

    Each line of p50 joins two times of one run; if the machine drifted, lines do not meet. The
    report has one cut or more.
    """
    styles = _styles((*report.candidates, *report.trace))
    styles = {name: styles[name] for name in dict.fromkeys(step.student for step in report.trace)}
    figure = Figure(figsize=(8, 8), layout="constrained")
    macs, p50, accuracy = figure.subplots(3, 1, sharex=True)
    for number, (student, style) in enumerate(styles.items()):
        start = 0.0  # each cut starts from the last accepted one
        for step in (step for step in report.trace if step.student == student):
            _segment(macs, style, step, start, step.macs_before / 1e6, step.macs / 1e6)
            _segment(p50, style, step, start, step.p50_before, step.p50_after)
            start = step.share if step.accepted else start
        own = sorted((c for c in report.candidates if c.student == student), key=lambda c: c.pruned)
        offset = 0.004 * (number - (len(styles) - 1) / 2)  # keeps intervals apart
        shares = [c.pruned + offset for c in own]
        line, colour = f"-{style.marker}", style.colour
        accuracy.plot(shares, [c.accuracy for c in own], line, color=colour)
        for share, c in zip(shares, own, strict=True):
            reach = _error_bars(c.accuracy, c.accuracy_low, c.accuracy_high)
            accuracy.errorbar(share, c.accuracy, reach, color=colour, capsize=3)
    for axis, name in ((macs, "million MACs"), (p50, f"p50 in ms, INT8, {report.target}")):
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    accuracy.set_ylabel("validation accuracy, INT8")
    _in_percent(accuracy)
    accuracy.set_xlabel("share of the channels cut")
    accuracy.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    for axis in (macs, p50, accuracy):
        axis.grid(alpha=0.3)
    keys = [
        Line2D([], [], color=style.colour, marker=style.marker, label=student)
        for student, style in styles.items()
    ]
    if not all(step.accepted for step in report.trace):
        keys.append(Line2D([], [], color="0.4", ls=":", marker="x", label="rejected: not faster"))
    figure.legend(handles=keys, loc="outside upper center", ncols=2, fontsize=9)
    save(figure, path)


def _styles(rows: Iterable[CandidateRecord | PruneStep]) -> dict[str, _Style]:
    return {
        student: _Style(
            chr(ord("a") + number % 26),
            COLOURS[number % len(COLOURS)],
            _MARKERS[number % len(_MARKERS)],
        )
        for number, student in enumerate(dict.fromkeys(row.student for row in rows))
    }


def _segment(
    axis: Axes, style: _Style, step: PruneStep, start: float, before: float, after: float
) -> None:
    line = "-" if step.accepted else ":"
    axis.plot([start, step.share], [before, after], line, color=style.colour)
    axis.plot(start, before, style.marker, color=style.colour)
    axis.plot(step.share, after, style.marker if step.accepted else "x", color=style.colour)


def _error_bars(value: float, low: float, high: float) -> list[list[float]]:
    """Interval as error bars; a percentile interval need not contain the value."""
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _in_percent(axis: Axes) -> None:
    """Label the accuracy axis in percent, without ticks above 100 %."""
    low, high = axis.get_ylim()
    axis.set_yticks([tick for tick in axis.get_yticks() if low <= tick <= min(1, high)])
    axis.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
