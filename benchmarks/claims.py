"""The published limits on speed and memory, checked against a report.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orthoedge.benchmarks import machine
from orthoedge.benchmarks.run_settings import Part
from orthoedge.benchmarks.schema import Interval, Report
from orthoedge.benchmarks.thresholds import resolve
from orthoedge.benchmarks.timing.candidates import EXTERNAL
from orthoedge.runtime.settings import plain


@dataclass(frozen=True)
class Claim:
    """A limit on one figure of a report."""

    name: str
    path: str
    """Of the figure, see `thresholds.resolve`."""
    limit: float | None
    """None: the figure is published without a limit."""
    direction: Literal["at least", "at most"]
    unit: str
    part: Part
    """Part of a run that measures it."""


@dataclass(frozen=True)
class Result:
    """A claim and its figure."""

    claim: Claim
    figure: Interval | None
    """None: the report does not have it."""

    @property
    def verdict(self) -> str:
        """`kept` or `MISSED` by the figure, and whether the limit lies inside its interval."""
        limit, figure = self.claim.limit, self.figure
        if figure is None:
            return "not measured"
        if limit is None:
            return "–"
        at_least = self.claim.direction == "at least"
        kept = figure.value >= limit if at_least else figure.value <= limit
        verdict = "kept" if kept else "MISSED"
        inside = figure.low < limit < figure.high
        return f"{verdict}, limit inside the interval" if inside else verdict


def _compared(
    name: str,
    limit: float | None,
    direction: Literal["at least", "at most"] = "at least",
    part: Part = "timing",
    unit: str = "×",
) -> Claim:
    return Claim(name, f"comparisons[{name}].figure", limit, direction, unit, part)


def _footprint(name: str, field: str, limit: float, unit: str) -> Claim:
    return Claim(name, f"footprint[x86 int8].{field}", limit, "at most", unit, "footprint")


CLAIMS: tuple[Claim, ...] = (
    _compared("baseline", 150),
    _compared("minimal_pipeline", 1.10, "at most"),
    _compared("saliency_map", 1.05, "at most"),
    _compared("dicom", 1.5, "at most"),
    _footprint("start", "cold_start_ms", 450, "ms"),
    _footprint("cached_start", "cached_start_ms", 240, "ms"),
    _footprint("memory", "cold_peak_rss_mb", 135, "MB"),
    _footprint("cached_memory", "cached_peak_rss_mb", 115, "MB"),
    _footprint("import", "import_ms", 60, "ms"),
    _compared("folder_bound", 0.9, part="folder"),
    _compared("folder_jobs", None, part="folder"),
    _compared("onnxruntime_by_hand", None),
)
EXTERNAL_NAME = "external"
"""Stands for the claims about every external program of the report."""
NAMES = (*(claim.name for claim in CLAIMS), EXTERNAL_NAME)
_EXTERNAL_LIMITS = {"ultralytics": 4.0}


def evaluate(report: Report, names: Sequence[str] = NAMES) -> list[Result]:
    """Check the claims of these names against a report, those of external programs last."""
    claims = [claim for claim in CLAIMS if claim.name in names]
    if EXTERNAL_NAME in names:
        claims += _external_claims(report)
    return [Result(claim, _figure(report, claim.path)) for claim in claims]


def unmeasured(report: Report, names: Sequence[str], external: Sequence[str]) -> list[str]:
    """Claims and external programs requested by name that the report has no figure of."""
    lacking = [result.claim.name for result in evaluate(report, names) if result.figure is None]
    timed = {candidate.name for candidate in report.candidates}
    return lacking + [EXTERNAL + name for name in external if EXTERNAL + name not in timed]


def parts_of(names: Sequence[str]) -> frozenset[Part]:
    """Parts of a run that measure the claims of these names."""
    timing: Part = "timing"
    return frozenset({timing, *(claim.part for claim in CLAIMS if claim.name in names)})


def to_markdown(report: Report, results: Sequence[Result]) -> str:
    """The claims as one table."""
    described, settings = report.machine, report.settings
    lines = [
        f"# Claims of {report.bundle} {report.bundle_version}",
        "",
        f"{settings.threads} threads; {described.cpu}, {described.cores} cores, "
        f"{described.kernel}. Medians with 95 % intervals over {settings.processes} processes.",
        "",
        "| claim | compared | figure (95 %) | limit | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_line(report, result) for result in results]
    load = report.background_load
    if load is not None and load > machine.BUSY_CORES:
        lines += ["", f"**Other programs kept {load:.2f} cores busy: do not quote these figures.**"]
    if report.skipped:
        lines += ["", *(f"- {skip.name}: not measured. {skip.reason}" for skip in report.skipped)]
    return "\n".join(lines) + "\n"


def _external_claims(report: Report) -> list[Claim]:
    claims = []
    for comparison in report.comparisons:
        if comparison.name.startswith(EXTERNAL):
            if comparison.unit == "ms":
                claims.append(_compared(comparison.name, 0.0, "at most", unit="ms"))
            else:
                limit = _EXTERNAL_LIMITS.get(comparison.name.removeprefix(EXTERNAL))
                claims.append(_compared(comparison.name, limit))
    return claims


def _figure(report: Report, path: str) -> Interval | None:
    value = resolve(report, path)
    if isinstance(value, float):  # a report of the previous schema has no interval here
        return Interval(value=value, low=value, high=value)
    return value


def _line(report: Report, result: Result) -> str:
    claim, figure = result.claim, result.figure
    pair = claim.path
    for row in report.comparisons:
        if claim.path == f"comparisons[{row.key}].figure":
            times = (row.numerator, row.numerator_ms), (row.denominator, row.denominator_ms)
            pair = "; ".join(f"{name}: {plain(ms, 3)} ms" for name, ms in times)
    written = "–"
    if figure is not None:
        value, low, high = (plain(part, 3) for part in (figure.value, figure.low, figure.high))
        written = f"{value} ({low} to {high}) {claim.unit}"
    sign = "≥" if claim.direction == "at least" else "≤"
    limit = "–" if claim.limit is None else f"{sign} {plain(claim.limit)} {claim.unit}"
    return f"| {claim.name} | {pair} | {written} | {limit} | {result.verdict} |"
