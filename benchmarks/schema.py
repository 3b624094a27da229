"""The structure of report.json, which docs/how/benchmarks.md explains.

Times are milliseconds, memory and sizes MB (10^6 bytes), energy millijoules; each field's name ends
in its unit. A value that could not be measured is None, and `skipped` has the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from orthoedge.benchmarks.machine import Machine
from orthoedge.runtime.atomic_files import write_together
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.settings import plain

SCHEMA = "orthoedge-benchmark-2"
PREVIOUS_SCHEMA = "orthoedge-benchmark-1"
"""Still read: `read_report` upgrades it."""

BASELINE, BENCHMARK_APP = "baseline", "benchmark_app"
"""Names of candidates that are no network of ours."""

Verdict = Literal["holds", "does not hold", "cannot tell"]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class _Entry(_Record, frozen=True):
    """An entry of one of the report's lists."""

    _KEY: ClassVar[str] = "{0.name}"

    @property
    def key(self) -> str:
        """Selects this entry in a path such as `candidates[x86 int8].latency.p90`."""
        return self._KEY.format(self)


class Interval(_Record, frozen=True):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Skipped(_Record, frozen=True):
    """A measurement that was requested and could not be made."""

    name: str
    reason: str


class Quantiles(_Record, frozen=True):
    """Distribution of the times of one candidate, over all processes; ms."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float | None
    """None: fewer than 100 samples. Likewise p99.9 under 1,000."""
    p999: float | None
    curve: tuple[float, ...]
    """Percentiles 0, 1, 2, … 100, for plots."""
    p50_interval: Interval | None = None
    """The median with its interval over processes; None: measured in a single process."""


class Candidate(_Entry, frozen=True):
    """One candidate of the interleaved timing, on the same radiographs as the others."""

    name: str
    """Unique in a report: `x86 int8` is a pipeline, `x86 int8 engine` its engine alone,
    `ensemble x86` the float32 ensemble's engine; `baseline`, `minimal pipeline`, …"""
    description: str
    """The work of one call."""
    scope: Literal["pipeline", "model", "comparison"]
    """From a radiograph to a finding, a model alone, or timed for `comparisons` only."""
    target: str
    """`x86`, `portable`, `jetson`; empty where the candidate belongs to no target."""
    engine: str
    version: str
    precision: str
    isa: str
    threads: int
    latency: Quantiles
    ratio: Interval
    """Time over that of `Report.reference` in the same round of the same process: median of the
    rounds. Not quite the quotient of the two p50."""
    energy_mj: float | None
    """Of one call; None: no sensor, or not distinguishable from noise."""


class Comparison(_Entry, frozen=True):
    """Two things compared round by round, in the same processes."""

    name: str
    """Such as `minimal_pipeline` or `external ultralytics`."""
    description: str
    numerator: str
    """A candidate's name, or what was timed in place of one."""
    denominator: str
    numerator_ms: float
    """Median."""
    denominator_ms: float
    unit: Literal["×", "ms"]
    """`×`: the figure is numerator over denominator; `ms`: numerator minus denominator."""
    figure: Interval
    """Median over rounds with its interval over processes."""


class Stage(_Entry, frozen=True):
    """One stage of the pipeline, or the pipeline from one kind of input, all in one process."""

    _KEY = "{0.name} {0.target} {0.precision}"

    name: str
    """`read png`, `preprocess`, `engine`, `minimal inference`, `decision`, `from memory`, …"""
    target: str
    precision: str
    latency: Quantiles


class Scenario(_Entry, frozen=True):
    """One of MLPerf Inference's edge scenarios, by its rules or in a shortened run."""

    _KEY = "{0.name} {0.target} {0.precision}"

    name: Literal["SingleStream", "MultiStream", "Offline"]
    target: str
    precision: str
    queries: int
    images_per_query: int
    seconds: float
    latency: Quantiles | None
    """Of a query, from when it was due; None for Offline."""
    images_per_s: float
    quoted: str
    """The scenario's own metric, such as `p90 1.42 ms`."""
    valid: bool
    """Whether the run keeps MLPerf's rules on count and duration."""
    violations: str
    """Which rules it breaks; empty where it breaks none."""


class Confidence(_Record, frozen=True):
    """A bin of the reliability diagram."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class Accuracy(_Entry, frozen=True):
    """Scores of one target and precision on labelled radiographs."""

    _KEY = "{0.target} {0.precision}"

    target: str
    precision: str
    images: int
    accuracy: Interval
    macro_f1: Interval
    alert_recall: dict[str, Interval]
    """Recall of each alert label, such as tumor-malignant."""
    ece: Interval
    pointing: Interval | None
    """Share of the lesions that contain the map's peak; None: no boxes."""
    coverage: Interval
    """Share of the images that are reported, neither referred nor rejected."""
    accuracy_reported: Interval | None
    """Accuracy on the reported images; None: none is reported."""
    agreement: Interval | None
    """Share of images with the same label as the float32 ensemble; None: no reference."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: true label, column: predicted label."""
    reliability: tuple[Confidence, ...]
    holds_99: Verdict | None
    """Whether macro-F1 is at least 99 % of the reference's on the same images (MLPerf's rule)."""
    share_of_reference: Interval | None


class Footprint(_Entry, frozen=True):
    """Sizes, start-up times and memory of one target and precision."""

    _KEY = "{0.target} {0.precision}"

    target: str
    precision: str
    model_mb: float
    bundle_mb: float
    wheel_mb: float | None
    environment_mb: float | None
    """Of a new environment with nothing but this target."""
    cold_start_ms: Quantiles | None
    """From the creation of the process to its first finding."""
    cached_start_ms: Quantiles | None
    """The same with a compile cache."""
    cold_peak_rss_mb: Interval | None
    """Peak resident memory until the first finding, median over processes."""
    cached_peak_rss_mb: Interval | None = None
    cold_start_ratio: Interval | None = None
    """Over a process that imports numpy and OpenCV, interleaved with it."""
    cached_start_ratio: Interval | None = None
    import_ms: Interval | None = None
    """Time that importing the runtime adds to importing numpy and OpenCV."""


class ScalingCurve(_Entry, frozen=True):
    """Time or memory as a function of one quantity."""

    _KEY = "{0.name} {0.unit} by {0.by}"

    name: str
    """Such as `preprocess` or `predict FOLDER`."""
    by: str
    """Such as `pixels` or `files`."""
    unit: Literal["ms", "MB"]
    points: tuple[tuple[float, float], ...]
    exponent: Interval | None
    """k of a·x^k fitted to the upper half of the points; None: it does not grow as a power."""
    explanation: str
    """The part that dominates, in a sentence."""


class Settings(_Record, frozen=True):
    """How the report was measured."""

    mode: Literal["quick", "standard", "full"]
    command: str
    processes: int
    """Fresh processes, each of which timed all candidates."""
    rounds: int
    """In all processes together. A candidate is called once or several times in each round, one
    that takes more than 40 ms in every fourth."""
    warmup: int
    """Untimed calls of each candidate before the first round of a process."""
    threads: int
    isa_limit: str
    """Instruction set that the engine was limited to; empty: all that the processor has."""
    seed: int
    data: str
    """The radiographs that were timed: how many, of what size."""
    labelled: str
    """The radiographs that accuracy was measured on; empty: none."""
    timer_ns: float
    """Cost of reading the clock twice, in nanoseconds."""


class Report(_Record, frozen=True):
    """One run of the benchmark on one bundle."""

    schema: str
    bundle: str
    bundle_version: str
    bundle_sha256: str
    labels: tuple[str, ...]
    machine: Machine
    settings: Settings
    background_load: float | None
    """Cores that other programs kept busy during the run; None: not known on this system."""
    reference: str
    """Name of the candidate that every ratio refers to."""
    candidates: tuple[Candidate, ...]
    comparisons: tuple[Comparison, ...]
    stages: tuple[Stage, ...]
    scenarios: tuple[Scenario, ...]
    accuracy: tuple[Accuracy, ...]
    footprint: tuple[Footprint, ...]
    scaling: tuple[ScalingCurve, ...]
    skipped: tuple[Skipped, ...]
    complete: bool
    """False: the run was interrupted, and holds the results up to then."""


def read_report(path: Path) -> Report:
    """Read a report.json of this schema or of the previous one.

    Raises:
        DataError: no such file, or not a report of either schema.
    """
    try:
        tree = msgspec.json.decode(path.read_bytes())
        if isinstance(tree, dict) and tree.get("schema") == PREVIOUS_SCHEMA:
            tree = _upgrade(tree)
        report = msgspec.convert(tree, type=Report)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a benchmark's report.json of {SCHEMA}: {error}") from error
    if report.schema != SCHEMA:
        raise DataError(f"{path}: expected {SCHEMA}, got {report.schema}")
    return report


_RENAMED = {"seeds": BASELINE, "floor": BENCHMARK_APP, "look and faults": "image checks"}
_RENAMED |= {"bare engine": "minimal inference"}
_RENAMED |= {"bare engine, logits alone": "minimal inference, logits only"}


def _upgrade(old: dict[str, Any]) -> dict[str, Any]:
    """A report of the previous schema in the form of this one."""
    new = {name: value for name, value in old.items() if name not in ("growth", "missing")}
    settings = dict(old["settings"])
    limit, quota = settings.pop("isa_cap"), settings.pop("cpu_quota")
    settings["isa_limit"] = (
        limit if quota is None else f"{limit} {plain(quota)} cores' time".strip()
    )
    candidates = [_moved(entry, what="description") for entry in old["candidates"]]
    for entry in candidates:
        whole = entry["name"] in (f"{entry['target']} {entry['precision']}", "seeds")
        entry["scope"] = "pipeline" if whole else "model"
    footprint = [_moved(entry, peak_rss_mb="cold_peak_rss_mb") for entry in old["footprint"]]
    for entry in footprint:  # one number was kept: an interval of no width
        peak = entry["cold_peak_rss_mb"]
        if peak is not None:
            entry["cold_peak_rss_mb"] = {"value": peak, "low": peak, "high": peak}
    curves = [_moved(entry, of="name", where="explanation") for entry in old["growth"]]
    skipped = [_moved(entry, what="name", why="reason") for entry in old["missing"]]
    for entry in skipped:
        entry["name"] = entry["name"].replace("growth: ", "scaling: ")
    for entry in (*candidates, *(stages := [dict(stage) for stage in old["stages"]]), *skipped):
        entry["name"] = _RENAMED.get(entry["name"], entry["name"])
    return new | {
        "schema": SCHEMA,
        "settings": settings,
        "background_load": new.pop("others_cores"),
        "reference": _RENAMED.get(old["reference"], old["reference"]),
        "candidates": candidates,
        "comparisons": [],
        "stages": stages,
        "scenarios": [_moved(entry, why="violations") for entry in old["scenarios"]],
        "footprint": footprint,
        "scaling": curves,
        "skipped": skipped,
    }


def _moved(record: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in record.items()}


def write_both(
    record: msgspec.Struct, markdown: str, folder: Path, name: str, html: str = ""
) -> None:
    """Write a record as NAME.json, for programs, and as NAME.md, for people; all or nothing.

    Args:
        record: the record.
        markdown: the same in words.
        folder: created if missing.
        name: of the files, without a suffix.
        html: content of NAME.html; if empty, an older page is removed, as it shows another record.
    """
    encoded = msgspec.json.format(msgspec.json.encode(record), indent=1)
    files = {f"{name}.json": encoded + b"\n", f"{name}.md": markdown.encode()}
    page = f"{name}.html"
    if html:
        files[page] = html.encode()
    write_together(folder, files.items())
    if not html:
        (folder / page).unlink(missing_ok=True)
