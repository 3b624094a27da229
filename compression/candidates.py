"""Candidates: students at one size, exported, quantized, and measured as they would be shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.torch

from orthoedge.benchmarks.metrics.bootstrap import mean_intervals
from orthoedge.benchmarks.metrics.classification import confusion, macro_f1
from orthoedge.benchmarks.timing.latency import Timings, interleaved, median_interval
from orthoedge.compression.context import CompressionContext
from orthoedge.compression.export import export
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.compression.report.schema import CandidateRecord
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.engine import Engine
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.data.index import list_sha256
from orthoedge.training.evaluation.by_source import source_auc_interval
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.flops import count_macs
from orthoedge.training.progress import Progress, log_progress
from orthoedge.training.run_folder import read_record

_ROUNDS = 200  # of every timing: the median's interval is then about 1 % wide on an idle machine
_WARMUP = 20


@dataclass(frozen=True)
class Candidate:
    """A student at one size."""

    student: str
    """timm name."""
    share: float
    """Share of the whole network's channels that was cut."""
    step: int
    """0: whole; n: after the n-th cut of the recipe."""
    network: Ensemble
    fp32: bytes
    """ONNX."""
    int8: bytes
    """ONNX."""

    @property
    def name(self) -> str:
        """For messages and file names."""
        return f"{self.student}-{self.share:.0%}" if self.share else self.student


def make_candidate(
    context: CompressionContext,
    student: str,
    share: float,
    step: int,
    network: Ensemble,
    images: int | None = None,
) -> Candidate:
    """Export a network and quantize it, or read the INT8 file of a killed call.

    `images` is the number of those that set the INT8 ranges; None: all of the context.
    """
    fp32 = export(network, context.recipe.labels, context.recipe.preprocess)
    ranges = context.quantization_images[:images]
    key = sha256(fp32 + sha256(ranges.tobytes()).encode())
    cached = context.work / f"int8-{key[:32]}.onnx"
    if not cached.is_file():
        with Progress(f"{student}: quantizing on {len(ranges)} images"):
            write_atomic(cached, quantize(fp32, ranges))
    return Candidate(student, share, step, network, fp32, cached.read_bytes())


def measure_candidates(
    context: CompressionContext, candidates: Sequence[Candidate]
) -> tuple[CandidateRecord, ...]:
    """Time all INT8 files interleaved in one run, and score them on the validation split.

    The work folder keeps the result, so a resumed search has the same Pareto front.
    """
    val = context.splits.val
    models = [sha256(candidate.int8) for candidate in candidates]
    key = sha256(f"{context.target} {list_sha256(val.records)} {models}".encode())
    cached = context.work / f"candidates-{key[:32]}.json"
    if cached.is_file():
        return read_record(cached, dict[str, tuple[CandidateRecord, ...]])["candidates"]
    engines = {
        candidate.name: open_model(candidate.int8, context.size, context.target, "int8")
        for candidate in candidates
    }
    times = time_engines(engines, val.images[:1, None])
    records = tuple(_record(context, c, engines[c.name], times[c.name]) for c in candidates)
    write_atomic(cached, msgspec.json.encode({"candidates": records}))
    return records


def time_engines(engines: Mapping[str, Engine], image: npt.NDArray[np.uint8]) -> dict[str, Timings]:
    """Time engines interleaved on one image, uint8 (1, 1, S, S)."""
    calls = {name: partial(engine.run, image) for name, engine in engines.items()}
    return interleaved(calls, rounds=_ROUNDS, warmup=_WARMUP)


def weights_sha256(network: Ensemble) -> str:
    """SHA-256 of a network's weights and running statistics."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    return sha256(safetensors.torch.save(state))


def _record(
    context: CompressionContext, candidate: Candidate, engine: Engine, times: Timings
) -> CandidateRecord:
    recipe, val = context.recipe, context.splits.val
    logits = run_batched(engine, val.images[:, None]).logits
    predicted = logits.argmax(1)
    auc = source_auc_interval(logits, val, recipe.seed) if recipe.source_labels else None
    macs, parameters = count_macs(candidate.network, context.size)
    hits = (predicted == val.labels).astype(np.float64)
    groups = [record.patient_id for record in val.records]
    (accuracy,) = mean_intervals(hits[None], groups, val.labels, recipe.seed)
    assert accuracy is not None  # hits are never NaN
    low, high = median_interval(times)
    log_progress(
        f"{candidate.name}: {macs / 1e6:.1f} M MACs, {len(candidate.int8) / 1e6:.2f} MB, INT8 p50 "
        f"{times.p50:.3f} ms, "
        + (f"accuracy {accuracy.value:.3f}" if auc is None else f"AUC {auc.value:.3f}")
        + f" on {len(val)} validation images"
    )
    return CandidateRecord(
        student=candidate.student,
        pruned=candidate.share,
        step=candidate.step,
        macs=macs,
        parameters=parameters,
        bytes=len(candidate.int8),
        p50_ms=times.p50,
        p50_low=low,
        p50_high=high,
        images=len(val),
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        macro_f1=macro_f1(confusion(val.labels, predicted, len(recipe.labels))),
        chosen=False,
        auc=auc,
    )
