"""The tables of a benchmark's report, for Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orthoedge.benchmarks.report.formatting import (
    ENSEMBLE,
    NONE,
    accuracy_of,
    ensemble_f1,
    figure,
    interval,
    milliseconds,
    share,
)
from orthoedge.benchmarks.schema import Candidate, Interval, Report

_Row = Mapping[str, str]
"""Text of each column by its heading."""


@dataclass(frozen=True)
class Table:
    """Text in rows. `value (low to high)` is a figure with its interval."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(report: Report) -> list[Table]:
    """All tables with rows, in the order of the report."""
    makers = (findings, models, comparisons, stages, scenarios, scores, footprint, scaling, skipped)
    return [table for make in makers if (table := make(report)).rows]


def findings(report: Report) -> Table:
    """Pipelines from radiograph to finding: latency and accuracy in the same row."""
    recalls = dict.fromkeys(label for scores in report.accuracy for label in scores.alert_recall)
    rows = []
    for candidate in report.candidates:
        if candidate.scope == "pipeline":
            scores = accuracy_of(report, candidate)
            alerts = {} if scores is None else scores.alert_recall
            rows.append(
                _times(report, candidate)
                | {"macro-F1": share(None if scores is None else scores.macro_f1)}
                | {"accuracy": share(None if scores is None else scores.accuracy)}
                | {f"recall {label}": share(alerts.get(label)) for label in recalls}
                | {"99 % of the ensemble's": (scores.holds_99 if scores else None) or NONE}
                | {"a call": candidate.description}
            )
    return _table("Speed and accuracy", rows)


def models(report: Report) -> Table:
    """Engines and ensembles on prepared inputs, and OpenVINO's own benchmark program."""
    rows = [
        _times(report, candidate)
        | {
            "macro-F1": _macro_f1(report, candidate),
            "engine": f"{candidate.engine} {candidate.version}",
            "instruction set": candidate.isa or NONE,
            "a call": candidate.description,
        }
        for candidate in report.candidates
        if candidate.scope == "model"
    ]
    return _table("The model alone", rows)


def comparisons(report: Report) -> Table:
    """The pipeline against reference implementations and other programs."""
    rows = [
        {
            "": row.name,
            "numerator": f"{row.numerator}: {figure(row.numerator_ms)} ms",
            "denominator": f"{row.denominator}: {figure(row.denominator_ms)} ms",
            "figure": interval(row.figure),
            "unit": row.unit,
            "what is compared": row.description,
        }
        for row in report.comparisons
    ]
    note = "Round by round in the same processes. ×: numerator over denominator; ms: minus it."
    return _table("Comparisons", rows, note)


def stages(report: Report) -> Table:
    """Medians of each stage, a column for each target and precision."""
    columns = dict.fromkeys(f"{stage.target} {stage.precision}" for stage in report.stages)
    p50 = {stage.key: figure(stage.latency.p50) for stage in report.stages}
    rows = [
        {"p50 in ms": name} | {column: p50.get(f"{name} {column}", NONE) for column in columns}
        for name in dict.fromkeys(stage.name for stage in report.stages)
    ]
    note = "Each stage is timed alone, so they need not add up to the whole, which is timed too."
    return _table("Stages and ways in", rows, note)


def scenarios(report: Report) -> Table:
    """MLPerf Inference's edge scenarios."""
    tail = ("p50 ms", "p90 ms", "p99 ms", "p99.9 ms")
    rows = [
        {
            "scenario": f"{scenario.name}, {scenario.target} {scenario.precision}",
            "quoted": scenario.quoted,
            **dict(zip(tail, milliseconds(scenario.latency), strict=True)),
            "images/s": figure(scenario.images_per_s),
            "queries × images": f"{scenario.queries:,} × {scenario.images_per_query:,}",
            "seconds": figure(scenario.seconds),
            "by the rules": "yes" if scenario.valid else f"no: {scenario.violations}",
        }
        for scenario in report.scenarios
    ]
    note = "Times count from when a query was due, so a stall delays the following queries visibly."
    return _table("Scenarios, after MLPerf Inference's edge rules", rows, note)


def scores(report: Report) -> Table:
    """Calibration, maps and decisions of each target and precision on labelled radiographs."""
    rows = [
        {
            "": row.key,
            "images": f"{row.images:,}",
            "calibration error": share(row.ece),
            "map points at the lesion": share(row.pointing),
            "reported": share(row.coverage),
            "accuracy of those": share(row.accuracy_reported),
            "same labels as the ensemble": share(row.agreement),
            "share of its macro-F1": share(row.share_of_reference),
        }
        for row in report.accuracy
    ]
    return _table("Calibration, maps and decisions", rows)


def footprint(report: Report) -> Table:
    """Sizes, start-up times and memory."""
    rows = [
        {
            "": row.key,
            "model MB": _number(row.model_mb),
            "bundle MB": _number(row.bundle_mb),
            "wheel MB": _number(row.wheel_mb),
            "environment MB": _number(row.environment_mb),
            "start ms": milliseconds(row.cold_start_ms)[0],
            "÷ import": interval(row.cold_start_ratio),
            "start from a cache ms": milliseconds(row.cached_start_ms)[0],
            "peak memory MB": _number(row.cold_peak_rss_mb),
        }
        for row in report.footprint
    ]
    note = (
        "Start: from the creation of a process to its first finding, median. ÷ import: over the "
        "time of a process that imports numpy and OpenCV."
    )
    return _table("Footprint", rows, note)


def scaling(report: Report) -> Table:
    """Time and memory over one quantity each."""
    rows = [
        {
            "": f"{curve.name}, {curve.unit} by {curve.by}",
            "from": _point(*curve.points[0]),
            "to": _point(*curve.points[-1]),
            "exponent": interval(curve.exponent),
            "dominant part": curve.explanation,
        }
        for curve in report.scaling
    ]
    note = "Exponent: k of a·x^k, fitted to the upper half of the points."
    return _table("Scaling", rows, note)


def skipped(report: Report) -> Table:
    """Measurements that were requested and could not be made."""
    rows = [{"measurement": skip.name, "reason": skip.reason} for skip in report.skipped]
    return _table("Not measured", rows)


def _table(title: str, rows: Sequence[_Row], note: str = "") -> Table:
    """A table without columns that are empty in every row."""
    first, *others = rows[0] if rows else [""]
    head = (first, *(name for name in others if any(row[name] != NONE for row in rows)))
    return Table(title, head, tuple(tuple(row[name] for name in head) for row in rows), note)


def _times(report: Report, candidate: Candidate) -> dict[str, str]:
    """The first columns of both tables of candidates."""
    p50, p90, p99, _ = milliseconds(candidate.latency)
    return {
        "": candidate.name,
        "p50 ms": p50,
        "p90 ms": p90,
        "p99 ms": p99,
        f"÷ {report.reference}": interval(candidate.ratio),
        "mJ": _number(candidate.energy_mj),
    }


def _macro_f1(report: Report, candidate: Candidate) -> str:
    if (scores := accuracy_of(report, candidate)) is not None:
        return share(scores.macro_f1)
    teacher = ensemble_f1(report)
    return f"{teacher:.3f}" if teacher and candidate.name.startswith(ENSEMBLE) else NONE


def _point(size: float, value: float) -> str:
    return f"{figure(value)} at {size:,.0f}"


def _number(value: Interval | float | None) -> str:
    value = value.value if isinstance(value, Interval) else value
    return NONE if value is None else figure(value)
