"""The plots of a compression: the front of its candidates, and what each cut was worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from orthoedge.compression.report.placing import place_names
from orthoedge.compression.report.schema import Candidate, CompressionReport, PruneStep
from orthoedge.compression.selection import pareto
from orthoedge.training.evaluation.plots import COLOURS, save

_MARKERS = "os^Dvp*h"
_WIDEST = 30  # points, the bubble of the largest file
_RING = 8  # points that the chosen one's ring is wider than its bubble
_NEAR = 22  # points from a bubble's edge to the middle of a name that needs no line to it
_FAR = 1.5  # a budget beyond so many times the slowest candidate would squeeze them together


class _Look(NamedTuple):
    letter: str
    colour: str
    marker: str


def write_front(path: Path, report: CompressionReport) -> None:
    """Accuracy against p50 of every candidate, with the front, the budget and the choice.

    Args:
        path: of the PNG.
        report: with one candidate or more.
    """
    candidates = report.candidates
    looks = _looks(report.candidates)
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    axis = figure.subplots()
    for c in candidates:
        _bubble(axis, c, _width(c, candidates), looks[c.student].colour)
    front = pareto(candidates)
    # Between two of its points the better one is out of reach: hence steps, not slopes.
    axis.step([c.p50_ms for c in front], [c.accuracy for c in front], "k--", where="post", lw=1)
    _limit(axis, candidates, report.budget_ms)
    _in_percent(axis)
    axis.set_xlabel(
        f"p50 of one INT8 inference in ms ({report.target}, {report.threads} thread(s))\n"
        f"{report.machine}"
    )
    axis.set_ylabel(f"accuracy on {candidates[0].images} validation {report.data}")
    axis.set_title("percentages: channels cut; bars: 95 % intervals", fontsize=9)
    axis.grid(alpha=0.3)
    keys = _keys(report, looks)
    figure.legend(handles=keys, loc="outside upper center", ncols=2, fontsize=9)
    _name(figure, axis, candidates, looks)
    save(figure, path)


def write_trace(path: Path, report: CompressionReport) -> None:
    """MACs, p50 and accuracy over the share of the channels that was cut.

    A line of p50 joins what was timed in one run; where the machine drifted, two do not meet.

    Args:
        path: of the PNG.
        report: with one cut or more.
    """
    # A student looks here as it does on the front.
    looks = _looks((*report.candidates, *report.trace))
    looks = {name: looks[name] for name in dict.fromkeys(step.student for step in report.trace)}
    figure = Figure(figsize=(8, 8), layout="constrained")
    macs, p50, accuracy = figure.subplots(3, 1, sharex=True)
    for number, (student, look) in enumerate(looks.items()):
        _cuts(macs, p50, [step for step in report.trace if step.student == student], look)
        aside = 0.004 * (number - (len(looks) - 1) / 2)  # so that intervals do not hide another
        _accuracies(accuracy, [c for c in report.candidates if c.student == student], look, aside)
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
        Line2D([], [], color=look.colour, marker=look.marker, label=student)
        for student, look in looks.items()
    ]
    if not all(step.kept for step in report.trace):
        keys.append(Line2D([], [], color="0.4", ls=":", marker="x", label="not kept: no faster"))
    figure.legend(handles=keys, loc="outside upper center", ncols=2, fontsize=9)
    save(figure, path)


def _looks(rows: Iterable[Candidate | PruneStep]) -> dict[str, _Look]:
    return {
        student: _Look(
            chr(ord("a") + number % 26),
            COLOURS[number % len(COLOURS)],
            _MARKERS[number % len(_MARKERS)],
        )
        for number, student in enumerate(dict.fromkeys(row.student for row in rows))
    }


def _bubble(axis: Axes, c: Candidate, width: float, colour: str) -> None:
    axis.errorbar(
        c.p50_ms,
        c.accuracy,
        xerr=_either_side(c.p50_ms, c.p50_low, c.p50_high),
        yerr=_either_side(c.accuracy, c.accuracy_low, c.accuracy_high),
        color=colour,
        lw=1,
        capsize=2,
        alpha=0.5,
    )
    axis.plot(c.p50_ms, c.accuracy, "o", ms=width, color=colour, alpha=0.6)
    if c.chosen:
        axis.plot(c.p50_ms, c.accuracy, "o", ms=width + _RING, mfc="none", mec="black", mew=2)


def _cuts(macs: Axes, p50: Axes, steps: Sequence[PruneStep], look: _Look) -> None:
    """One student's cuts; each starts from the last that was kept."""
    start = 0.0
    for step in steps:
        _segment(macs, look, step, start, step.macs_before / 1e6, step.macs / 1e6)
        _segment(p50, look, step, start, step.p50_before, step.p50_after)
        start = step.share if step.kept else start


def _segment(
    axis: Axes, look: _Look, step: PruneStep, start: float, before: float, after: float
) -> None:
    line = "-" if step.kept else ":"
    axis.plot([start, step.share], [before, after], line, color=look.colour)
    axis.plot(start, before, look.marker, color=look.colour)
    axis.plot(step.share, after, look.marker if step.kept else "x", color=look.colour)


def _accuracies(axis: Axes, own: Sequence[Candidate], look: _Look, aside: float) -> None:
    """One student's candidates, moved sideways by `aside`."""
    own = sorted(own, key=lambda c: c.pruned)
    shares = [c.pruned + aside for c in own]
    axis.plot(shares, [c.accuracy for c in own], f"-{look.marker}", color=look.colour)
    for c in own:
        reach = _either_side(c.accuracy, c.accuracy_low, c.accuracy_high)
        axis.errorbar(c.pruned + aside, c.accuracy, reach, color=look.colour, capsize=3)


def _width(candidate: Candidate, candidates: Sequence[Candidate]) -> float:
    """Diameter of its bubble in points, so that areas are as the sizes of the files."""
    return _WIDEST * float(np.sqrt(candidate.bytes / max(c.bytes for c in candidates)))


def _either_side(value: float, low: float, high: float) -> list[list[float]]:
    """An interval as matplotlib wants it; a percentile interval need not hold the value itself."""
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _in_percent(axis: Axes) -> None:
    """Accuracies upwards; room above 100 % has no numbers."""
    low, high = axis.get_ylim()
    axis.set_yticks([tick for tick in axis.get_yticks() if low <= tick <= min(1, high)])
    axis.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def _limit(axis: Axes, candidates: Sequence[Candidate], budget_ms: float) -> None:
    """Room for names around bubbles and intervals, and for a budget that is near."""
    right = max(c.p50_high for c in candidates)
    left = min(c.p50_low for c in candidates)
    if 0 < budget_ms <= _FAR * right:
        axis.axvline(budget_ms, color="black", ls=":")
        left, right = min(left, budget_ms), max(right, budget_ms)
    pad = max(0.14 * (right - left), 0.1 * right)
    axis.set_xlim(max(0.0, left - pad), right + pad)
    low = min(c.accuracy_low for c in candidates)
    high = max(c.accuracy_high for c in candidates)
    pad = max(0.12 * (high - low), 0.005)
    axis.set_ylim(low - pad, high + pad)


def _keys(report: CompressionReport, looks: dict[str, _Look]) -> list[Patch | Line2D]:
    keys: list[Patch | Line2D] = [
        Patch(color=look.colour, label=f"{look.letter}  {student}")
        for student, look in looks.items()
    ]
    keys.append(
        Line2D([], [], color="black", ls="--", lw=1, label="front: most accurate in the time")
    )
    if report.budget_ms:
        far = report.budget_ms > _FAR * max(c.p50_high for c in report.candidates)
        where = ", right of the figure" if far else ""
        label = f"budget of {report.budget_ms:g} ms{where}"
        keys.append(Line2D([], [], color="black", ls=":", label=label))
    bubble = partial(Line2D, [], [], color="none", marker="o", ms=9, mec="black")
    if any(c.chosen for c in report.candidates):
        keys.append(bubble(mew=2, label="chosen"))
    largest = max(c.bytes for c in report.candidates)
    label = f"area: INT8 file, the largest {largest / 1e6:.2f} MB"
    keys.append(bubble(mfc="0.8", label=label))
    return keys


def _name(
    figure: Figure, axis: Axes, candidates: Sequence[Candidate], looks: dict[str, _Look]
) -> None:
    """Write the letter of its student and the share of channels cut beside each bubble."""
    figure.draw_without_rendering()  # settles where points lie in pixels
    pixels = figure.dpi / 72  # of a point
    centres = axis.transData.transform([(c.p50_ms, c.accuracy) for c in candidates])
    radii = np.array([_width(c, candidates) / 2 + _RING / 2 * c.chosen for c in candidates])
    ends = [((c.p50_low, c.accuracy), (c.p50_high, c.accuracy)) for c in candidates]
    ends += [((c.p50_ms, c.accuracy_low), (c.p50_ms, c.accuracy_high)) for c in candidates]
    bars = axis.transData.transform(np.reshape(ends, (-1, 2))).reshape(-1, 4)
    bars += np.array([-1, -1, 1, 1])  # a line has no area of its own
    names = [f"{looks[c.student].letter} {100 * c.pruned:.0f} %" for c in candidates]
    probes = [axis.text(0, 0, name, fontsize=9) for name in names]
    sizes = np.array([probe.get_window_extent().size for probe in probes]) + 2  # pixels of air
    for probe in probes:
        probe.remove()
    boxes = place_names(centres, radii * pixels, sizes, bars, np.array(axis.bbox.extents))
    away = ((boxes[:, :2] + boxes[:, 2:]) / 2 - centres) / pixels
    leader = {"arrowstyle": "-", "color": "0.3", "lw": 0.7}
    for c, name, offset, radius in zip(candidates, names, away, radii, strict=True):
        note = axis.annotate(
            name,
            (c.p50_ms, c.accuracy),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            arrowprops=leader if np.hypot(*offset) > radius + _NEAR else None,
            zorder=5,
        )
        note.set_path_effects([withStroke(linewidth=2, foreground="white")])
