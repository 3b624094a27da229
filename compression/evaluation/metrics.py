"""What a network's outputs on images are worth."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import interval
from orthoedge.benchmarks.metrics.bootstrap_scores import Scores, bootstrap, predictions_of
from orthoedge.benchmarks.metrics.classification import cosine, log_softmax
from orthoedge.runtime.bundles.manifest import Confidence, Metrics
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DataError
from orthoedge.training.data.dataset import RadiographDataset

_SEED = 0  # of the bootstrap: the same outputs, the same intervals

Array = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]


def measure(
    outputs: Outputs,
    teacher: Outputs,
    data: RadiographDataset,
    labels: tuple[str, ...],
    calibration: Confidence,
    teacher_temperature: float,
) -> Metrics:
    """Measure a network on N images, with 95 % intervals over their groups.

    The conformal set is every label whose probability is at least 1 minus the quantile, alone: a
    finding also keeps the most probable label and alert labels, and so covers as often or more.

    Args:
        outputs: the network's.
        teacher: the float32 ensemble's, on the same images.
        data: the images' labels, lesion boxes and groups; every label has an image.
        labels: C names, in the order of the logits.
        calibration: of this network and precision.
        teacher_temperature: that calibrates the teacher's logits.

    Raises:
        DataError: a label has no image, so that it has no recall.
    """
    absent = [label for c, label in enumerate(labels) if c not in data.labels]
    if absent:
        raise DataError(f"label {absent[0]}: none of the {len(data)} images to measure on has it")
    answers = predictions_of(outputs, data.labels, data.boxes, calibration.temperature)
    found, drawn = bootstrap(answers, [study.patient_id for study in data.records], _SEED)
    in_set = answers.probabilities >= 1 - calibration.conformal_quantile
    pointing = float(found.pointing_game[0])
    same = outputs.logits.argmax(axis=1) == teacher.logits.argmax(axis=1)
    return Metrics(
        images=len(data),
        accuracy=float(found.accuracy[0]),
        macro_f1=float(found.macro_f1[0]),
        recall=dict(zip(labels, found.recall[0].tolist(), strict=True)),
        expected_calibration_error=float(found.expected_calibration_error[0]),
        pointing_game=None if np.isnan(pointing) else pointing,
        coverage=float(in_set[np.arange(len(data)), data.labels].mean()),
        set_size=float(in_set.sum(axis=1).mean()),
        teacher_agreement=float(same.mean()),
        logit_correlation=logit_correlation(outputs.logits, teacher.logits),
        teacher_divergence=divergence(
            teacher.logits / teacher_temperature, outputs.logits / calibration.temperature
        ),
        saliency_cosine=saliency_cosine(outputs, teacher),
        intervals=_intervals(found, drawn, labels),
    )


def logit_correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Pearson correlation over all N × C logits, each image's mean taken off; 0 of constant ones.

    A number added to all logits of an image changes no answer, so it must not count as agreement.
    """
    a, b = (logits.astype(np.float64) for logits in (first, second))
    a, b = (logits - logits.mean(axis=1, keepdims=True) for logits in (a, b))
    return float(cosine(a[None], b[None])[0])  # of values whose mean is 0, that is Pearson's


def divergence(wanted: npt.NDArray[np.float32], got: npt.NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence KL(wanted || got) in nats, of scaled logits (N, C)."""
    log_p, log_q = log_softmax(wanted), log_softmax(got)
    return float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean())


def saliency_cosine(student: Outputs, teacher: Outputs) -> float:
    """Mean cosine between two networks' maps of the teacher's label, in the teacher's size.

    The student's map is resized (bilinear) where it has another number of cells.
    """
    rows = np.arange(len(teacher.logits))
    top = teacher.logits.argmax(axis=1)
    wanted = teacher.saliency_map[rows, top]
    got = _resized(student.saliency_map[rows, top], wanted.shape[1:])
    return float(cosine(got, wanted).mean())


def _intervals(
    found: Scores, drawn: Scores, labels: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """95 % interval of each score that has one."""
    names = ("accuracy", "macro_f1", "expected_calibration_error", "pointing_game")
    pairs = {name: (getattr(found, name)[0], getattr(drawn, name)) for name in names}
    for c, label in enumerate(labels):
        pairs[f"recall.{label}"] = (found.recall[0, c], drawn.recall[:, c])
    known = {name: interval(*pair) for name, pair in pairs.items()}
    return {name: (one.low, one.high) for name, one in known.items() if one is not None}


def _resized(maps: Maps, shape: tuple[int, ...]) -> Maps:
    """Maps (N, h, w) as (N, *shape), bilinear; the same array where they have that shape."""
    if maps.shape[1:] == shape:
        return maps
    height, width = shape
    return np.stack([cv2.resize(one, (width, height)) for one in maps])
