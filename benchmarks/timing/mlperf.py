"""MLPerf Inference's edge scenarios on a pipeline.

Source: MLPerf Inference Rules (github.com/mlcommons/inference_policies, July 2026), section
"Scenarios": query generation, duration, samples a query, tail latency. SingleStream and
MultiStream send the next query as soon as the last one is done, Offline sends all images at once.
The figures are no MLPerf results: the load generator is ours, and so are task and data.

A query is due the moment the one before it has ended, and its latency counts from there. So every
nanosecond of a run belongs to exactly one query, and whatever holds the machine up between two of
them is not left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.run_settings import Mode
from orthoedge.benchmarks.schema import Scenario
from orthoedge.benchmarks.timing.latency import quantiles
from orthoedge.benchmarks.timing.mlperf_early_stopping import estimate, least_queries
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels

Name = Literal["SingleStream", "MultiStream", "Offline"]
NAMES: tuple[Name, ...] = ("SingleStream", "MultiStream", "Offline")

_Input = TypeVar("_Input")

_SECONDS: dict[Mode, float] = {"quick": 1.0, "standard": 8.0, "full": 600.0}
_SHARES = {"SingleStream": 0.90, "MultiStream": 0.99}
_AT_ONCE = 8
_OFFLINE_IMAGES = 24_576
_AHEAD = 1.1  # LoadGen sends so much more than what should last, or Offline would end too soon
_WARMUP = 10  # queries
_PILOT = 64  # images that tell how many Offline needs
_TRACE = 1 << 16  # images drawn beforehand; then the same order again


@dataclass(frozen=True)
class Ran:
    """A scenario as it ran; plain numbers and one array, so that a process can hand it on."""

    name: Name
    images_per_query: int
    seconds: float
    """From when the first query was due to the end of the last."""
    latencies_ms: npt.NDArray[np.float64]
    """(queries,) from when a query was due to its end; that of Offline's one query too."""


def run_scenario(
    name: Name,
    ask: Callable[[Sequence[_Input]], object],
    inputs: Sequence[_Input],
    mode: Mode,
    *,
    seed: int = 0,
    clock: Callable[[], int] = perf_counter_ns,
) -> Ran:
    """Warm up, then send queries until the duration of the mode is over.

    Args:
        name: one of `NAMES`.
        ask: answers a query, a sequence of inputs, and returns once all are answered; see
            `askers`.
        inputs: distinct radiographs, drawn from with replacement as LoadGen does.
        mode: `full` keeps the rules on duration, 600 s, and on count; `standard` takes 8 s and
            `quick` 1 s, whatever the count.
        seed: of the draw.
        clock: returns nanoseconds.

    Raises:
        ValueError: no inputs.
    """
    if not inputs:
        raise ValueError("a scenario needs at least one input")
    if name == "Offline":
        return _all_at_once(ask, inputs, mode, seed, clock)
    share, size = _SHARES[name], _AT_ONCE if name == "MultiStream" else 1
    queries = _queries(inputs, size, seed)
    for _ in range(_WARMUP):
        ask(next(queries))
    least = least_queries(share) if mode == "full" else 1
    ends = [clock()]
    while len(ends) <= least or ends[-1] - ends[0] < _SECONDS[mode] * 1e9:
        ask(next(queries))
        ends.append(clock())
    latencies = np.diff(np.array(ends, np.float64) - ends[0]) / 1e6
    return Ran(name, size, (ends[-1] - ends[0]) / 1e9, latencies)


def scenario_record(ran: Ran, target: str, precision: str) -> Scenario:
    """The record of a run: the scenario's own figure, and which of the rules were not kept."""
    queries = len(ran.latencies_ms)
    rate = queries * ran.images_per_query / ran.seconds
    kept = _not_kept(ran)
    return Scenario(
        name=ran.name,
        target=target,
        precision=precision,
        queries=queries,
        images_per_query=ran.images_per_query,
        seconds=ran.seconds,
        latency=None if ran.name == "Offline" else quantiles(ran.latencies_ms),
        images_per_s=rate,
        quoted=f"{rate:.4g} images/s" if ran.name == "Offline" else _tail(ran),
        valid=not kept,
        why="; ".join(kept),
    )


def askers(pipeline: Pipeline, workers: int) -> dict[Name, Callable[[Sequence[Pixels]], object]]:
    """What answers the queries of each scenario with a pipeline.

    Args:
        pipeline: one call after another in SingleStream, `Pipeline.map` in the others.
        workers: threads of `Pipeline.map`.

    Raises:
        OrthoEdgeError: when called, where a radiograph has no finding.
    """

    def together(query: Sequence[Pixels]) -> None:
        for found in pipeline.map_results(query, workers):
            if isinstance(found, OrthoEdgeError):
                raise found

    return {
        "SingleStream": lambda query: pipeline(query[0]),
        "MultiStream": together,
        "Offline": together,
    }


def _queries(inputs: Sequence[_Input], size: int, seed: int) -> Iterator[list[_Input]]:
    """Endless queries of so many inputs each; drawn now, so that no draw is timed."""
    drawn = np.random.default_rng(seed).integers(0, len(inputs), (_TRACE // size, size)).tolist()
    return ([inputs[i] for i in row] for row in itertools.cycle(drawn))


def _all_at_once(
    ask: Callable[[Sequence[_Input]], object],
    inputs: Sequence[_Input],
    mode: Mode,
    seed: int,
    clock: Callable[[], int],
) -> Ran:
    pilot = next(_queries(inputs, _PILOT, seed))
    for _ in range(2):  # the first warms up
        begun = clock()
        ask(pilot)
        image_s = (clock() - begun) / 1e9 / _PILOT
    count = math.ceil(_AHEAD * _SECONDS[mode] / max(image_s, 1e-9))
    if mode == "full":
        count = max(count, _OFFLINE_IMAGES)
    drawn = np.random.default_rng(seed).integers(0, len(inputs), count).tolist()
    query = [inputs[i] for i in drawn]
    begun = clock()
    ask(query)
    taken = clock() - begun
    return Ran("Offline", count, taken / 1e9, np.array([taken / 1e6]))


def _tail(ran: Ran) -> str:
    share = _SHARES[ran.name]
    value = estimate(ran.latencies_ms, share)
    if value is not None:
        return f"p{share * 100:.0f} {value:.3g} ms"
    plain = float(np.percentile(ran.latencies_ms, share * 100))
    return f"p{share * 100:.0f} {plain:.3g} ms, too few queries for MLPerf's estimate"


def _not_kept(ran: Ran) -> list[str]:
    found = []
    if ran.seconds < _SECONDS["full"]:
        found.append(f"{ran.seconds:.3g} s of {_SECONDS['full']:.0f}")
    queries = len(ran.latencies_ms)
    if ran.name == "Offline":
        if ran.images_per_query < _OFFLINE_IMAGES:
            found.append(f"{ran.images_per_query} images of {_OFFLINE_IMAGES}")
    elif queries < (least := least_queries(_SHARES[ran.name])):
        found.append(f"{queries} queries of {least}")
    return found
