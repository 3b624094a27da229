"""Conditions under which a device maker's CI fails: `p90_ms>2`, `portable.fp32.macro_f1<0.93`."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orthoedge.benchmarks.report.formatting import candidate_of, figure, own
from orthoedge.benchmarks.schema import Candidate, Interval, Report
from orthoedge.runtime.errors import ConfigError

_OF_TIMES = ("mean", "p50", "p90", "p99", "p999")
_OF_SCENARIOS: dict[str, tuple[Literal["SingleStream", "MultiStream", "Offline"], str]] = {
    "single_stream_p90_ms": ("SingleStream", "p90"),
    "multi_stream_p99_ms": ("MultiStream", "p99"),
    "offline_images_per_s": ("Offline", ""),
}
_OF_STARTS = ("cold_start_ms", "cached_start_ms")
_OF_FOOTPRINT = ("model_mb", "bundle_mb", "wheel_mb", "environment_mb", "peak_rss_mb")
_OF_ACCURACY = (
    "accuracy",
    "macro_f1",
    "ece",
    "pointing",
    "coverage",
    "accuracy_reported",
    "agreement",
    "share_of_reference",
)
NAMES = (
    *(f"{name}_ms" for name in _OF_TIMES),
    *(f"engine_{name}_ms" for name in _OF_TIMES),
    "ratio",
    "engine_ratio",
    "energy_mj",
    *_OF_SCENARIOS,
    *_OF_STARTS,
    *_OF_FOOTPRINT,
    *_OF_ACCURACY,
    "alert_recall",
)
"""All that a condition may name."""
_SIGNS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_FORM = re.compile(
    r"\s*(?:(?P<target>\w+)\.(?P<precision>\w+)\.)?(?P<name>[A-Za-z]\w*)\s*(?P<sign>[<>]=?)"
    r"\s*(?P<limit>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True)
class Condition:
    """A parsed condition."""

    text: str
    """As it was typed."""
    target: str
    """Empty: that of the report's reference."""
    precision: str
    name: str
    sign: str
    limit: float


def parse(text: str) -> Condition:
    """Read `NAME OP NUMBER`, with `TARGET.PRECISION.` before the name or without.

    Raises:
        RecipeError: not of that form, or an unknown name; one line that says what is known.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--fail-if {text!r}: expected [TARGET.PRECISION.]NAME then >, <, >= or <= then a "
            "number, such as 'p90_ms>2' or 'x86.int8.macro_f1<0.93'"
        )
    if found["name"] not in NAMES:
        raise ConfigError(f"--fail-if {text!r}: {found['name']} is none of {', '.join(NAMES)}")
    return Condition(
        text=text.strip(),
        target=found["target"] or "",
        precision=found["precision"] or "",
        name=found["name"],
        sign=found["sign"],
        limit=float(found["limit"]),
    )


def failures(report: Report, conditions: Sequence[Condition]) -> list[str]:
    """A line for each condition that holds, or that could not be checked: exit 1 if there is any.

    What was asked for and not measured fails too: silence would pass for a good answer.

    Raises:
        RecipeError: a condition names a target and precision that the report does not mention.
    """
    lines = []
    for one in conditions:
        target, precision = (one.target, one.precision) if one.target else own(report)
        _check_known(report, one, target, precision)
        at = f"{target} {precision}".strip() or "nothing was timed"
        value = _value(report, target, precision, one.name)
        number = value.value if isinstance(value, Interval) else value
        if number is None:
            lines.append(f"--fail-if {one.text}: cannot be checked, not measured ({at})")
        elif _SIGNS[one.sign](number, one.limit):
            lines.append(f"--fail-if {one.text}: {at} has {_written(value)}")
    return lines


def _check_known(report: Report, one: Condition, target: str, precision: str) -> None:
    pipelines = [f"{c.target}.{c.precision}" for c in report.candidates if c.target]
    words = " ".join(missing.what for missing in report.missing).split()
    if one.target and f"{target}.{precision}" not in pipelines and target not in words:
        known = ", ".join(dict.fromkeys(pipelines)) or "nothing"
        raise ConfigError(f"--fail-if {one.text!r}: the report has {known}")


def _value(report: Report, target: str, precision: str, name: str) -> Interval | float | None:
    """What a name stands for; None: it was not measured."""
    at = (target, precision)
    if name in _OF_SCENARIOS:
        return _of_scenario(report, at, name)
    if name in (*_OF_STARTS, *_OF_FOOTPRINT):
        rows = [getattr(one, name) for one in report.footprint if (one.target, one.precision) == at]
        times = rows[0] if rows else None
        return times.p50 if times is not None and name in _OF_STARTS else times
    if name in (*_OF_ACCURACY, "alert_recall"):
        return _of_accuracy(report, at, name)
    alone = name.startswith("engine_")
    timed = candidate_of(report, f"{target} {precision}{' engine' if alone else ''}")
    return None if timed is None else _of_candidate(timed, name.removeprefix("engine_"))


def _of_candidate(timed: Candidate, name: str) -> Interval | float | None:
    found: Interval | float | None
    if name in ("ratio", "energy_mj"):
        found = getattr(timed, name)
    else:
        found = getattr(timed.latency, name.removesuffix("_ms"))
    return found


def _of_scenario(report: Report, at: tuple[str, str], name: str) -> float | None:
    scenario, percentile = _OF_SCENARIOS[name]
    for one in report.scenarios:
        if (one.name, one.target, one.precision) == (scenario, *at):
            found: float | None = (
                getattr(one.latency, percentile, None) if percentile else one.images_per_s
            )
            return found
    return None


def _of_accuracy(report: Report, at: tuple[str, str], name: str) -> Interval | None:
    for one in report.accuracy:
        if (one.target, one.precision) == at:
            if name == "alert_recall":  # of several labels the worst
                return min(one.alert_recall.values(), key=lambda found: found.value, default=None)
            found: Interval | None = getattr(one, name)
            return found
    return None


def _written(value: Interval | float | None) -> str:
    """With as many digits as a limit may need."""
    if isinstance(value, Interval):
        return f"{value.value:.4g} ({value.low:.4g} to {value.high:.4g})"
    return figure(value or 0.0)
