"""Compare two reports: which figures changed by more than noise.

A ratio changed by more than noise where the two 95 % intervals do not overlap and it moved by more
than `DRIFT`. Where nothing changed, chance alone keeps two such intervals apart about 6 times in
1,000 (Schenker & Gentleman, The American Statistician 55, 2001), so the many
comparisons of a report rarely raise a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orthoedge.benchmarks.machine import BUSY_CORES
from orthoedge.benchmarks.report.formatting import figure, interval, share
from orthoedge.benchmarks.schema import Accuracy, Candidate, Footprint, Interval, Report
from orthoedge.runtime.errors import DataError

DRIFT = 0.02
"""Relative change of a ratio that the machine alone may cause from run to run."""
_STAGE = 0.05  # relative change from which a stage is named as a hint
_SIZES = {"model_mb": 0.001, "bundle_mb": 0.001, "wheel_mb": 0.001, "environment_mb": 0.001}
_SIZES |= {"cold_peak_rss_mb": 0.05}  # relative changes from which a size differs
_START = 0.1  # relative change of a start's ratio that the state of the system may cause
_STARTS = 6  # 6 starts of one run all lie above 6 of another by chance once in 500 times
_SETTINGS = ("mode", "threads", "isa_limit", "seed", "data")
_SHARES = ("accuracy", "macro_f1", "ece", "pointing", "coverage", "accuracy_reported", "agreement")


@dataclass(frozen=True)
class Comparison:
    """Differences of two reports."""

    lines: tuple[str, ...]
    """The verdict, the changes, then what limits the comparison."""
    changed: bool
    """Whether anything changed by more than noise."""


def compare(before: Report, after: Report) -> Comparison:
    """Compare two runs of the benchmark.

    Raises:
        DataError: they cannot be compared: different labels or reference candidates.
    """
    for name, first, second in (
        ("labels", ", ".join(before.labels), ", ".join(after.labels)),
        ("reference of the ratios", before.reference, after.reference),
    ):
        if first != second:
            raise DataError(f"the reports cannot be compared: {name}: {first} and {second}")
    changes = [*_ratios(before, after), *_accuracy(before, after), *_sizes(before, after)]
    notes = [*_detectable(before, after), *_caveats(before, after)]
    verdict = "No difference."
    if changes:
        count = "one figure" if len(changes) == 1 else f"{len(changes)} figures"
        verdict = f"Changed by more than noise: {count}."
    return Comparison((verdict, *changes, *_reference(before, after), *notes), bool(changes))


def _pairs(before: Report, after: Report) -> Iterator[tuple[Candidate, Candidate]]:
    """Candidates of both reports without the reference, whose ratio is 1."""
    later = {candidate.name: candidate for candidate in after.candidates}
    for candidate in before.candidates:
        if candidate.name in later and candidate.name != before.reference:
            yield candidate, later[candidate.name]


def _ratios(before: Report, after: Report) -> Iterator[str]:
    for old, new in _pairs(before, after):
        if _moved(old.ratio, new.ratio):
            change = 100 * (new.ratio.value / old.ratio.value - 1)
            yield (
                f"{old.name}: {figure(abs(change))} % {'slower' if change > 0 else 'faster'}: "
                f"{interval(old.ratio)}, now {interval(new.ratio)} times the time of "
                f"{before.reference}{_stages(before, after, old)}"
            )


def _moved(old: Interval, new: Interval, drift: float = DRIFT) -> bool:
    apart = old.high < new.low or new.high < old.low
    return apart and abs(new.value / old.value - 1) > drift


def _stages(before: Report, after: Report, of: Candidate) -> str:
    """Stages of a pipeline whose medians moved; a hint, for absolute times drift."""
    if of.name != f"{of.target} {of.precision}":
        return ""
    at = (of.target, of.precision)
    old = {s.name: s.latency.p50 for s in before.stages if (s.target, s.precision) == at}
    new = {s.name: s.latency.p50 for s in after.stages if (s.target, s.precision) == at}
    moved = [
        f"{name} {figure(old[name])} to {figure(new[name])} ms"
        for name in old
        if name in new and abs(new[name] / old[name] - 1) > _STAGE
    ]
    return f" (medians of stages: {', '.join(moved)})" if moved else ""


def _reference(before: Report, after: Report) -> list[str]:
    """If all ratios moved the same way, their reference moved the other way."""
    pairs = list(_pairs(before, after))
    moved = [
        new.ratio.value / old.ratio.value > 1 for old, new in pairs if _moved(old.ratio, new.ratio)
    ]
    if len(pairs) < 3 or len(moved) < 0.8 * len(pairs) or len(set(moved)) > 1:
        return []
    name = before.reference
    first, second = (
        figure(c.latency.p50) for r in (before, after) for c in r.candidates if c.name == name
    )
    remark = "Nearly all ratios moved the same way, so check their reference"
    return [f"{remark}: {name} took {first} ms and now takes {second}."]


def _accuracy(before: Report, after: Report) -> Iterator[str]:
    if before.settings.labelled != after.settings.labelled:
        return
    later = {scores.key: scores for scores in after.accuracy}
    exact = before.bundle_sha256 == after.bundle_sha256
    for old in before.accuracy:
        new = later.get(old.key)
        if new is None:
            continue
        for name, first, second in _shares(old, new):
            apart = first.high < second.low or second.high < first.low
            # The same bundle on the same images has no noise: any visible difference is a change.
            if apart or (exact and f"{first.value:.3f}" != f"{second.value:.3f}"):
                yield (
                    f"{old.key}: {name} {share(first)}, now {share(second)}"
                    f"{', for the same bundle on the same images' if exact else ''}"
                )


def _shares(old: Accuracy, new: Accuracy) -> Iterator[tuple[str, Interval, Interval]]:
    for name in _SHARES:
        first, second = getattr(old, name), getattr(new, name)
        if first is not None and second is not None:
            yield name, first, second
    for label, first in old.alert_recall.items():
        if label in new.alert_recall:
            yield f"recall of {label}", first, new.alert_recall[label]


def _sizes(before: Report, after: Report) -> Iterator[str]:
    later = {footprint.key: footprint for footprint in after.footprint}
    for old in before.footprint:
        new = later.get(old.key)
        if new is None:
            continue
        for name in _SIZES:
            first, second = _megabytes(old, name), _megabytes(new, name)
            if first and second and abs(second / first - 1) > _SIZES[name]:
                words = name.removeprefix("cold_").removesuffix("_mb").replace("_", " ")
                yield f"{old.key}: {words} {figure(first)} MB, now {figure(second)} MB"
        for name in ("cold_start", "cached_start"):
            first, second = (getattr(row, f"{name}_ratio") for row in (old, new))
            times = [getattr(row, f"{name}_ms") for row in (old, new)]
            if first is None or second is None or min(taken.count for taken in times) < _STARTS:
                continue
            if _moved(first, second, _START):
                words = " ".join((old.key, *name.split("_")))
                medians = f"{figure(times[0].p50)} and {figure(times[1].p50)} ms"
                yield (
                    f"{words}: {interval(first)}, now {interval(second)} times the time of "
                    f"importing numpy and OpenCV (medians {medians})"
                )


def _megabytes(footprint: Footprint, name: str) -> float | None:
    size: Interval | float | None = getattr(footprint, name)
    return size.value if isinstance(size, Interval) else size


def _detectable(before: Report, after: Report) -> list[str]:
    """The change of a ratio that these two reports would detect."""
    needed = [
        max(DRIFT, (old.ratio.high / old.ratio.value) * (new.ratio.value / new.ratio.low) - 1)
        for old, new in _pairs(before, after)
    ]
    if not needed:
        return []
    least, most = (f"{figure(100 * end)} %" for end in (min(needed), max(needed)))
    span = least if least == most else f"{least} to {most}, by candidate,"
    return [f"Of {len(needed)} ratios, a change of {span} or more would have been detected."]


def _caveats(before: Report, after: Report) -> list[str]:
    """A line for each difference, and for each reason not to quote a report."""
    lines = []
    if before.bundle_sha256 != after.bundle_sha256:
        lines.append(f"Different bundles: {_bundle(before)} and {_bundle(after)}.")
    for name in _SETTINGS:
        first, second = getattr(before.settings, name), getattr(after.settings, name)
        if first != second:
            lines.append(f"Different settings: {name} {_written(first)} and {_written(second)}.")
    for name in ("cpu", "cores", "kernel", "governor", "python"):
        first, second = getattr(before.machine, name), getattr(after.machine, name)
        if first != second:
            lines.append(f"Different machines: {name} {_written(first)} and {_written(second)}.")
    old, new = before.machine.packages, after.machine.packages
    versions = [
        f"{name} {old.get(name, 'none')} and {new.get(name, 'none')}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    if versions:
        lines.append(f"Different versions: {', '.join(versions)}.")
    if before.settings.labelled != after.settings.labelled:
        lines.append(
            "Accuracy is not compared: it was measured on "
            f"{_written(before.settings.labelled)} and on {_written(after.settings.labelled)}."
        )
    first, second = ([c.name for c in report.candidates] for report in (before, after))
    lines += [f"Only in the first: {name}." for name in first if name not in second]
    lines += [f"Only in the second: {name}." for name in second if name not in first]
    return lines + _quality("first", before) + _quality("second", after)


def _quality(which: str, report: Report) -> list[str]:
    lines = []
    if not report.complete:
        lines.append(f"The {which} was interrupted.")
    if report.background_load is not None and report.background_load > BUSY_CORES:
        lines.append(
            f"During the {which}, other programs kept {report.background_load:.2f} cores busy."
        )
    return lines


def _bundle(report: Report) -> str:
    return f"{report.bundle} {report.bundle_version} ({report.bundle_sha256[:12]})"


def _written(value: object) -> str:
    return "none" if value in (None, "") else str(value)
