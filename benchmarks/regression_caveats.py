"""What a reader must know before two reports are compared."""

from __future__ import annotations

from orthoedge.benchmarks.machine import CROWDED
from orthoedge.benchmarks.schema import Report

_SETTINGS = ("mode", "threads", "isa_cap", "cpu_quota", "seed", "data")


def caveats(before: Report, after: Report) -> list[str]:
    """A line for each thing that differs, or that keeps a report from being quoted."""
    found = []
    if before.bundle_sha256 != after.bundle_sha256:
        found.append(f"Two bundles: {_bundle(before)} and {_bundle(after)}.")
    for name in _SETTINGS:
        first, second = getattr(before.settings, name), getattr(after.settings, name)
        if first != second:
            found.append(f"Measured otherwise: {name} {_said(first)} and {_said(second)}.")
    for name in ("cpu", "cores", "kernel", "governor", "python"):
        first, second = getattr(before.machine, name), getattr(after.machine, name)
        if first != second:
            found.append(f"Another machine: {name} {_said(first)} and {_said(second)}.")
    found += _versions(before.machine.packages, after.machine.packages)
    if before.settings.labelled != after.settings.labelled:
        found.append(
            "Accuracy is not compared: it was measured on "
            f"{_said(before.settings.labelled)} and on {_said(after.settings.labelled)}."
        )
    found += _one_sided(before, after)
    return found + _quality("first", before) + _quality("second", after)


def _versions(before: dict[str, str], after: dict[str, str]) -> list[str]:
    names = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
    if not names:
        return []
    each = (f"{name} {before.get(name, 'none')} and {after.get(name, 'none')}" for name in names)
    return [f"Other versions: {', '.join(each)}."]


def _one_sided(before: Report, after: Report) -> list[str]:
    """What only one of them timed."""
    first, second = ([one.name for one in report.candidates] for report in (before, after))
    found = [f"Only in the first: {name}." for name in first if name not in second]
    return found + [f"Only in the second: {name}." for name in second if name not in first]


def _quality(which: str, report: Report) -> list[str]:
    found = []
    if not report.complete:
        found.append(f"The {which} was interrupted.")
    if report.others_cores is not None and report.others_cores > CROWDED:
        found.append(f"During the {which}, others kept {report.others_cores:.2f} cores busy.")
    return found


def _bundle(report: Report) -> str:
    return f"{report.bundle} {report.bundle_version} ({report.bundle_sha256[:12]})"


def _said(value: object) -> str:
    return "none" if value in (None, "") else str(value)
