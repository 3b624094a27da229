"""Every trial as a point of the front: how accurate, how fast, how large."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import mean_intervals
from orthoedge.benchmarks.metrics.classification import confusion, macro_f1
from orthoedge.benchmarks.schema import Interval
from orthoedge.benchmarks.timing.latency import Timings, median_interval
from orthoedge.compression.report.schema import Candidate
from orthoedge.compression.search import Trial, time_engines
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import list_sha256
from orthoedge.training.model.flops import count_macs
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import read_record


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    candidates: tuple[Candidate, ...]


def measure_trials(
    trials: Sequence[Trial], recipe: Recipe, val: RadiographDataset, target: str, work: Path
) -> tuple[Candidate, ...]:
    """Time all trials in one run, in turn, and score them on the validation part.

    Args:
        trials: one or more.
        recipe: labels, size and seed.
        val: whole squares.
        target: whose engine runs the INT8 files.
        work: folder that keeps the answer: the same trials are not timed twice, so that a resumed
            search has the same front.
    """
    models = [sha256(trial.int8) for trial in trials]
    key = sha256(f"{target} {list_sha256(val.records)} {models}".encode())
    kept = work / f"candidates-{key[:32]}.json"
    if kept.is_file():
        return read_record(kept, _Kept).candidates
    size = recipe.preprocess.size
    engines = {trial.name: open_model(trial.int8, size, target, "int8") for trial in trials}
    times = time_engines(engines, val.images[:1, None])
    found = []
    for trial in trials:
        said = run_batched(engines[trial.name], val.images[:, None]).logits.argmax(1)
        found.append(_candidate(trial, said, times[trial.name], recipe, val))
    write_atomic(kept, msgspec.json.encode(_Kept(tuple(found))))
    return tuple(found)


def _candidate(
    trial: Trial,
    said: npt.NDArray[np.int64],
    times: Timings,
    recipe: Recipe,
    val: RadiographDataset,
) -> Candidate:
    macs, parameters = count_macs(trial.network, recipe.preprocess.size)
    accuracy = _accuracy(said, val, recipe.seed)
    low, high = median_interval(times)
    log_progress(
        f"{trial.name}: {macs / 1e6:.1f} M MACs, {len(trial.int8) / 1e6:.2f} MB, INT8 p50 "
        f"{times.p50:.3f} ms, accuracy {accuracy.value:.3f} on {len(val)} validation images"
    )
    return Candidate(
        student=trial.student,
        pruned=trial.share,
        step=trial.step,
        macs=macs,
        parameters=parameters,
        bytes=len(trial.int8),
        p50_ms=times.p50,
        p50_low=low,
        p50_high=high,
        images=len(val),
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        macro_f1=macro_f1(confusion(val.labels, said, len(recipe.labels))),
        chosen=False,
    )


def _accuracy(said: npt.NDArray[np.int64], val: RadiographDataset, seed: int) -> Interval:
    hits = (said == val.labels).astype(np.float64)
    groups = [study.patient_id for study in val.records]
    (found,) = mean_intervals(hits[None], groups, val.labels, seed)
    assert found is not None  # hits are never NaN
    return found
