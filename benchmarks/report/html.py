"""report.html: one page that needs no script, no font and no network."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from orthoedge.benchmarks.report import curve_plots, formatting, plots, stage_plots, tables
from orthoedge.benchmarks.report.gallery import GalleryItem
from orthoedge.benchmarks.schema import Accuracy, Report
from orthoedge.runtime.errors import MissingDependency

_FIGURE = re.compile(r"(\S+) \((\S+) to (\S+)\)")
_LONG = 18  # letters from which a cell takes a narrow page's whole width
_STYLES = {formatting.NONE: "none", "holds": "good", "does not hold": "bad", "cannot tell": "warn"}

_NO_TABLE = tables.Table("", (), ())

_Matrix = list[tuple[str, list[tuple[int, str, str]]]]
"""Each true label with the count, share and shade of each predicted one."""


@dataclass(frozen=True)
class Card:
    """A drawing, or a confusion matrix, under its title."""

    title: str
    caption: str
    drawing: str = ""
    """SVG element; empty: there is nothing to draw."""
    matrix: _Matrix | None = None
    style: str = ""
    """`tall` is as high as two other cards."""


@dataclass(frozen=True)
class Section:
    """A part of the page, which the list of contents links to."""

    title: str
    table: tables.Table = _NO_TABLE
    table_last: bool = False
    """Below the cards."""
    cards: Sequence[Card] = ()
    grid: str = "grid"
    radiographs: Sequence[GalleryItem] = ()
    facts: Sequence[tuple[str, str]] = ()
    command: str = ""
    sentences: Sequence[str] = ()

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return any((self.table.rows, self.cards, self.radiographs, self.facts, self.command))


def to_html(report: Report, gallery: Sequence[GalleryItem] = ()) -> str:
    """Render the report as a page.

    Args:
        report: complete or interrupted; a part that was not measured is left out.
        gallery: radiographs to show; none leaves that section out.

    Raises:
        MissingDependency: jinja2, or matplotlib, which draws the plots, is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise MissingDependency("jinja2", "bench", "the report's page") from error
    package = files("orthoedge.benchmarks.report")
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"markup": Markup, "cell": _cell, "base64": base64.b64encode}
    template = environment.from_string(package.joinpath("page.html.jinja").read_text("utf-8"))
    page = template.render(
        title=f"{report.bundle} {report.bundle_version}",
        css=Markup(package.joinpath("style.css").read_text("utf-8")),
        headline=formatting.headline(report),
        tiles=_tiles(report),
        cautions=formatting.cautions(report),
        sections=[section for section in _sections(report, gallery) if section.has_content],
        labels=report.labels,
        footer=f"Bundle {report.bundle_sha256}. Labels: {', '.join(report.labels)}. "
        f"{report.schema}.",
    )
    return page.replace(" %", "\u00a0%")  # a percent sign never begins a line


def _sections(report: Report, gallery: Sequence[GalleryItem]) -> tuple[Section, ...]:
    """In the order of the page; a card without a drawing is left out."""
    front = "Left and up is better. Bars: 95 % intervals. Dashed: the Pareto front."
    pipelines = plots.percentiles(report, "pipeline", "Radiograph to finding by percentile")
    models = plots.percentiles(report, "model", "The model alone by percentile")
    stages = "Each stage timed alone; the line is the whole."
    speed = [
        Card("Accuracy over time, the models alone", front, plots.pareto(report)),
        Card("Radiograph to finding, by percentile", "How long the slow ones take.", pipelines),
    ]
    alone = [
        Card("The model alone, by percentile", "", models),
        Card("All candidates over the reference", "Lines: 95 % intervals.", plots.ratios(report)),
    ]
    times = [
        Card("From memory to finding", stages, stage_plots.breakdown(report)),
        Card("From a file to a finding", "", stage_plots.ways_in(report)),
    ]
    curves = []
    for number, curve in enumerate(report.scaling):
        power = "It does not grow as a power."
        if curve.exponent is not None:
            power = f"Exponent {formatting.interval(curve.exponent)} over the upper half."
        title, caption = f"{curve.name}: {curve.unit} by {curve.by}", f"{curve.explanation} {power}"
        curves.append(Card(title, caption, curve_plots.scaling(curve, number)))
    machine, sentences = formatting.machine_rows(report.machine), formatting.how(report)
    return (
        Section("Speed and accuracy", tables.findings(report), cards=_drawn(speed)),
        Section("The model alone", tables.models(report), cards=_drawn(alone)),
        Section("Comparisons", tables.comparisons(report)),
        Section("Where the time goes", tables.stages(report), True, _drawn(times)),
        Section("Scenarios", tables.scenarios(report)),
        Section("Accuracy", tables.scores(report), cards=_accuracy(report)),
        Section("What the maps show", radiographs=gallery),
        Section("Footprint", tables.footprint(report)),
        Section("Scaling", cards=curves, grid="grid small"),
        Section("Not measured", tables.skipped(report)),
        Section("Machine", facts=machine),
        Section("How it was measured", command=report.settings.command, sentences=sentences),
    )


def _drawn(cards: list[Card]) -> list[Card]:
    return [card for card in cards if card.drawing]


def _accuracy(report: Report) -> list[Card]:
    if not report.accuracy:
        return []
    caption = (
        "On the dotted line, 80 % of the predictions with 80 % confidence are right. Large dots "
        "hold most images."
    )
    cards = [Card("Reliability", caption, curve_plots.reliability(report), style="tall")]
    for row in report.accuracy:
        matrix = _matrix(row, report.labels)
        cards.append(Card(f"{row.key}: predicted, of each true label", "", matrix=matrix))
    return cards


def _cell(text: str) -> tuple[str, str, str]:
    """Style, text and interval of a cell."""
    match = _FIGURE.fullmatch(text)
    if match:
        return "", match[1], f"{match[2]} – {match[3]}"
    return _STYLES.get(text, "long" if len(text) > _LONG else ""), text, ""


def _matrix(scores: Accuracy, labels: Sequence[str]) -> _Matrix:
    """The confusion matrix, shaded by the share of the true label."""
    counts = np.array(scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [
        (
            label,
            [
                (n, f"{share:.0%}", f"{0.06 + 0.5 * share:.2f}")
                for n, share in zip(*row, strict=True)
            ],
        )
        for label, *row in zip(labels, counts.tolist(), shares.tolist(), strict=True)
    ]


def _tiles(report: Report) -> list[tuple[str, str]]:
    """The four most important figures, each with its label."""
    key = " ".join(formatting.own(report))
    pipeline = formatting.candidate_of(report, key)
    if pipeline is None:
        return []
    times = pipeline.latency
    tiles = [
        (f"{formatting.figure(times.p50)} ms", f"{key}, median; p90 {formatting.figure(times.p90)}")
    ]
    if (speedup := formatting.speedup_over_baseline(report, pipeline)) is not None:
        ends = f"{formatting.figure(speedup.low)} to {formatting.figure(speedup.high)}"
        tiles.append(
            (f"{formatting.figure(speedup.value)} ×", f"as fast as the PyTorch baseline, {ends}")
        )
    if (scores := formatting.accuracy_of(report, pipeline)) is not None:
        f1 = scores.macro_f1
        tiles.append((f"{f1.value:.3f}", f"macro-F1, {f1.low:.3f} to {f1.high:.3f}"))
    rows = [row for row in report.footprint if row.key == key]
    return tiles + [(f"{formatting.figure(row.bundle_mb)} MB", "the whole bundle") for row in rows]
