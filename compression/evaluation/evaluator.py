"""Evaluation of every network of the chain: calibrated on one split, measured on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from orthoedge.compression.calibration.calibrate import calibrate, fit_temperature
from orthoedge.compression.calibration.ood_derived import derive_outliers
from orthoedge.compression.calibration.ood_images import draw_outliers
from orthoedge.compression.calibration.ood_score import fit_outlier_score
from orthoedge.compression.context import CompressionContext
from orthoedge.compression.evaluation.engine_agreement import EngineConsistency, compare_engines
from orthoedge.compression.evaluation.flips import Flips, count_flips
from orthoedge.compression.evaluation.mask_overlap import dice_losses
from orthoedge.compression.evaluation.metrics import measure
from orthoedge.compression.evaluation.ranking_losses import alert_losses, auc_losses
from orthoedge.compression.gate import Check, gate
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.manifest import Calibration, Confidence, CpuTarget, Metrics
from orthoedge.runtime.engine import PRECISIONS, Engine, ModelKey, Outputs, Precision
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.isa_limit import ISA_LIMITS
from orthoedge.targets.portable.engine import OnnxRuntimeEngine
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.progress import Progress

_CONSISTENCY_IMAGES = 1000  # on which the engines are compared
_DRAWN, _DERIVED = 1.6, 1.0  # outliers per training image

MeasuredSplit = Literal["val", "test"]


@dataclass(frozen=True)
class Evaluation:
    """A network on the target's engine with its metrics, and its flips against the teacher."""

    engine: Engine
    metrics: Metrics
    flips: tuple[Flips, ...]


@dataclass(frozen=True)
class TestResults:
    """Results of the final student on the test split, per model, and the gate's checks."""

    evaluations: dict[ModelKey, Evaluation]
    """Of `int8_cpu` only where a target takes it."""
    calibrations: dict[ModelKey, Calibration]
    """The same."""
    teacher: Metrics
    consistency: dict[ModelKey, list[EngineConsistency]]
    """Of other engines and instruction sets, on each INT8 file."""
    checks: Sequence[Check]
    """Of fp32 and int8: where one fails there is no bundle."""
    cpu_targets: tuple[CpuTarget, ...]
    """Targets for which `int8_cpu` passes the gate; where there is none it is left out."""
    cpu_checks: Sequence[Check]

    @property
    def failed(self) -> list[Check]:
        """Checks whose limit was exceeded."""
        return [check for check in self.checks if not check.passed]


class Evaluator:
    """Compare networks with the float32 teacher on the same images.

    Results are cached by the model's SHA-256: the teacher alone takes minutes on a large split.
    """

    def __init__(self, context: CompressionContext) -> None:
        self._context, splits = context, context.splits
        self._engines: dict[str, Engine] = {}
        self._outputs: dict[tuple[str, str], Outputs] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._evaluations: dict[tuple[str, str], Evaluation] = {}
        self._consistency: dict[tuple[str, str], list[EngineConsistency]] = {}
        self._outliers = _outliers(context)
        logits = self.outputs(context.teacher, "fp32", "calibration").logits
        self.temperature = fit_temperature(logits, splits.calibration.labels)

    def evaluate(self, model: bytes, key: ModelKey, split: MeasuredSplit) -> Evaluation:
        """Calibrate a network on the calibration split and measure it on `split`."""
        place = sha256(model), split
        if place not in self._evaluations:
            outputs = self.outputs(model, key, split)
            teacher = self.outputs(self._context.teacher, "fp32", split)
            data: RadiographDataset = getattr(self._context.splits, split)
            labels = self._context.recipe.labels
            confidence = self._confidence(model, key)
            metrics = measure(outputs, teacher, data, labels, confidence, self.temperature)
            flips = count_flips(outputs, teacher, data, labels)
            self._evaluations[place] = Evaluation(self._open(model, key), metrics, flips)
        return self._evaluations[place]

    def evaluate_teacher(self, split: MeasuredSplit) -> Metrics:
        """Metrics of the teacher itself."""
        return self.evaluate(self._context.teacher, "fp32", split).metrics

    def engine_consistency(
        self, model: bytes, key: ModelKey, split: MeasuredSplit
    ) -> list[EngineConsistency]:
        """Compare other engines with the reference on up to 1000 images of `split`.

        Instruction sets are compared for INT8 on the test split alone, because each takes a process
        of its own. Float kernels differ by rounding; integer kernels can saturate.
        """
        place = sha256(model), split
        if place not in self._consistency:
            recipe, calibration = self._context.recipe, self.calibration(model, key)
            with Progress(f"comparing engines in {key}"):
                self._consistency[place] = compare_engines(
                    model,
                    self._context.size,
                    _precision(key),
                    getattr(self._context.splits, split).images[:_CONSISTENCY_IMAGES, None],
                    recipe.labels,
                    recipe.compress.alert_labels,
                    calibration,
                    ISA_LIMITS if key != "fp32" and split == "test" else (),
                )
        return self._consistency[place]

    def gate(
        self, model: bytes, key: ModelKey, split: MeasuredSplit, but_engine: str = ""
    ) -> list[Check]:
        """Check a network against the recipe's limits on `split`.

        `but_engine` is the name of an engine that will not run the model.
        """
        compared = self.engine_consistency(model, key, split)
        engines = [engine for engine in compared if engine.engine != but_engine]
        student, reference = self.evaluate(model, key, split), self._context.teacher
        data: RadiographDataset = getattr(self._context.splits, split)
        outputs = self.outputs(model, key, split)
        before = self.outputs(reference, "fp32", split)
        settings = self._context.recipe.compress
        return gate(
            getattr(settings.gate, _precision(key)),
            self.evaluate_teacher(split),
            student.metrics,
            student.flips,
            auc_losses(outputs, before, data),
            alert_losses(
                outputs,
                self._confidence(model, key),
                before,
                self._confidence(reference, "fp32"),
                data,
                settings.alert_labels,
            ),
            dice_losses(outputs, before, data),
            key,
            max((engine.logit_rmse for engine in engines), default=0.0),
            sum(engine.decision_flips for engine in engines),
        )

    def test(self, fp32: bytes, int8: bytes, int8_cpu: bytes) -> TestResults:
        """Evaluate, calibrate and gate the final student on the test split."""
        models: dict[ModelKey, bytes] = {"fp32": fp32, "int8": int8}
        targets, cpu_checks = self.test_for_cpus(int8_cpu)
        if targets:
            models["int8_cpu"] = int8_cpu
        return TestResults(
            evaluations={key: self.evaluate(model, key, "test") for key, model in models.items()},
            calibrations={key: self.calibration(model, key) for key, model in models.items()},
            teacher=self.evaluate_teacher("test"),
            consistency={
                key: self.engine_consistency(model, key, "test")
                for key, model in models.items()
                if key != "fp32"
            },
            checks=[check for p in PRECISIONS for check in self.gate(models[p], p, "test")],
            cpu_targets=targets,
            cpu_checks=cpu_checks,
        )

    def test_for_cpus(self, int8_cpu: bytes) -> tuple[tuple[CpuTarget, ...], list[Check]]:
        """The CPU targets for which an INT8 file passes the gate on the test split, and its checks.

        ONNX Runtime's target is left out where the limits are kept without that engine alone.
        """
        checks = self.gate(int8_cpu, "int8_cpu", "test")
        if all(check.passed for check in checks):
            return ("x86", "portable"), checks
        without = self.gate(int8_cpu, "int8_cpu", "test", but_engine=OnnxRuntimeEngine.name)
        if all(check.passed for check in without):
            return ("x86",), without
        return (), checks

    def calibration(self, model: bytes, key: ModelKey) -> Calibration:
        """Everything that turns a network's logits into a decision.

        Thousands of images go through the network for the out-of-distribution score.
        """
        place = sha256(model)
        if place not in self._calibrations:
            splits = self._context.splits
            features = self.outputs(model, key, "calibration").feature_vector
            with Progress(f"fitting the out-of-distribution score in {key}"):
                score = fit_outlier_score(
                    self._open(model, key),
                    splits.train.images[self._context.ood_indices],
                    self._outliers,
                    splits.calibration.images,
                    features,
                )
            confidence = msgspec.structs.asdict(self._confidence(model, key))
            self._calibrations[place] = Calibration(**confidence, out_of_distribution=score)
        return self._calibrations[place]

    def outputs(
        self, model: bytes, key: ModelKey, split: MeasuredSplit | Literal["calibration"]
    ) -> Outputs:
        """Outputs of a network on all images of `split`."""
        place = sha256(model), split
        if place not in self._outputs:
            images = getattr(self._context.splits, split).images[:, None]
            with Progress(f"running {key} on {len(images)} images ({split})"):
                self._outputs[place] = run_batched(self._open(model, key), images)
        return self._outputs[place]

    def _confidence(self, model: bytes, key: ModelKey) -> Confidence:
        recipe = self._context.recipe
        return calibrate(
            self.outputs(model, key, "calibration"),
            self._context.splits.calibration.labels,
            recipe.labels,
            recipe.compress.coverage,
            recipe.compress.sensitivity,
        )

    def _open(self, model: bytes, key: ModelKey) -> Engine:
        place = sha256(model)
        if place not in self._engines:
            size, target = self._context.size, self._context.target
            if key == "int8_cpu" and target == "jetson":  # which never runs it
                target = "x86"
            self._engines[place] = open_model(model, size, target, _precision(key))
        return self._engines[place]


def _precision(key: ModelKey) -> Precision:
    return "int8" if key == "int8_cpu" else key


def _outliers(context: CompressionContext) -> Pixels:
    """Draw and derive the pictures that are not radiographs, uint8 (O, S, S)."""
    recipe, indices = context.recipe, context.ood_indices
    size = recipe.augment.read_size or recipe.preprocess.size
    stored = context.splits.train.stored(size)
    drawn, derived = (round(share * len(indices)) for share in (_DRAWN, _DERIVED))
    with Progress(f"drawing {drawn + derived} pictures that are not radiographs"):
        return np.concatenate(
            [
                draw_outliers(recipe.preprocess, drawn, recipe.seed),
                derive_outliers(
                    [stored.content(i) for i in indices], recipe.preprocess, derived, recipe.seed
                ),
            ]
        )
