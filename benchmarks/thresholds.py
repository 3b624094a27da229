"""Conditions that make a device maker's CI fail: `candidates[x86 int8].latency.p90>2`, `p90_ms>2`.

The left side is a path into report.json. A list's entry is selected by its key in brackets: a
candidate or a comparison by its name, accuracy and footprint by `TARGET PRECISION`, stages and
scenarios by `NAME TARGET PRECISION`, curves by `NAME UNIT by QUANTITY`. The short names are aliases
of paths to the entries of the reference's target and precision, or of `TARGET.PRECISION.` before
the name.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import msgspec

from orthoedge.benchmarks.report.formatting import figure, own
from orthoedge.benchmarks.schema import Interval, Quantiles, Report
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.settings import plain

Value = Interval | float

_LATENCY = ("mean", "p50", "p90", "p99", "p999")
_SIZES = ("model_mb", "bundle_mb", "wheel_mb", "environment_mb")
_ACCURACY = (
    *("accuracy", "macro_f1", "ece", "pointing", "coverage", "accuracy_reported"),
    *("agreement", "share_of_reference", "alert_recall"),
)
ALIASES: dict[str, str] = {
    **{f"{name}_ms": f"candidates[{{}}].latency.{name}" for name in _LATENCY},
    **{f"engine_{name}_ms": f"candidates[{{}} engine].latency.{name}" for name in _LATENCY},
    "ratio": "candidates[{}].ratio",
    "engine_ratio": "candidates[{} engine].ratio",
    "energy_mj": "candidates[{}].energy_mj",
    "single_stream_p90_ms": "scenarios[SingleStream {}].latency.p90",
    "multi_stream_p99_ms": "scenarios[MultiStream {}].latency.p99",
    "offline_images_per_s": "scenarios[Offline {}].images_per_s",
    "cold_start_ms": "footprint[{}].cold_start_ms.p50",
    "cached_start_ms": "footprint[{}].cached_start_ms.p50",
    "peak_rss_mb": "footprint[{}].cold_peak_rss_mb",
    **{name: f"footprint[{{}}].{name}" for name in _SIZES},
    **{name: f"accuracy[{{}}].{name}" for name in _ACCURACY},
}
"""Path of each short name; `{}` stands for target and precision."""
_SIGNS = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FORM = re.compile(rf"\s*(?P<path>[^<>=]+?)\s*(?P<sign>[<>]=?)\s*(?P<limit>{_NUMBER})\s*")
_ALIAS = re.compile(r"(?:(?P<target>\w+)\.(?P<precision>\w+)\.)?(?P<name>[A-Za-z]\w*)")
_STEP = re.compile(r"(?P<name>[a-z_]\w*)(?:\[(?P<key>[^\]]+)\])?")
_PATH = re.compile(r"[a-z]\w*(?:\[[^]]+\])?(?:\.[a-z]\w*(?:\[[^]]+\])?)*")


@dataclass(frozen=True)
class Condition:
    """A parsed condition."""

    text: str
    """As it was typed."""
    target: str
    """Of an alias; empty: that of the report's reference."""
    precision: str
    path: str
    """May hold `{}` for target and precision."""
    sign: str
    limit: float


def parse(text: str) -> Condition:
    """Read `PATH OP NUMBER` or `[TARGET.PRECISION.]NAME OP NUMBER`.

    Raises:
        ConfigError: not of that form, or not a path of the report.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(_expected(text))
    path, target, precision = match["path"], "", ""
    alias = _ALIAS.fullmatch(path)
    if alias is not None and alias["name"] in ALIASES:
        path = ALIASES[alias["name"]]
        target, precision = alias["target"] or "", alias["precision"] or ""
    elif path.split("[")[0].split(".")[0] in Report.__struct_fields__ and _PATH.fullmatch(path):
        _check_path(text, path)
    elif alias is not None:
        raise ConfigError(f"--fail-if {text!r}: {alias['name']} is none of {', '.join(ALIASES)}")
    else:
        raise ConfigError(_expected(text))
    return Condition(text.strip(), target, precision, path, match["sign"], float(match["limit"]))


def failures(report: Report, conditions: Sequence[Condition]) -> list[str]:
    """A line for each condition that holds or cannot be checked: exit 1 if there is any.

    A value that was not measured fails, so that a missing measurement cannot pass a limit.

    Raises:
        ConfigError: a condition names a target and precision that the report does not mention.
    """
    lines = []
    for condition in conditions:
        at = " ".join(own(report)).strip()
        if condition.target:
            at = f"{condition.target} {condition.precision}"
            timed = [f"{c.target}.{c.precision}" for c in report.candidates if c.target]
            skipped = " ".join(skip.name for skip in report.skipped).split()
            if at.replace(" ", ".") not in timed and condition.target not in skipped:
                known = ", ".join(dict.fromkeys(timed)) or "nothing"
                raise ConfigError(f"--fail-if {condition.text!r}: the report has {known}")
        value = resolve(report, condition.path.replace("{}", at))
        number = value.value if isinstance(value, Interval) else value
        where = (at or "nothing was timed") if "{}" in condition.path else condition.path
        if number is None:
            lines.append(f"--fail-if {condition.text}: cannot be checked, not measured ({where})")
        elif _SIGNS[condition.sign](number, condition.limit):
            lines.append(f"--fail-if {condition.text}: {where} has {_written(value)}")
    return lines


def resolve(report: Report, path: str) -> Value | None:
    """The value at a path of the report; None: it was not measured.

    Of several values by label, the lowest; of a distribution, its median with its interval.
    """
    node: Any = report
    for step in _STEP.finditer(path):
        if node is None:
            return None
        node = getattr(node, step["name"])
        if isinstance(node, tuple):
            node = next((entry for entry in node if entry.key == step["key"]), None)
    if isinstance(node, dict):
        node = min(node.values(), key=lambda interval: interval.value, default=None)
    if isinstance(node, Quantiles):
        node = node.p50_interval or node.p50
    return node if node is None or isinstance(node, Interval) else float(node)


def _check_path(text: str, path: str) -> None:
    """Refuse a path that no report has, before anything is measured."""
    kind: Any = Report
    for step in _STEP.finditer(path):
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            break
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        if step["name"] not in fields:
            raise ConfigError(f"--fail-if {text!r}: {step['name']} is none of {', '.join(fields)}")
        kind = fields[step["name"]]
        if get_origin(kind) is not dict:
            parts = [part for part in get_args(kind) if part not in (type(None), ...)]
            is_list, kind = get_origin(kind) is tuple, parts[0] if parts else kind
            if is_list and not (step["key"] and hasattr(kind, "key")):
                raise ConfigError(f"--fail-if {text!r}: select an entry with {step['name']}[KEY]")
    else:
        if kind in (int, float, Interval, Quantiles) or get_origin(kind) is dict:
            return
    raise ConfigError(f"--fail-if {text!r}: {path} is not a number of the report")


def _expected(text: str) -> str:
    return (
        f"--fail-if {text!r}: expected a path into report.json or [TARGET.PRECISION.]NAME, then >, "
        "<, >= or <=, then a number, such as 'candidates[x86 int8].latency.p90>2', 'p90_ms>2' or "
        "'x86.int8.macro_f1<0.93'"
    )


def _written(value: Value | None) -> str:
    """With as many digits as a limit may need."""
    if isinstance(value, Interval):
        return f"{plain(value.value, 4)} ({plain(value.low, 4)} to {plain(value.high, 4)})"
    return figure(value or 0.0)
