"""Metrics of a network's outputs, with bootstrap intervals."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import interval
from orthoedge.benchmarks.metrics.bootstrap_scores import bootstrap, predictions_of
from orthoedge.benchmarks.metrics.classification import cosine, log_softmax
from orthoedge.compression.evaluation.mask_overlap import label_dice
from orthoedge.runtime.bundles.manifest import Confidence, Metrics
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DataError
from orthoedge.training.data.dataset import RadiographDataset

_SEED = 0  # of the bootstrap: the same outputs give the same intervals


def measure(
    outputs: Outputs,
    teacher: Outputs,
    data: RadiographDataset,
    labels: tuple[str, ...],
    calibration: Confidence,
    teacher_temperature: float,
) -> Metrics:
    """Measure a network on N images, with 95 % bootstrap intervals over groups.

    The conformal set holds every label whose probability is at least 1 minus the quantile. A
    finding adds the most probable label and alert labels, so it covers the truth at least as often.

    `teacher` holds the float32 ensemble's outputs on the same images, whose logits
    `teacher_temperature` calibrates; the C labels are in the order of the logits.

    Raises:
        DataError: a label has no image, so its recall is undefined.
    """
    absent = [label for c, label in enumerate(labels) if c not in data.labels]
    if absent:
        raise DataError(f"label {absent[0]}: none of the {len(data)} test images has it; add some")
    predictions = predictions_of(outputs, data.labels, data.boxes, calibration.temperature)
    scores, resampled = bootstrap(
        predictions, [record.patient_id for record in data.records], _SEED
    )
    in_set = predictions.probabilities >= 1 - calibration.conformal_quantile
    pointing = float(scores.pointing_game[0])
    names = ("accuracy", "macro_f1", "expected_calibration_error", "pointing_game")
    pairs = {name: (getattr(scores, name)[0], getattr(resampled, name)) for name in names}
    for c, label in enumerate(labels):
        pairs[f"recall.{label}"] = (scores.recall[0, c], resampled.recall[:, c])
    intervals = {name: interval(*pair) for name, pair in pairs.items()}
    dice = label_dice(outputs, data)
    intervals |= {f"dice.{label}": score for label, score in dice.items()}
    same = outputs.logits.argmax(axis=1) == teacher.logits.argmax(axis=1)
    return Metrics(
        images=len(data),
        accuracy=float(scores.accuracy[0]),
        macro_f1=float(scores.macro_f1[0]),
        recall=dict(zip(labels, scores.recall[0].tolist(), strict=True)),
        expected_calibration_error=float(scores.expected_calibration_error[0]),
        pointing_game=None if np.isnan(pointing) else pointing,
        coverage=float(in_set[np.arange(len(data)), data.labels].mean()),
        set_size=float(in_set.sum(axis=1).mean()),
        teacher_agreement=float(same.mean()),
        logit_correlation=logit_correlation(outputs.logits, teacher.logits),
        teacher_divergence=divergence(
            teacher.logits / teacher_temperature, outputs.logits / calibration.temperature
        ),
        saliency_cosine=saliency_cosine(outputs, teacher),
        intervals={name: (i.low, i.high) for name, i in intervals.items() if i is not None},
        dice={label: score.value for label, score in dice.items()},
    )


def logit_correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Pearson correlation over all N × C logits, centred per image; 0 for constant logits.

    A number added to all logits of an image changes no probability, so it must not count.
    """
    a, b = (logits.astype(np.float64) for logits in (first, second))
    a, b = (logits - logits.mean(axis=1, keepdims=True) for logits in (a, b))
    return float(cosine(a[None], b[None])[0])  # of values whose mean is 0, that is Pearson's


def divergence(reference: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence KL(reference || other) in nats, of scaled logits (N, C)."""
    log_p, log_q = log_softmax(reference), log_softmax(other)
    return float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean())


def saliency_cosine(student: Outputs, teacher: Outputs) -> float:
    """Mean cosine between two networks' maps of the teacher's label, at the teacher's size.

    The student's map is resized (bilinear) if its size differs.
    """
    rows = np.arange(len(teacher.logits))
    top = teacher.logits.argmax(axis=1)
    expected = teacher.saliency_map[rows, top]
    maps, (height, width) = student.saliency_map[rows, top], expected.shape[1:]
    if maps.shape != expected.shape:
        maps = np.stack([cv2.resize(saliency, (width, height)) for saliency in maps])
    return float(cosine(maps, expected).mean())
