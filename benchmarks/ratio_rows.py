"""What a run of the ratios leaves: a row for each promise about speed, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.benchmarks import machine
from orthoedge.benchmarks.schema import Interval, Missing, write_both
from orthoedge.benchmarks.timing import latency
from orthoedge.benchmarks.timing.latency import Timings
from orthoedge.runtime.bundles.bundle import Bundle


@dataclass(frozen=True)
class Setting:
    """What a run of the ratios was asked for."""

    bundle: Bundle
    rounds: int
    """Timed calls of what takes milliseconds; `fewer` says how many of what takes longer."""
    threads: int
    """Of every engine."""
    peers: Mapping[str, str]
    """Commands of peers' programs, by name."""

    def fewer(self, times: int) -> int:
        """A share of the rounds, at least one."""
        return max(1, self.rounds // times)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One figure and the limit it is held against."""

    name: str
    """Of the target, such as `bare`."""
    ours: str
    """What was timed of ours."""
    ours_value: float
    """Its median, in `unit`."""
    other: str
    """What it was compared with; empty where the limit is on ours alone."""
    other_value: float | None
    """Its median, in `unit`."""
    unit: str
    """Of both medians."""
    figure: Interval
    """What the limit is on: median, and its 95 % bootstrap interval."""
    figure_unit: str
    """`×` for a ratio, else that of a time or of memory."""
    limit: float | None
    """None where there is no limit."""
    at_least: bool
    """Whether the figure must not be below the limit; else it must not be above."""
    rounds: int
    others_cores: float | None
    """Cores that other processes kept busy meanwhile; None: the system does not say."""
    note: str
    """What is inside, and what is not."""

    @property
    def kept(self) -> bool | None:
        """Whether the median keeps the limit."""
        if self.limit is None:
            return None
        return (
            (self.figure.value >= self.limit)
            if self.at_least
            else (self.figure.value <= self.limit)
        )

    @property
    def verdict(self) -> str:
        """`kept` or `MISSED`, and whether the interval leaves a doubt."""
        if self.limit is None:
            return "–"
        word = "kept" if self.kept else "MISSED"
        unclear = self.figure.low < self.limit < self.figure.high
        return f"{word}, limit inside the interval" if unclear else word


class Ratios(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A run."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    threads: int
    machine: machine.Machine
    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]


def ratio_row(
    name: str,
    ours: tuple[str, Timings],
    other: tuple[str, Timings],
    *,
    limit: float | None,
    at_least: bool,
    others_cores: float | None,
    note: str,
) -> Row:
    """A row of two candidates of one run.

    Args:
        name: of the target.
        ours: what it is, and its times.
        other: what it is, and its times.
        limit: see `Row`.
        at_least: the figure is how many times as long the other takes; else how many ours does.
        others_cores: see `Row`.
        note: see `Row`.
    """
    pair = (other[1], ours[1]) if at_least else (ours[1], other[1])
    return Row(
        name=name,
        ours=ours[0],
        ours_value=ours[1].p50,
        other=other[0],
        other_value=other[1].p50,
        unit="ms",
        figure=quotient(*pair),
        figure_unit="×",
        limit=limit,
        at_least=at_least,
        rounds=len(ours[1].samples_ms),
        others_cores=others_cores,
        note=note,
    )


def quotient(first: Timings, second: Timings) -> Interval:
    """Median of `first` over median of `second`."""
    found = latency.ratio(first, second)
    return _interval(found.p50, found.low, found.high)


def difference(first: Timings, second: Timings) -> Interval:
    """Median of the differences round by round, in the samples' unit."""
    return alone(Timings(first.samples_ms - second.samples_ms))


def alone(times: Timings) -> Interval:
    """Median, in the samples' unit."""
    return _interval(times.p50, *latency.median_interval(times))


def write_ratios(found: Ratios, folder: Path) -> None:
    """Write ratios.json and ratios.md."""
    write_both(found, to_markdown(found), folder, "ratios")


def to_markdown(found: Ratios) -> str:
    """The run as a table, with what each row holds below it."""
    computer = found.machine
    lines = [
        f"# Ratios of {found.bundle} {found.bundle_version}",
        "",
        f"{found.threads} threads; {computer.cpu}, {computer.cores} cores, {computer.kernel}. "
        "Medians; figures with 95 % intervals, the candidates of a row taking turns.",
        "",
        "| target | ours | the other | figure (95 %) | limit | verdict | others' cores |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [table_line(row) for row in found.rows]
    crowded = [r.name for r in found.rows if (r.others_cores or 0) > machine.CROWDED]
    if crowded:
        names = ", ".join(dict.fromkeys(crowded))
        lines += ["", f"**Others were at work: not to be quoted are {names}.**"]
    notes = (f"- {row.name}, {row.rounds} rounds: {row.note}" for row in found.rows)
    lines += ["", *dict.fromkeys(notes)]  # rows of one run may share theirs
    lines += [f"- {missing.what}: not measured. {missing.why}" for missing in found.missing]
    return "\n".join(lines) + "\n"


def table_line(row: Row) -> str:
    """A row of the table."""
    figure, unit = row.figure, row.figure_unit
    other = "–" if row.other_value is None else f"{row.other}: {row.other_value:.3g} {row.unit}"
    sign = "≥" if row.at_least else "≤"
    limit = "–" if row.limit is None else f"{sign} {row.limit:g} {unit}"
    others = "unknown" if row.others_cores is None else f"{row.others_cores:.2f}"
    return (
        f"| {row.name} | {row.ours}: {row.ours_value:.3g} {row.unit} | {other} "
        f"| {figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g}) {unit} | {limit} "
        f"| {row.verdict} | {others} |"
    )


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=_rounded(value), low=_rounded(low), high=_rounded(high))


def _rounded(value: float) -> float:
    """Five digits: more would be noise, and fewer would decide about a limit."""
    return float(np.format_float_positional(value, 5, unique=False, fractional=False))
