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
from orthoedge.runtime.bundles.manifest import Calibration, Confidence, Metrics
from orthoedge.runtime.engine import PRECISIONS, Engine, Outputs, Precision
from orthoedge.runtime.image_io.windowing import Pixels
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.isa_limit import ISA_LIMITS
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
    """Results of the final student on the test split, per precision, and the gate's checks."""

    evaluations: dict[Precision, Evaluation]
    calibrations: dict[Precision, Calibration]
    teacher: Metrics
    consistency: Sequence[EngineConsistency]
    """Of other engines and instruction sets, on the INT8 file."""
    checks: Sequence[Check]

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

    def evaluate(self, model: bytes, precision: Precision, split: MeasuredSplit) -> Evaluation:
        """Calibrate a network on the calibration split and measure it on `split`."""
        key = sha256(model), split
        if key not in self._evaluations:
            outputs = self.outputs(model, precision, split)
            teacher = self.outputs(self._context.teacher, "fp32", split)
            data: RadiographDataset = getattr(self._context.splits, split)
            labels = self._context.recipe.labels
            confidence = self._confidence(model, precision)
            metrics = measure(outputs, teacher, data, labels, confidence, self.temperature)
            flips = count_flips(outputs, teacher, data, labels)
            self._evaluations[key] = Evaluation(self._open(model, precision), metrics, flips)
        return self._evaluations[key]

    def evaluate_teacher(self, split: MeasuredSplit) -> Metrics:
        """Metrics of the teacher itself."""
        return self.evaluate(self._context.teacher, "fp32", split).metrics

    def engine_consistency(
        self, model: bytes, precision: Precision, split: MeasuredSplit
    ) -> list[EngineConsistency]:
        """Compare other engines with the reference on up to 1000 images of `split`.

        Instruction sets are compared for INT8 on the test split alone, because each takes a process
        of its own. Float kernels differ by rounding; integer kernels can saturate.
        """
        key = sha256(model), split
        if key not in self._consistency:
            recipe, calibration = self._context.recipe, self.calibration(model, precision)
            with Progress(f"comparing engines in {precision}"):
                self._consistency[key] = compare_engines(
                    model,
                    self._context.size,
                    precision,
                    getattr(self._context.splits, split).images[:_CONSISTENCY_IMAGES, None],
                    recipe.labels,
                    recipe.compress.alert_labels,
                    calibration,
                    ISA_LIMITS if precision == "int8" and split == "test" else (),
                )
        return self._consistency[key]

    def gate(self, model: bytes, precision: Precision, split: MeasuredSplit) -> list[Check]:
        """Check a network against the recipe's limits on `split`."""
        engines = self.engine_consistency(model, precision, split)
        student, reference = self.evaluate(model, precision, split), self._context.teacher
        data: RadiographDataset = getattr(self._context.splits, split)
        outputs = self.outputs(model, precision, split)
        before = self.outputs(reference, "fp32", split)
        settings = self._context.recipe.compress
        return gate(
            getattr(settings.gate, precision),
            self.evaluate_teacher(split),
            student.metrics,
            student.flips,
            auc_losses(outputs, before, data),
            alert_losses(
                outputs,
                self._confidence(model, precision),
                before,
                self._confidence(reference, "fp32"),
                data,
                settings.alert_labels,
            ),
            dice_losses(outputs, before, data),
            precision,
            max(engine.logit_rmse for engine in engines),
            sum(engine.decision_flips for engine in engines),
        )

    def test(self, fp32: bytes, int8: bytes) -> TestResults:
        """Evaluate, calibrate and gate the final student on the test split."""
        models: dict[Precision, bytes] = {"fp32": fp32, "int8": int8}
        return TestResults(
            evaluations={p: self.evaluate(models[p], p, "test") for p in PRECISIONS},
            calibrations={p: self.calibration(models[p], p) for p in PRECISIONS},
            teacher=self.evaluate_teacher("test"),
            consistency=self.engine_consistency(int8, "int8", "test"),
            checks=[check for p in PRECISIONS for check in self.gate(models[p], p, "test")],
        )

    def calibration(self, model: bytes, precision: Precision) -> Calibration:
        """Everything that turns a network's logits into a decision.

        Thousands of images go through the network for the out-of-distribution score.
        """
        key = sha256(model)
        if key not in self._calibrations:
            splits = self._context.splits
            features = self.outputs(model, precision, "calibration").feature_vector
            with Progress(f"fitting the out-of-distribution score in {precision}"):
                score = fit_outlier_score(
                    self._open(model, precision),
                    splits.train.images[self._context.ood_indices],
                    self._outliers,
                    splits.calibration.images,
                    features,
                )
            confidence = msgspec.structs.asdict(self._confidence(model, precision))
            self._calibrations[key] = Calibration(**confidence, out_of_distribution=score)
        return self._calibrations[key]

    def outputs(
        self, model: bytes, precision: Precision, split: MeasuredSplit | Literal["calibration"]
    ) -> Outputs:
        """Outputs of a network on all images of `split`."""
        key = sha256(model), split
        if key not in self._outputs:
            images = getattr(self._context.splits, split).images[:, None]
            with Progress(f"running {precision} on {len(images)} images ({split})"):
                self._outputs[key] = run_batched(self._open(model, precision), images)
        return self._outputs[key]

    def _confidence(self, model: bytes, precision: Precision) -> Confidence:
        recipe = self._context.recipe
        return calibrate(
            self.outputs(model, precision, "calibration"),
            self._context.splits.calibration.labels,
            recipe.labels,
            recipe.compress.coverage,
            recipe.compress.sensitivity,
        )

    def _open(self, model: bytes, precision: Precision) -> Engine:
        key = sha256(model)
        if key not in self._engines:
            context = self._context
            self._engines[key] = open_model(model, context.size, context.target, precision)
        return self._engines[key]


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
