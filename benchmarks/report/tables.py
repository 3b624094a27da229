"""The tables of a benchmark's report, for Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from orthoedge.benchmarks.schema import Accuracy, Candidate, Interval, Report


@dataclass(frozen=True)
class Table:
    """Text in rows. `value (low to high)` is a figure with its interval."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(report: Report) -> list[Table]:
    """All tables with rows, in the order of the report."""
    made = (
        findings(report),
        models(report),
        comparisons(report),
        stages(report),
        scenarios(report),
        scores(report),
        footprint(report),
        scaling(report),
        skipped(report),
    )
    return [table for table in made if table.rows]


def findings(report: Report) -> Table:
    """Pipelines from radiograph to finding: latency and accuracy in the same row."""
    recalls = list(
        dict.fromkeys(label for scores in report.accuracy for label in scores.alert_recall)
    )
    rows = [
        (
            candidate.name,
            *_times(candidate),
            *_scores(accuracy_of(report, candidate), recalls),
            candidate.description,
        )
        for candidate in report.candidates
        if candidate.scope == "pipeline"
    ]
    head = (
        *_timed(report),
        "accuracy",
        *(f"recall {label}" for label in recalls),
        "99 % of the ensemble's",
    )
    return _table("Speed and accuracy", (*head, "a call"), rows)


def _timed(report: Report) -> tuple[str, ...]:
    """The first headings of both tables of candidates."""
    return ("", "p50 ms", "p90 ms", "p99 ms", f"÷ {report.reference}", "mJ", "macro-F1")


def models(report: Report) -> Table:
    """Engines and ensembles on prepared inputs, and OpenVINO's own benchmark program."""
    rows = [
        (
            candidate.name,
            *_times(candidate),
            _macro_f1(report, candidate),
            f"{candidate.engine} {candidate.version}",
            candidate.isa or NONE,
            candidate.description,
        )
        for candidate in report.candidates
        if candidate.scope == "model"
    ]
    head = (*_timed(report), "engine", "instruction set", "a call")
    return _table("The model alone", head, rows)


def comparisons(report: Report) -> Table:
    """The pipeline against reference implementations and other programs."""
    rows = [
        (
            row.name,
            f"{row.numerator}: {figure(row.numerator_ms)} ms",
            f"{row.denominator}: {figure(row.denominator_ms)} ms",
            interval(row.figure),
            row.unit,
            row.description,
        )
        for row in report.comparisons
    ]
    head = ("", "numerator", "denominator", "figure", "unit", "what is compared")
    note = "Round by round in the same processes. ×: numerator over denominator; ms: minus it."
    return _table("Comparisons", head, rows, note)


def stages(report: Report) -> Table:
    """Medians of each stage, a column for each target and precision."""
    columns = list(dict.fromkeys((stage.target, stage.precision) for stage in report.stages))
    names = dict.fromkeys(stage.name for stage in report.stages)
    latencies = {
        (stage.name, stage.target, stage.precision): stage.latency for stage in report.stages
    }
    rows = [
        (
            name,
            *(
                figure(latencies[(name, *at)].p50) if (name, *at) in latencies else NONE
                for at in columns
            ),
        )
        for name in names
    ]
    head: tuple[str, ...] = ("p50 in ms", *(" ".join(column) for column in columns))
    note = "Each stage is timed alone, so they need not add up to the whole, which is timed too."
    return _table("Stages and ways in", head, rows, note)


def scenarios(report: Report) -> Table:
    """MLPerf Inference's edge scenarios."""
    rows = [
        (
            f"{scenario.name}, {scenario.target} {scenario.precision}",
            scenario.quoted,
            *milliseconds(scenario.latency),
            figure(scenario.images_per_s),
            f"{scenario.queries:,} × {scenario.images_per_query:,}",
            figure(scenario.seconds),
            "yes" if scenario.valid else f"no: {scenario.violations}",
        )
        for scenario in report.scenarios
    ]
    head: tuple[str, ...] = (
        "scenario",
        "quoted",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "images/s",
    )
    note = "Times count from when a query was due, so a stall delays the following queries visibly."
    head += ("queries × images", "seconds", "by the rules")
    return _table("Scenarios, after MLPerf Inference's edge rules", head, rows, note)


def scores(report: Report) -> Table:
    """Calibration, maps and decisions of each target and precision on labelled radiographs."""
    head: tuple[str, ...] = (
        "",
        "images",
        "calibration error",
        "map points at the lesion",
        "reported",
    )
    head += ("accuracy of those", "same labels as the ensemble", "share of its macro-F1")
    rows = [
        (
            f"{row.target} {row.precision}",
            f"{row.images:,}",
            *map(share, (row.ece, row.pointing, row.coverage, row.accuracy_reported)),
            *map(share, (row.agreement, row.share_of_reference)),
        )
        for row in report.accuracy
    ]
    return _table("Calibration, maps and decisions", head, rows)


def footprint(report: Report) -> Table:
    """Sizes, start-up times and memory."""
    rows = [
        (
            f"{row.target} {row.precision}",
            *map(_size, (row.model_mb, row.bundle_mb, row.wheel_mb, row.environment_mb)),
            milliseconds(row.cold_start_ms)[0],
            interval(row.cold_start_ratio) if row.cold_start_ratio else NONE,
            milliseconds(row.cached_start_ms)[0],
            _peak(row.cold_peak_rss_mb),
        )
        for row in report.footprint
    ]
    head: tuple[str, ...] = ("", "model MB", "bundle MB", "wheel MB", "environment MB", "start ms")
    note = (
        "Start: from the creation of a process to its first finding, median. ÷ import: over the "
        "time of a process that imports numpy and OpenCV."
    )
    head += ("÷ import", "start from a cache ms", "peak memory MB")
    return _table("Footprint", head, rows, note)


def scaling(report: Report) -> Table:
    """Time and memory over one quantity each."""
    rows = []
    for curve in report.scaling:
        (small, first), (large, last) = curve.points[0], curve.points[-1]
        rows.append(
            (
                f"{curve.name}, {curve.unit} by {curve.by}",
                f"{figure(first)} at {small:,.0f}",
                f"{figure(last)} at {large:,.0f}",
                interval(curve.exponent),
                curve.explanation,
            )
        )
    head: tuple[str, ...] = ("", "from", "to", "exponent", "dominant part")
    return _table(
        "Scaling", head, rows, "Exponent: k of a·x^k, fitted to the upper half of the points."
    )


def skipped(report: Report) -> Table:
    """Measurements that were requested and could not be made."""
    rows = [(skip.name, skip.reason) for skip in report.skipped]
    return _table("Not measured", ("measurement", "reason"), rows)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> Table:
    """A table without columns that are empty in every row."""
    rows = list(rows)
    columns = [i for i in range(len(head)) if i == 0 or any(row[i] != NONE for row in rows)]
    trimmed = tuple(tuple(row[i] for i in columns) for row in rows)
    return Table(title, tuple(head[i] for i in columns), trimmed, note)


def _times(candidate: Candidate) -> tuple[str, ...]:
    p50, p90, p99, _ = milliseconds(candidate.latency)
    return p50, p90, p99, interval(candidate.ratio), _size(candidate.energy_mj)


def _scores(accuracy: Accuracy | None, recalls: Sequence[str]) -> tuple[str, ...]:
    if accuracy is None:
        return (NONE,) * (3 + len(recalls))
    alerts = (share(accuracy.alert_recall.get(label)) for label in recalls)
    return share(accuracy.macro_f1), share(accuracy.accuracy), *alerts, accuracy.holds_99 or NONE


def _macro_f1(report: Report, candidate: Candidate) -> str:
    if (worth := accuracy_of(report, candidate)) is not None:
        return share(worth.macro_f1)
    teacher = ensemble_f1(report)
    return f"{teacher:.3f}" if teacher and candidate.name.startswith(ENSEMBLE) else NONE


def _peak(value: Interval | None) -> str:
    return NONE if value is None else figure(value.value)


def _size(value: float | None) -> str:
    return NONE if value is None else figure(value)
