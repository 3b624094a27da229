"""One judge for every network of the chain: calibrated on one part, measured on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.compression.calibration.calibrate import calibrate, fit_temperature
from orthoedge.compression.calibration.ood_images import draw_outliers
from orthoedge.compression.calibration.ood_score import fit_outlier_score
from orthoedge.compression.data_splits import Parts
from orthoedge.compression.evaluation.engine_agreement import EngineAgreement, engine_agreement
from orthoedge.compression.evaluation.metrics import measure
from orthoedge.compression.gate import Check, gate
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.manifest import Calibration, Confidence, Metrics
from orthoedge.runtime.engine import Engine, Outputs, Precision
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.isa_limit import ISA_LIMITS
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.recipe import Recipe

_ENGINE_IMAGES = 1000  # on which the engines are compared
_SEEN_IMAGES = 2000  # that say what training images look like
_OUTLIERS = 1.2  # pictures of other kinds for each of them


@dataclass(frozen=True)
class Judged:
    """A network, measured with probabilities that hold."""

    engine: Engine
    metrics: Metrics


class Judge:
    """Measures networks against the float32 teacher on the same images.

    Args:
        teacher: ONNX of the ensemble, for whole squares.
        parts: the data.
        recipe: labels, sizes, coverage and sensitivity.
        target: whose engine runs everything.
    """

    def __init__(self, teacher: bytes, parts: Parts, recipe: Recipe, target: str) -> None:
        self.parts, self.recipe, self.target = parts, recipe, target
        self._teacher = teacher
        # By SHA-256 of the model, and by part: the teacher takes minutes on a large one.
        self._engines: dict[str, Engine] = {}
        self._outputs: dict[tuple[str, str], Outputs] = {}
        self._confidences: dict[str, Confidence] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._judged: dict[tuple[str, str], Judged] = {}
        self._agreements: dict[tuple[str, str], list[EngineAgreement]] = {}
        self._seen = balanced(parts.train, _SEEN_IMAGES, recipe.seed)
        count = round(_OUTLIERS * len(self._seen))
        self._outliers = draw_outliers(recipe.preprocess, count, recipe.seed)
        logits = self.run(teacher, "fp32", "calibration").logits
        self.temperature = fit_temperature(logits, parts.calibration.labels)

    def judge(self, model: bytes, precision: Precision, part: Literal["val", "test"]) -> Judged:
        """Calibrate a network on the calibration part and measure it on `part`; once each."""
        key = sha256(model), part
        if key not in self._judged:
            metrics = measure(
                self.run(model, precision, part),
                self.run(self._teacher, "fp32", part),
                getattr(self.parts, part),
                self.recipe.labels,
                self._confidence(model, precision),
                self.temperature,
            )
            self._judged[key] = Judged(self._open(model, precision), metrics)
        return self._judged[key]

    def judge_teacher(self, part: Literal["val", "test"]) -> Judged:
        """The same of the teacher itself."""
        return self.judge(self._teacher, "fp32", part)

    def agreement(
        self, model: bytes, precision: Precision, part: Literal["val", "test"]
    ) -> list[EngineAgreement]:
        """Other engines beside the reference on up to 1000 images of `part`; once each.

        Integer kernels of all instruction sets run on the test part alone: each takes a process of
        its own. Float ones differ by rounding, integer ones can saturate.
        """
        key = sha256(model), part
        if key not in self._agreements:
            self._agreements[key] = engine_agreement(
                model,
                self.recipe.preprocess.size,
                precision,
                getattr(self.parts, part).images[:_ENGINE_IMAGES, None],
                self.recipe.labels,
                self.recipe.compress.alert_labels,
                self.calibration(model, precision),
                ISA_LIMITS if precision == "int8" and part == "test" else (),
            )
        return self._agreements[key]

    def gate(self, model: bytes, precision: Precision, part: Literal["val", "test"]) -> list[Check]:
        """Hold a network to the recipe's limits on `part`."""
        engines = self.agreement(model, precision, part)
        return gate(
            getattr(self.recipe.compress.gate, precision),
            self.judge_teacher(part).metrics,
            self.judge(model, precision, part).metrics,
            precision,
            max(engine.logit_rmse for engine in engines),
            sum(engine.flips for engine in engines),
        )

    def calibration(self, model: bytes, precision: Precision) -> Calibration:
        """All that decides, for a network that is to run by itself; once each.

        Thousands of pictures go through it for the out-of-distribution score.
        """
        key = sha256(model)
        if key not in self._calibrations:
            score = fit_outlier_score(
                self._open(model, precision),
                self.parts.train.images[self._seen],
                self._outliers,
                self.parts.calibration.images,
                self.run(model, precision, "calibration").feature_vector,
            )
            confidence = msgspec.structs.asdict(self._confidence(model, precision))
            self._calibrations[key] = Calibration(**confidence, out_of_distribution=score)
        return self._calibrations[key]

    def _confidence(self, model: bytes, precision: Precision) -> Confidence:
        key, settings = sha256(model), self.recipe.compress
        if key not in self._confidences:
            self._confidences[key] = calibrate(
                self.run(model, precision, "calibration"),
                self.parts.calibration.labels,
                self.recipe.labels,
                settings.coverage,
                settings.sensitivity,
            )
        return self._confidences[key]

    def run(
        self, model: bytes, precision: Precision, part: Literal["val", "calibration", "test"]
    ) -> Outputs:
        """A network's answers to `part`; once each."""
        key = sha256(model), part
        if key not in self._outputs:
            images = getattr(self.parts, part).images[:, None]
            self._outputs[key] = run_batched(self._open(model, precision), images)
        return self._outputs[key]

    def _open(self, model: bytes, precision: Precision) -> Engine:
        key = sha256(model)
        if key not in self._engines:
            size = self.recipe.preprocess.size
            self._engines[key] = open_model(model, size, self.target, precision)
        return self._engines[key]


def balanced(data: RadiographDataset, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of up to `count` images, as evenly over the classes as they allow."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(data))
    turn = np.empty(len(data), np.int64)  # how many of its class stand before an image
    for label in np.unique(data.labels):
        own = shuffled[data.labels[shuffled] == label]
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:count])
