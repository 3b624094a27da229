"""MLPerf Inference's edge scenarios on a pipeline.

Source: MLPerf Inference Rules (github.com/mlcommons/inference_policies, July 2026), section
"Scenarios": query generation, duration, samples a query, tail latency. SingleStream and
MultiStream send the next query as soon as the last one is done, Offline sends all images at once.
The figures are not MLPerf results: load generator, task and data are our own.

A query is due the moment the one before it has ended, and its latency counts from there. So every
nanosecond of a run belongs to exactly one query, including stalls between two queries.

MLCommons LoadGen 6.0.17 would not do: with queries of 10 ms and a stall of 3 ms after each, it
reported a mean latency of 10.7 ms, so it leaves stalls out. It reads no clock but its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.run_settings import Mode
from orthoedge.benchmarks.schema import Scenario
from orthoedge.benchmarks.timing.latency import quantiles
from orthoedge.benchmarks.timing.mlperf_early_stopping import estimate, least_queries
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.settings import plain

Name = Literal["SingleStream", "MultiStream", "Offline"]
NAMES: tuple[Name, ...] = get_args(Name)

_Input = TypeVar("_Input")

_SECONDS: dict[Mode, float] = {"quick": 1.0, "standard": 8.0, "full": 600.0}
_SHARES = {"SingleStream": 0.90, "MultiStream": 0.99}
_AT_ONCE = 8
_OFFLINE_IMAGES = 24_576
_AHEAD = 1.1  # as LoadGen does, so that Offline does not end too early
_WARMUP = 10  # queries
_PILOT = 64  # images that estimate how many Offline needs
_TRACE = 1 << 16  # images drawn in advance; then the same order again


@dataclass(frozen=True)
class ScenarioRun:
    """The measurements of one scenario."""

    name: Name
    images_per_query: int
    seconds: float
    """From when the first query was due to the end of the last."""
    latencies_ms: npt.NDArray[np.float64]
    """(queries,) from when a query was due to its end; that of Offline's one query too."""


def run_scenario(
    name: Name,
    predict: Callable[[Sequence[_Input]], object],
    inputs: Sequence[_Input],
    mode: Mode,
    *,
    seed: int = 0,
    _clock: Callable[[], int] = perf_counter_ns,
) -> ScenarioRun:
    """Warm up, then send queries until the duration of the mode is over.

    Args:
        name: one of `NAMES`.
        predict: processes a query, a sequence of inputs, and returns once all are done; see
            `predictors`.
        inputs: distinct radiographs, drawn with replacement as LoadGen does.
        mode: `full` keeps the rules on duration, 600 s, and on count; `standard` takes 8 s and
            `quick` 1 s, without a minimum count.
        seed: of the draw.

    Raises:
        ValueError: no inputs.
    """
    if not inputs:
        raise ValueError("a scenario needs at least one input")
    if name == "Offline":
        return _all_at_once(predict, inputs, mode, seed, _clock)
    share, size = _SHARES[name], _AT_ONCE if name == "MultiStream" else 1
    queries = _queries(inputs, size, seed)
    for _ in range(_WARMUP):
        predict(next(queries))
    least = least_queries(share) if mode == "full" else 1
    ends = [_clock()]
    while len(ends) <= least or ends[-1] - ends[0] < _SECONDS[mode] * 1e9:
        predict(next(queries))
        ends.append(_clock())
    latencies = np.diff(np.array(ends, np.float64) - ends[0]) / 1e6
    return ScenarioRun(name, size, (ends[-1] - ends[0]) / 1e9, latencies)


def scenario_record(run: ScenarioRun, target: str, precision: str) -> Scenario:
    """The record of a run: the scenario's own metric, and the rules that the run breaks."""
    queries = len(run.latencies_ms)
    rate = queries * run.images_per_query / run.seconds
    violations = _violations(run)
    return Scenario(
        name=run.name,
        target=target,
        precision=precision,
        queries=queries,
        images_per_query=run.images_per_query,
        seconds=run.seconds,
        latency=None if run.name == "Offline" else quantiles(run.latencies_ms),
        images_per_s=rate,
        quoted=f"{plain(rate, 4)} images/s" if run.name == "Offline" else _tail(run),
        valid=not violations,
        violations="; ".join(violations),
    )


def predictors(
    pipeline: Pipeline, workers: int
) -> dict[Name, Callable[[Sequence[Pixels]], object]]:
    """Functions that process the queries of each scenario with a pipeline.

    One call after another in SingleStream, `Pipeline.map_results` with `workers` in the others.

    Raises:
        OrthoEdgeError: when called, a radiograph has no finding.
    """

    def together(query: Sequence[Pixels]) -> None:
        for finding in pipeline.map_results(query, workers):
            if isinstance(finding, OrthoEdgeError):
                raise finding

    return {
        "SingleStream": lambda query: pipeline(query[0]),
        "MultiStream": together,
        "Offline": together,
    }


def _queries(inputs: Sequence[_Input], size: int, seed: int) -> Iterator[list[_Input]]:
    """Endless queries of `size` inputs each; drawn in advance, so that no draw is timed."""
    drawn = np.random.default_rng(seed).integers(0, len(inputs), (_TRACE // size, size)).tolist()
    return ([inputs[i] for i in row] for row in itertools.cycle(drawn))


def _all_at_once(
    predict: Callable[[Sequence[_Input]], object],
    inputs: Sequence[_Input],
    mode: Mode,
    seed: int,
    clock: Callable[[], int],
) -> ScenarioRun:
    pilot = next(_queries(inputs, _PILOT, seed))
    for _ in range(2):  # the first warms up
        begun = clock()
        predict(pilot)
        image_s = (clock() - begun) / 1e9 / _PILOT
    count = math.ceil(_AHEAD * _SECONDS[mode] / max(image_s, 1e-9))
    if mode == "full":
        count = max(count, _OFFLINE_IMAGES)
    drawn = np.random.default_rng(seed).integers(0, len(inputs), count).tolist()
    query = [inputs[i] for i in drawn]
    begun = clock()
    predict(query)
    taken = clock() - begun
    return ScenarioRun("Offline", count, taken / 1e9, np.array([taken / 1e6]))


def _tail(run: ScenarioRun) -> str:
    share = _SHARES[run.name]
    value, remark = estimate(run.latencies_ms, share), ""
    if value is None:
        value = float(np.percentile(run.latencies_ms, share * 100))
        remark = ", too few queries for MLPerf's estimate"
    return f"p{share * 100:.0f} {plain(value, 3)} ms{remark}"


def _violations(run: ScenarioRun) -> list[str]:
    violations = []
    if run.seconds < _SECONDS["full"]:
        violations.append(f"{plain(run.seconds, 3)} s of {_SECONDS['full']:.0f}")
    count, least, noun = run.images_per_query, _OFFLINE_IMAGES, "images"
    if run.name != "Offline":
        count, least, noun = len(run.latencies_ms), least_queries(_SHARES[run.name]), "queries"
    if count < least:
        violations.append(f"{count} {noun} of {least}")
    return violations
