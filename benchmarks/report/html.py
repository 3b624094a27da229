"""report.html: one page that needs no script, no font and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from orthoedge.benchmarks.report import curve_plots, plots, stage_plots, tables
from orthoedge.benchmarks.report.formatting import cautions, headline, how, interval, machine_rows
from orthoedge.benchmarks.report.gallery import GalleryItem
from orthoedge.benchmarks.report.html_parts import (
    Matrix,
    PageTable,
    Radiograph,
    matrix_of,
    radiograph_of,
    table_of,
    tiles_of,
)
from orthoedge.benchmarks.schema import Report, ScalingCurve
from orthoedge.runtime.errors import MissingDependency

_GRID, _SMALL_GRID = "grid", "grid small"


@dataclass(frozen=True)
class Card:
    """A drawing, or a confusion matrix, under its title."""

    title: str
    caption: str
    drawing: str = ""
    """SVG element; empty: there is nothing to draw."""
    matrix: Matrix | None = None
    style: str = ""
    """`tall` is as high as two other cards."""


@dataclass(frozen=True)
class Section:
    """A part of the page, which the list of contents links to."""

    title: str
    name: str = ""
    table: PageTable | None = None
    table_last: bool = False
    """Below the cards."""
    cards: tuple[Card, ...] = ()
    grid: str = _GRID
    radiographs: tuple[Radiograph, ...] = ()
    note: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    command: str = ""
    sentences: tuple[str, ...] = ()

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.table or self.cards or self.radiographs or self.facts or self.command)


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
    environment.filters["markup"] = Markup
    template = environment.from_string(package.joinpath("page.html.jinja").read_text("utf-8"))
    page = template.render(
        title=f"{report.bundle} {report.bundle_version}",
        css=Markup(package.joinpath("style.css").read_text("utf-8")),
        headline=headline(report),
        tiles=tiles_of(report),
        cautions=cautions(report),
        sections=[section for section in _sections(report, gallery) if section.has_content],
        footer=f"Bundle {report.bundle_sha256}. Labels: {', '.join(report.labels)}. "
        f"{report.schema}.",
    )
    return page.replace(" %", "\u00a0%")  # a percent sign never begins a line


def _sections(report: Report, gallery: Sequence[GalleryItem]) -> tuple[Section, ...]:
    return (
        _speed(report),
        _models(report),
        Section("Comparisons", table=table_of(tables.comparisons(report))),
        _stages(report),
        Section("Scenarios", table=table_of(tables.scenarios(report))),
        _accuracy(report),
        Section(
            "What the maps show",
            radiographs=tuple(map(radiograph_of, gallery)),
            note="Drawn at random: a right prediction of each label, then a wrong one of each. "
            "Each map is that of the predicted label; white boxes are the lesions.",
        ),
        Section("Footprint", table=table_of(tables.footprint(report))),
        Section(
            "Scaling",
            cards=tuple(
                Card(
                    f"{curve.name}: {curve.unit} by {curve.by}",
                    f"{curve.explanation} {_exponent(curve)}",
                    curve_plots.scaling(curve, number),
                )
                for number, curve in enumerate(report.scaling)
            ),
            grid=_SMALL_GRID,
        ),
        Section("Not measured", table=table_of(tables.skipped(report))),
        Section("Machine", name="machine", facts=tuple(machine_rows(report.machine))),
        Section(
            "How it was measured", command=report.settings.command, sentences=tuple(how(report))
        ),
    )


def _speed(report: Report) -> Section:
    rows = tables.findings(report)
    names = [row[0] for row in rows.rows]
    return Section(
        "Speed and accuracy",
        table=table_of(rows),
        cards=_drawn(
            Card(
                "Accuracy over time, the models alone",
                "Left and up is better. Bars: 95 % intervals. Dashed: the Pareto front.",
                plots.pareto(report),
            ),
            Card(
                "Radiograph to finding, by percentile",
                "How long the slow ones take.",
                plots.percentiles(report, names, "Radiograph to finding by percentile"),
            ),
        ),
    )


def _models(report: Report) -> Section:
    rows = tables.models(report)
    names = [row[0] for row in rows.rows]
    curves = plots.percentiles(report, names, "The model alone by percentile")
    return Section(
        "The model alone",
        table=table_of(rows),
        cards=_drawn(
            Card("The model alone, by percentile", "", curves),
            Card(
                "All candidates over the reference", "Lines: 95 % intervals.", plots.ratios(report)
            ),
        ),
    )


def _stages(report: Report) -> Section:
    return Section(
        "Where the time goes",
        table=table_of(tables.stages(report)),
        table_last=True,
        cards=_drawn(
            Card(
                "From memory to finding",
                "Each stage timed alone; the line is the whole.",
                stage_plots.breakdown(report),
            ),
            Card("From a file to a finding", "", stage_plots.ways_in(report)),
        ),
    )


def _accuracy(report: Report) -> Section:
    if not report.accuracy:
        return Section("Accuracy")
    caption = (
        "On the dotted line, 80 % of the predictions with 80 % confidence are right. Large dots "
        "hold most images."
    )
    cards = [Card("Reliability", caption, curve_plots.reliability(report), style="tall")]
    cards += [
        Card(f"{row.key}: predicted, of each true label", "", matrix=matrix_of(row, report.labels))
        for row in report.accuracy
    ]
    return Section("Accuracy", table=table_of(tables.scores(report)), cards=tuple(cards))


def _exponent(curve: ScalingCurve) -> str:
    if curve.exponent is None:
        return "It does not grow as a power."
    return f"Exponent {interval(curve.exponent)} over the upper half."


def _drawn(*cards: Card) -> tuple[Card, ...]:
    """The cards with a drawing."""
    return tuple(card for card in cards if card.drawing)
