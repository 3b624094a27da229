"""What compression costs where labels are ranked: AUC in each source, sensitivity of alerts.

Pooled over sources an AUC would also reward telling the sources apart, and a label that is most
probable may change where the order of the images does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import interval, mean_intervals, resamples
from orthoedge.benchmarks.metrics.bootstrap_scores import area
from orthoedge.benchmarks.metrics.classification import softmax
from orthoedge.runtime.bundles.manifest import Confidence
from orthoedge.runtime.engine import Outputs
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.evaluation.by_source import ask_sources

_SEED = 0  # of the bootstrap: the same outputs give the same intervals


@dataclass(frozen=True)
class Loss:
    """A fall from the teacher to the compressed network, on the same images."""

    name: str
    """What fell, for messages."""
    drop: float
    """Teacher minus compressed network; below 0 is a gain."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the drop over patients."""


def auc_losses(outputs: Outputs, teacher: Outputs, data: RadiographDataset) -> tuple[Loss, ...]:
    """AUC lost in each source at each question that it can answer, on N images."""
    losses = []
    asked = ask_sources(outputs.logits, data), ask_sources(teacher.logits, data)
    for student, before in zip(*asked, strict=True):
        groups = [data.records[index].patient_id for index in student.images]
        weights = [np.ones((1, len(groups)))]
        weights += list(resamples(groups, student.positive.astype(np.int64), _SEED))
        drops = np.concatenate(
            [
                area(before.scores, student.positive, w) - area(student.scores, student.positive, w)
                for w in weights
            ]
        )
        known = interval(float(drops[0]), drops[1:])
        assert known is not None  # both sides have images in every resample
        name = f"{student.source} {student.question} AUC drop".strip()
        losses.append(Loss(name, known.value, (known.low, known.high)))
    return tuple(losses)


def alert_losses(
    outputs: Outputs,
    confidence: Confidence,
    teacher: Outputs,
    teacher_confidence: Confidence,
    data: RadiographDataset,
    alert_labels: Sequence[str],
) -> tuple[Loss, ...]:
    """Sensitivity lost at the operating point of each alert label that has images.

    Each network uses its own temperature and operating point, which its calibration set for the
    same sensitivity.
    """
    losses = []
    for label in alert_labels:
        c = data.label_names.index(label)
        own = data.labels == c
        if not own.any():
            continue
        found = (
            _reached(outputs, confidence, label, c),
            _reached(teacher, teacher_confidence, label, c),
        )
        lost = np.where(own, found[1].astype(np.float64) - found[0], np.nan)
        groups = [record.patient_id for record in data.records]
        (known,) = mean_intervals(lost[None], groups, data.labels, _SEED)
        assert known is not None
        losses.append(Loss(f"{label} sensitivity drop", known.value, (known.low, known.high)))
    return tuple(losses)


def _reached(
    outputs: Outputs, confidence: Confidence, label: str, column: int
) -> npt.NDArray[np.bool_]:
    probabilities = softmax(outputs.logits, confidence.temperature)[:, column]
    reached: npt.NDArray[np.bool_] = probabilities >= confidence.operating_points[label]
    return reached
