"""report.html: one page that needs no script, no font and no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from orthoedge.benchmarks.report import (
    curve_plots,
    plots,
    stage_plots,
    tables,
)
from orthoedge.benchmarks.report.formatting import (
    cautions,
    headline,
    how,
    interval,
    machine_rows,
)
from orthoedge.benchmarks.report.gallery import GalleryItem
from orthoedge.benchmarks.report.html_parts import (
    card,
    confusion,
    listed,
    radiograph,
    section,
    table,
    tiles,
)
from orthoedge.benchmarks.report.style import CSS
from orthoedge.benchmarks.schema import Accuracy, Report, ScalingCurve

# The browser itself is told to load nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def to_html(report: Report, gallery: Sequence[GalleryItem] = ()) -> str:
    """The report as a page.

    Args:
        report: complete or interrupted; a part that was not measured is left out or says why.
        gallery: radiographs to show; none leaves that section out.

    Raises:
        MissingDependency: matplotlib, which draws the plots, is not installed.
    """
    parts = [
        ("Speed and accuracy", _speed(report)),
        ("The model alone", _models(report)),
        ("Where the time goes", _stages(report)),
        ("Scenarios", table(tables.scenarios(report))),
        ("Answers", _answers(report)),
        ("What the maps show", _gallery(gallery)),
        ("Footprint", table(tables.footprint(report))),
        ("Scaling", _scaling(report)),
        ("Not measured", table(tables.skipped(report))),
        ("Machine", _machine(report)),
        ("How it was measured", _how(report)),
    ]
    parts = [(title, inside) for title, inside in parts if inside]
    title = f"{escape(report.bundle)} {escape(report.bundle_version)}"
    links = "".join(f'<a href="#s{n}">{name}</a>' for n, (name, _) in enumerate(parts))
    sections = "".join(section(f"s{n}", name, inside) for n, (name, inside) in enumerate(parts))
    body = (
        f'<header><h1>{title}</h1><p class="verdict">{escape(headline(report))}</p>'
        f"{tiles(report)}{listed(cautions(report), 'cautions')}<nav>{links}</nav></header>"
        f"{sections}<footer>{_footer(report)}</footer>"
    ).replace(" %", "\u00a0%")  # a percent sign never begins a line
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{title}: benchmark</title><style>{CSS}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _speed(report: Report) -> str:
    rows = tables.findings(report)
    names = [row[0] for row in rows.rows]
    return table(rows) + _cards(
        (
            "Accuracy over time, the models alone",
            "Left and up is better. Bars: 95 % intervals. Dashed: what no quicker one equals.",
            plots.pareto(report),
        ),
        (
            "Radiograph to finding, by percentile",
            "How long the slow ones take.",
            plots.percentiles(report, names, "Radiograph to finding by percentile"),
        ),
    )


def _models(report: Report) -> str:
    rows = tables.models(report)
    names = [row[0] for row in rows.rows]
    curves = plots.percentiles(report, names, "The model alone by percentile")
    return table(rows) + _cards(
        ("The model alone, by percentile", "", curves),
        (
            "Everything, over the same reference",
            "Lines: 95 % intervals.",
            plots.ratios(report),
        ),
    )


def _stages(report: Report) -> str:
    plots = _cards(
        (
            "From memory to finding",
            "Each part timed alone; the line is the whole.",
            stage_plots.breakdown(report),
        ),
        ("From a file to a finding", "", stage_plots.ways_in(report)),
    )
    return plots + table(tables.stages(report))


def _answers(report: Report) -> str:
    if not report.accuracy:
        return ""
    words = (
        "On the dotted line, of answers given with 80 % confidence 80 % are right. Large dots hold "
        "most answers."
    )
    cards = [card("Reliability", words, curve_plots.reliability(report), "tall")]
    cards += [_matrix(one, report.labels) for one in report.accuracy]
    return table(tables.answers(report)) + f'<div class="grid">{"".join(cards)}</div>'


def _matrix(one: Accuracy, labels: Sequence[str]) -> str:
    title = f"{one.target} {one.precision}: said, of each true label"
    return card(title, "", confusion(one.confusion, labels))


def _gallery(gallery: Sequence[GalleryItem]) -> str:
    if not gallery:
        return ""
    note = (
        "Drawn by chance: a right answer of each label, then a wrong one of each. Each map is of "
        "the label that its network says; white boxes are the lesions."
    )
    cards = "".join(radiograph(one) for one in gallery)
    return f'<p class="note">{note}</p><div class="grid">{cards}</div>'


def _scaling(report: Report) -> str:
    cards = [
        card(
            f"{one.name}: {one.unit} by {one.by}",
            f"{one.explanation} {_exponent(one)}",
            curve_plots.scaling(one, number),
        )
        for number, one in enumerate(report.scaling)
    ]
    return f'<div class="grid small">{"".join(cards)}</div>' if cards else ""


def _exponent(one: ScalingCurve) -> str:
    if one.exponent is None:
        return "It grows as no power."
    return f"Exponent {interval(one.exponent)} over the upper half."


def _machine(report: Report) -> str:
    facts = machine_rows(report.machine)
    inside = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<dl>{inside}</dl>"


def _how(report: Report) -> str:
    command = f'<pre class="card"><code>{escape(report.settings.command)}</code></pre>'
    return command + listed(how(report), "plain")


def _footer(report: Report) -> str:
    labels = escape(", ".join(report.labels))
    return f"Bundle {escape(report.bundle_sha256)}. Labels: {labels}. {escape(report.schema)}."


def _cards(*cards: tuple[str, str, str]) -> str:
    """Title, caption and drawing of each; those without a drawing are left out."""
    drawn = "".join(card(*one) for one in cards if one[2])
    return f'<div class="grid">{drawn}</div>' if drawn else ""
