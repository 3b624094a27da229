"""Scores of a classifier and its maps, for many weightings of the same images at once.

A bootstrap resample is nothing but a whole-number weight per image (how often it was drawn), so one
vectorised function gives the scores themselves, for weights of 1, and those of every resample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics import classification
from orthoedge.benchmarks.metrics.bootstrap import Array, mean_of_known, ratio, resamples
from orthoedge.benchmarks.metrics.classification import Box, Floats, Ints
from orthoedge.runtime.engine import Outputs


class ReliabilityBin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Images of similar confidence."""

    low: float
    """Lower edge of the confidence, inclusive."""
    high: float
    """Upper edge, exclusive but for the last bin."""
    images: int
    """Images in the bin."""
    confidence: float | None
    """Their mean confidence; None: no image."""
    accuracy: float | None
    """The share of them that is right; None: no image."""


@dataclass(frozen=True)
class Predictions:
    """Truth and prediction of each image."""

    truth: npt.NDArray[np.int64]
    """(N,) class indices."""
    predicted: npt.NDArray[np.int64]
    """(N,) class indices."""
    probabilities: Array
    """(N, C)."""
    loss: Array
    """(N,) cross-entropy of each image."""
    pointed: Array
    """(N,) 1 where the map peaks in a lesion's box, 0 where not, NaN without a box."""
    in_mask: Array
    """(N,) share of the map's energy inside the lesion's mask, NaN without one."""
    in_box: Array
    """(N,) the same of the boxes."""


@dataclass(frozen=True)
class Scores:
    """Scores for R weightings; NaN if undefined, as the precision of a class never predicted."""

    accuracy: Array
    """(R,) like all that is not per class."""
    balanced_accuracy: Array
    """Mean recall of the classes."""
    macro_f1: Array
    """Mean F1 of the classes."""
    macro_auc: Array
    """Mean of the classes' one-vs-rest AUC."""
    loss: Array
    expected_calibration_error: Array
    pointing_game: Array
    energy_in_mask: Array
    energy_in_box: Array
    precision: Array
    """(R, C) like all that follow."""
    recall: Array
    specificity: Array
    f1: Array
    auc: Array


def predictions_of(
    outputs: Outputs, truth: Ints, boxes: Sequence[Sequence[Box]], temperature: float
) -> Predictions:
    """Predictions from N outputs, without masks.

    Args:
        outputs: of N images.
        truth: (N,) class indices.
        boxes: lesions of each, as fractions of the input; empty: none marked. They are
            compared with the map of the true class.
        temperature: divides the logits.
    """
    rows, unknown = np.arange(len(truth)), np.full(len(truth), np.nan)
    log_probabilities = classification.log_softmax(outputs.logits / temperature)
    pointed = [
        classification.points_at(saliency, marked) if marked else np.nan
        for saliency, marked in zip(outputs.saliency_map[rows, truth], boxes, strict=True)
    ]
    return Predictions(
        truth=truth.astype(np.int64, copy=False),
        predicted=outputs.logits.argmax(axis=1),
        probabilities=classification.softmax(outputs.logits, temperature),
        loss=-log_probabilities[rows, truth],
        pointed=np.array(pointed, np.float64),
        in_mask=unknown,
        in_box=unknown,
    )


def scores(predictions: Predictions, weights: Array) -> Scores:
    """Score the same predictions under each of R weightings (R, N)."""
    classes = predictions.probabilities.shape[1]
    tables = classification.confusions(predictions.truth, predictions.predicted, classes, weights)
    hits = np.diagonal(tables, axis1=1, axis2=2)  # (R, C)
    true, predicted = tables.sum(2), tables.sum(1)
    total = weights.sum(1)
    columns = enumerate(predictions.probabilities.T)
    auc = np.stack([area(score, predictions.truth == c, weights) for c, score in columns], 1)
    recall = ratio(hits, true)
    maps = mean_of_known(
        np.stack([predictions.pointed, predictions.in_mask, predictions.in_box]), weights
    )
    return Scores(
        accuracy=hits.sum(1) / total,
        balanced_accuracy=recall.mean(1),
        macro_f1=classification.macro_f1s(tables),
        macro_auc=auc.mean(1),
        loss=weights @ predictions.loss / total,
        expected_calibration_error=classification.calibration_errors(
            predictions.probabilities, predictions.predicted, predictions.truth, weights
        ),
        pointing_game=maps[:, 0],
        energy_in_mask=maps[:, 1],
        energy_in_box=maps[:, 2],
        precision=ratio(hits, predicted),
        recall=recall,
        specificity=ratio(total[:, None] - true - predicted + hits, total[:, None] - true),
        f1=ratio(2 * hits, true + predicted),
        auc=auc,
    )


def bootstrap(predictions: Predictions, groups: Sequence[str], seed: int) -> tuple[Scores, Scores]:
    """Scores on the images as they are (R = 1), and on `RESAMPLES` resamples of their groups."""
    drawn = [scores(predictions, w) for w in resamples(groups, predictions.truth, seed)]
    names = [field.name for field in fields(Scores)]
    joined = {name: np.concatenate([getattr(part, name) for part in drawn]) for name in names}
    return scores(predictions, np.ones((1, len(predictions.truth)))), Scores(**joined)


def area(score: Floats, positive: npt.NDArray[np.bool_], weights: Array) -> Array:
    """Area under the ROC curve (R,) for weightings (R, N): Mann-Whitney's U, ties counting half."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)
    ordered = weights[:, order]
    above = np.add.reduceat(ordered * positive[order], starts, axis=1)  # (R, distinct scores)
    below = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    beaten = np.cumsum(below, axis=1) - below / 2
    return ratio((above * beaten).sum(1), above.sum(1) * below.sum(1))


def reliability(predictions: Predictions) -> tuple[ReliabilityBin, ...]:
    """The bins of a reliability diagram."""
    where = classification.bins_of(predictions.probabilities)
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.predicted == predictions.truth
    return tuple(
        ReliabilityBin(
            low=number / classification.BINS,
            high=(number + 1) / classification.BINS,
            images=int((where == number).sum()),
            confidence=float(confidence[where == number].mean()) if number in where else None,
            accuracy=float(right[where == number].mean()) if number in where else None,
        )
        for number in range(classification.BINS)
    )
