"""Search: every student at every cut, each quantized and timed as it would be shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from orthoedge.benchmarks.metrics.classification import confusion, macro_f1
from orthoedge.benchmarks.timing.latency import Timings, interleaved, ratio
from orthoedge.compression.distillation.stages import School
from orthoedge.compression.export import export
from orthoedge.compression.prune import cut
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.compression.report.schema import PruneStep
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.engine import Engine, Precision
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.flops import count_macs
from orthoedge.training.model.weights import load_weights
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run, read_record

_ROUNDS = 200  # of every timing: the median's interval is then about 1 % wide on a quiet machine
_WARMUP = 20
_RANGES = 16  # images that quantize a network of which only the speed is asked


@dataclass(frozen=True)
class Trial:
    """A student at one size."""

    student: str
    """timm name."""
    share: float
    """Of the whole network's channels that was cut."""
    step: int
    """0: whole; n: after the n-th cut of the recipe."""
    network: Ensemble
    fp32: bytes
    """ONNX."""
    int8: bytes
    """ONNX."""

    @property
    def name(self) -> str:
        """For a person, and for files."""
        return f"{self.student}-{self.share:.0%}" if self.share else self.student


@dataclass(frozen=True)
class Search:
    """What all trials share."""

    run: Run
    recipe: Recipe
    school: School
    ranges: npt.NDArray[np.uint8]
    """(n, 1, S, S) training images that set the INT8 ranges."""
    range_indices: tuple[int, ...]
    """Their places in the training part."""
    val: RadiographDataset
    target: str
    weights: Path | None
    """Of the student, or a folder with STUDENT.safetensors for those that have one."""

    def trials(self) -> tuple[list[Trial], list[PruneStep]]:
        """Teach, cut, teach again: every student of the recipe at every size that is faster.

        What a killed call has finished is read from the school's folder.

        Raises:
            DataError: `weights` do not fit, or the folder was left by other settings.
        """
        trials: list[Trial] = []
        trace: list[PruneStep] = []
        for student in self.recipe.compress.students:
            trials.append(self._whole(student))
            for step, share in enumerate(self.recipe.compress.prune, 1):
                taken, smaller = self._prune(trials[-1], step, share)
                trace.append(taken)
                if smaller is not None:
                    trials.append(smaller)
        return trials, trace

    def _whole(self, student: str) -> Trial:
        settings = self.recipe.compress
        network, start = self.start(student)
        network = self.school.teach(network, start, student, settings.crop_epochs, settings.epochs)
        return self.trial(student, 0.0, 0, network)

    def _prune(self, before: Trial, step: int, share: float) -> tuple[PruneStep, Trial | None]:
        """Cut up to `share` of the whole network's channels, and recover if that is faster."""
        settings = self.recipe.compress
        smaller = cut(before.network, 1 - (1 - share) / (1 - before.share), self._size)
        taken = self._time_cut(before, smaller, share)
        if not taken.kept:
            return taken, None
        smaller = self.school.teach(
            smaller,
            weights_sha256(before.network),
            f"{before.student}-{share:.0%}",
            settings.prune_crop_epochs,
            settings.prune_epochs,
        )
        trial = self.trial(before.student, share, step, smaller)
        said = run_batched(self._open(trial.fp32, "fp32"), self.val.images[:, None]).logits
        table = confusion(self.val.labels, said.argmax(1), len(self.recipe.labels))
        accuracy = float(np.trace(table) / table.sum())
        scored = msgspec.structs.replace(taken, accuracy=accuracy, macro_f1=macro_f1(table))
        return scored, trial

    def start(self, student: str) -> tuple[Ensemble, str]:
        """A student before its first step, and what it starts from: a SHA-256, or `random`."""
        torch.manual_seed(self.recipe.seed)
        network = Ensemble((student,), len(self.recipe.labels), head=self.recipe.head)
        weights = self.weights
        if weights is not None and weights.is_dir():
            weights = weights / f"{student}.safetensors"
            weights = weights if weights.is_file() else None
        if weights is not None:
            report = load_weights(network, weights)
            log_progress(report.line())
            return network, report.sha256
        if self.run.model.names == (student,):
            network.load_state_dict(self.run.model.state_dict())
            log_progress(f"{student} is the teacher's own network and starts from its weights")
            return network, self.run.sha256
        log_progress(f"{student} starts from random weights")
        return network, "random"

    def trial(self, student: str, share: float, step: int, network: Ensemble) -> Trial:
        """Export a network and quantize it."""
        fp32 = export(network, self.recipe.labels, self.recipe.preprocess)
        return Trial(student, share, step, network, fp32, self._quantize(fp32, self.ranges))

    def _quantize(self, fp32: bytes, images: npt.NDArray[np.uint8]) -> bytes:
        """Quantize, or read what a killed call left."""
        key = sha256(fp32 + sha256(np.ascontiguousarray(images).tobytes()).encode())
        kept = self.school.work / f"int8-{key[:32]}.onnx"
        if not kept.is_file():
            write_atomic(kept, quantize(fp32, images))
        return kept.read_bytes()

    def _time_cut(self, before: Trial, smaller: Ensemble, share: float) -> PruneStep:
        """Measure a cut on the target, once: a resumed call keeps what was decided."""
        key = sha256(f"{weights_sha256(before.network)} {share} {self.target}".encode())
        kept = self.school.work / f"cut-{key[:32]}.json"
        if kept.is_file():
            return read_record(kept, PruneStep)
        few = self.ranges[:_RANGES]
        fp32 = export(smaller, self.recipe.labels, self.recipe.preprocess)
        engines = {
            "before": self._open(before.int8, "int8"),
            "after": self._open(self._quantize(fp32, few), "int8"),
        }
        times = time_engines(engines, self.val.images[:1, None])
        gain = ratio(times["after"], times["before"])
        taken = PruneStep(
            student=before.student,
            share=share,
            macs_before=count_macs(before.network, self._size)[0],
            macs=count_macs(smaller, self._size)[0],
            p50_before=times["before"].p50,
            p50_after=times["after"].p50,
            ratio=gain.p50,
            ratio_low=gain.low,
            ratio_high=gain.high,
            kept=gain.p50 < 1,
            accuracy=None,
            macro_f1=None,
        )
        verdict = "kept" if taken.kept else "not faster, not kept"
        log_progress(
            f"{before.student}: cutting {share:.0%} of the channels, "
            f"{taken.macs_before / 1e6:.1f} -> {taken.macs / 1e6:.1f} M MACs, "
            f"{taken.p50_before:.3f} -> {taken.p50_after:.3f} ms on {self.target}: {verdict}"
        )
        write_atomic(kept, msgspec.json.encode(taken))
        return taken

    @property
    def _size(self) -> int:
        return self.recipe.preprocess.size

    def _open(self, model: bytes, precision: Precision) -> Engine:
        return open_model(model, self._size, self.target, precision)


def time_engines(engines: Mapping[str, Engine], image: npt.NDArray[np.uint8]) -> dict[str, Timings]:
    """Time engines in turn on one image, uint8 (1, 1, S, S)."""
    calls = {name: partial(engine.run, image) for name, engine in engines.items()}
    return interleaved(calls, rounds=_ROUNDS, warmup=_WARMUP)


def weights_sha256(network: Ensemble) -> str:
    """SHA-256 of a network's weights and running statistics."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    return sha256(safetensors.torch.save(state))
