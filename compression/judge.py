"""One judge for every network of the chain: calibrated on one part, measured on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthoedge.compression.calibrate import calibrate, fit_temperature
from orthoedge.compression.evaluate import measure
from orthoedge.compression.parts import Parts
from orthoedge.runtime.engine import Engine, Outputs, Precision
from orthoedge.runtime.files import sha256
from orthoedge.runtime.manifest import Calibration, Metrics
from orthoedge.targets import open_model
from orthoedge.targets.batches import run_all
from orthoedge.training.data.radiographs import Radiographs
from orthoedge.training.recipe import Recipe

_FEATURE_IMAGES = 1000  # whose mean and deviation say what training images look like


@dataclass(frozen=True)
class Judged:
    """A network, calibrated and measured."""

    engine: Engine
    calibration: Calibration
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
        self.teacher = open_model(teacher, recipe.preprocess.size, target, "fp32")
        self._taught: dict[str, Outputs] = {}
        self._judged: dict[tuple[str, str], Judged] = {}
        self._model = teacher
        self._features = balanced(parts.train, _FEATURE_IMAGES, recipe.seed)
        calibration = self._answers(parts.calibration, "calibration")
        self.temperature = fit_temperature(calibration.logits, parts.calibration.labels)

    def judge(self, model: bytes, precision: Precision, part: Literal["val", "test"]) -> Judged:
        """Calibrate a network on the calibration part and measure it on `part`; once each."""
        key = sha256(model), part
        if key not in self._judged:
            engine = self.teacher
            if model is not self._model:
                engine = open_model(model, self.recipe.preprocess.size, self.target, precision)
            self._judged[key] = self._judge(engine, part)
        return self._judged[key]

    def judge_teacher(self, part: Literal["val", "test"]) -> Judged:
        """The same of the teacher itself."""
        return self.judge(self._model, "fp32", part)

    def _judge(self, engine: Engine, part: Literal["val", "test"]) -> Judged:
        recipe, data = self.recipe, getattr(self.parts, part)
        calibration = calibrate(
            run_all(engine, self.parts.calibration.images[:, None]),
            self.parts.calibration.labels,
            recipe.labels,
            run_all(engine, self.parts.train.images[self._features, None]).feature_vector,
            recipe.compress.coverage,
            recipe.compress.sensitivity,
        )
        metrics = measure(
            run_all(engine, data.images[:, None]),
            self._answers(data, part),
            data,
            recipe.labels,
            calibration,
            self.temperature,
        )
        return Judged(engine, calibration, metrics)

    def _answers(self, data: Radiographs, part: str) -> Outputs:
        if part not in self._taught:
            self._taught[part] = run_all(self.teacher, data.images[:, None])
        return self._taught[part]


def balanced(data: Radiographs, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of up to `count` images, as evenly over the classes as they allow."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(data))
    turn = np.empty(len(data), np.int64)  # how many of its class stand before an image
    for label in np.unique(data.labels):
        own = shuffled[data.labels[shuffled] == label]
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:count])
