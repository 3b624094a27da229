"""Differences in how two reports were measured, and reasons not to quote one."""

from __future__ import annotations

from orthoedge.benchmarks.machine import BUSY_CORES
from orthoedge.benchmarks.schema import Report

_SETTINGS = ("mode", "threads", "isa_limit", "seed", "data")


def caveats(before: Report, after: Report) -> list[str]:
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
    lines += _versions(before.machine.packages, after.machine.packages)
    if before.settings.labelled != after.settings.labelled:
        lines.append(
            "Accuracy is not compared: it was measured on "
            f"{_written(before.settings.labelled)} and on {_written(after.settings.labelled)}."
        )
    first, second = ([c.name for c in report.candidates] for report in (before, after))
    lines += [f"Only in the first: {name}." for name in first if name not in second]
    lines += [f"Only in the second: {name}." for name in second if name not in first]
    return lines + _quality("first", before) + _quality("second", after)


def _versions(before: dict[str, str], after: dict[str, str]) -> list[str]:
    names = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
    if not names:
        return []
    each = (f"{name} {before.get(name, 'none')} and {after.get(name, 'none')}" for name in names)
    return [f"Different versions: {', '.join(each)}."]


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
