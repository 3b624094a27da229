"""matplotlib figures as SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orthoedge.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


# Drawn in colours that nothing else has; each becomes a variable of the page's style, so that one
# drawing serves the light and the dark scheme.
INK, MUTED, RULE, PAPER = "#010203", "#010204", "#010205", "#010206"
SERIES = ("#010210", "#010211", "#010212", "#010213", "#010214", "#010215")
_NAMES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}
_NAMES |= {colour: f"c{number}" for number, colour in enumerate(SERIES)}
WIDTH = 4.8  # inches of 72 units: on a phone a unit is then about a pixel, and letters have 11
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, readable by screen readers, sharp
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.size": 11,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
}


def draw(
    title: str,
    height: float,
    fill: Callable[[Figure, list[Axes]], None],
    rows: tuple[float, ...] = (1.0,),
    width: float = WIDTH,
) -> str:
    """Draw a figure as an SVG element of a page.

    Args:
        title: what a screen reader says; different for each figure of a page.
        height: inches.
        fill: draws into the figure's axes, which share x and lie below each other.
        rows: relative heights of the axes.
        width: inches.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependency("matplotlib", "bench", "the report's page") from error
    # The salt keeps the names of clipping paths apart from those of the page's other figures.
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": title}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=rows, sharex=True)
        fill(figure, list(axes[:, 0]))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _element(buffer.getvalue(), title)


def legend_below(figure: Figure) -> None:
    """A legend under the axes, where it covers nothing."""
    figure.legend(loc="outside lower center", ncols=2, handlelength=2.2)


def logarithmic(axis: Axis, subs: tuple[int, ...] = (1, 2, 5)) -> None:
    """Plain numbers on the ticks of a logarithmic axis, at multiples of the powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _element(drawn: str, title: str) -> str:
    """A file of matplotlib's as an element without names, fonts and colours of its own."""
    box = re.search(r'viewBox="[^"]*"', drawn)
    if box is None:
        raise ValueError("expected an SVG with a viewBox")
    inside = drawn[drawn.index(">", box.end()) + 1 :]
    inside = re.sub(r"<(metadata|style).*?</\1>", "", inside, flags=re.DOTALL)
    inside = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", inside)
    inside = re.sub(r"font-family: [^;\"]*;? ?", "", inside)
    inside = inside.replace("xlink:href", "href").replace("\n", " ")
    for colour, name in _NAMES.items():
        inside = inside.replace(colour, f"var(--{name})")
    return f'<svg {box[0]} role="img" aria-label="{html.escape(title)}">{inside}'
