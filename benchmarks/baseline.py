"""The last saved run of the stages against the last that was saved as the baseline.

`make bench-baseline` and `make bench-compare` call pytest-benchmark, which keeps each run as a JSON
file under .benchmarks/, in a folder for the kind of machine; the second then calls this.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.runtime.errors import DataError

BASELINE = "_baseline.json"
"""End of a baseline's file name; a number that grows comes before."""
LIMIT = 1.10
"""Times as long: less is not told apart from where memory and threads happened to lie."""


class _Stats(msgspec.Struct, frozen=True):
    """Of one stage, in seconds."""

    min: float
    median: float
    q1: float
    q3: float


class _Stage(msgspec.Struct, frozen=True):
    name: str
    stats: _Stats


class _Processor(msgspec.Struct, frozen=True):
    """Its clock at the time is among what is left out."""

    brand_raw: str = ""
    """Empty where the system does not say."""
    count: int = 0


class _Machine(msgspec.Struct, frozen=True):
    python_version: str
    cpu: _Processor


class Run(msgspec.Struct, frozen=True):
    """A run as pytest-benchmark keeps it; of its fields those that are needed."""

    machine_info: _Machine
    benchmarks: tuple[_Stage, ...]


class Change(msgspec.Struct, frozen=True):
    """One stage in both runs."""

    name: str
    before_ms: float
    now_ms: float
    ratio: float
    """How many times as long it takes now, by medians."""
    least: float
    """The same by the shortest times, which other programs disturb least."""
    verdict: Literal["slower", "faster", ""]
    """Empty where either ratio is within `LIMIT`, or the middle halves of both runs overlap."""


def read_runs(storage: Path) -> tuple[Run, Run]:
    """The last baseline and the last run of all, of the kind of machine that ran last.

    Raises:
        DataError: there are no two such runs, one is no such file, or they ran on two processors.
    """
    files = sorted(storage.glob("*/*.json"), key=lambda file: file.stat().st_mtime)
    baselines = [file for file in files[:-1] if file.name.endswith(BASELINE)]
    baselines = [file for file in baselines if file.parent == files[-1].parent]
    if not baselines:
        raise DataError(f"{storage}: no baseline; run make bench-baseline first")
    before, now = _read(baselines[-1]), _read(files[-1])
    if before.machine_info != now.machine_info:
        raise DataError(f"{baselines[-1]}: another processor's or another Python's baseline")
    return before, now


def changes(before: Run, now: Run) -> list[Change]:
    """Of each stage that both ran, the slowest change first."""
    old = {stage.name: stage.stats for stage in before.benchmarks}
    found = [
        _change(stage.name, old[stage.name], stage.stats)
        for stage in now.benchmarks
        if stage.name in old
    ]
    return sorted(found, key=lambda change: -change.ratio)


def to_text(before: Run, now: Run) -> str:
    """A line for each stage, what only one of both ran, and how many are slower."""
    found = changes(before, now)
    width = max((len(change.name) for change in found), default=0)
    lines = [f"{'':{width}}  {'before ms':>10}  {'now ms':>10}  {'ratio':>5}  of minima"]
    for one in found:
        medians = f"{one.before_ms:10.4g}  {one.now_ms:10.4g}  {one.ratio:5.2f}"
        lines.append(f"{one.name:{width}}  {medians}  {one.least:9.2f}  {one.verdict}".rstrip())
    first, second = ({stage.name for stage in run.benchmarks} for run in (before, now))
    lines += [f"{name}: not run now" for name in sorted(first - second)]
    lines += [f"{name}: not in the baseline" for name in sorted(second - first)]
    slower = sum(change.verdict == "slower" for change in found)
    lines.append(f"{slower} of {len(found)} stages are slower than the baseline")
    return "\n".join(lines)


def _change(name: str, before: _Stats, now: _Stats) -> Change:
    ratio, least = now.median / before.median, now.min / before.min
    verdict: Literal["slower", "faster", ""] = ""
    if min(ratio, least) > LIMIT and now.q1 > before.q3:
        verdict = "slower"
    elif max(ratio, least) < 1 / LIMIT and before.q1 > now.q3:
        verdict = "faster"
    return Change(name, before.median * 1e3, now.median * 1e3, ratio, least, verdict)


def _read(path: Path) -> Run:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: no run of pytest-benchmark: {error}") from error


def _main(storage: Path) -> int:
    """0, 1 where a stage is slower than the baseline, 2 where there is nothing to compare."""
    try:
        before, now = read_runs(storage)
    except DataError as error:
        print(f"orthoedge: {error}", file=sys.stderr)
        return 2
    print(to_text(before, now))
    return int(any(change.verdict == "slower" for change in changes(before, now)))


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
