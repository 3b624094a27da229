"""Accuracy of a bundle on labelled radiographs, and relative to the float32 ensemble.

Intervals come from a bootstrap over whole patients. All engines and the reference share the same
resamples, so that errors they have in common do not count as a difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import Array, interval, mean_intervals, ratio, resamples
from orthoedge.benchmarks.metrics.bootstrap_scores import Predictions, predictions_of, reliability
from orthoedge.benchmarks.metrics.classification import (
    calibration_errors,
    confusion,
    confusions,
    macro_f1s,
)
from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.benchmarks.schema import Accuracy, Confidence, Interval, Verdict
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.decision import OodScore, decide
from orthoedge.runtime.engine import Engine, ModelKey, Outputs, Precision
from orthoedge.runtime.errors import DataError
from orthoedge.targets.engine_utils import run_batched

_SEED = 0  # of the bootstrap: the same outputs, the same intervals
_TARGET_SHARE = 0.99  # of the reference: MLPerf Inference's usual target of its closed division


def predict(engine: Engine, prepared: Prepared) -> Outputs:
    """Run an engine on all N radiographs; the reference has the same inputs and outputs.

    Raises:
        EngineError: the engine takes inputs of another size, failed, or a logit is not finite.
    """
    return run_batched(engine, prepared.model_inputs[:, None])


def evaluate(
    bundle: Bundle,
    target: str,
    precision: Precision,
    outputs: Outputs,
    prepared: Prepared,
    reference: Outputs | None = None,
) -> Accuracy:
    """Score an engine's outputs.

    Args:
        bundle: labels, and the calibration that decides.
        target: of the record.
        precision: of the engine; the calibration is that of the model it runs.
        outputs: of `predict`, on `prepared`.
        prepared: of `prepare`, with this bundle.
        reference: the float32 ensemble's outputs on the same radiographs, its labels in the
            bundle's order; None: agreement and verdict are left out.

    Raises:
        DataError: the reference has a different number of labels.
    """
    manifest, truth = bundle.manifest, prepared.truth
    labels, alerts = manifest.labels, manifest.alert_labels
    key = manifest.key_for(target, precision)
    temperature = manifest.calibration_for(key).temperature
    predictions = predictions_of(outputs, truth, prepared.boxes, temperature)
    reference_labels = None if reference is None else _labels_of(reference, len(labels))
    right = (predictions.predicted == truth).astype(np.float64)
    reported = _reported(bundle, key, outputs, prepared)
    unknown = np.full(len(truth), np.nan)
    accuracy, pointing, coverage, accuracy_reported, agreement, *recalls = _shares(
        [
            right,
            predictions.pointed,
            reported,
            np.where(reported, right, np.nan),
            unknown if reference_labels is None else predictions.predicted == reference_labels,
            *(np.where(truth == labels.index(label), right, np.nan) for label in alerts),
        ],
        prepared,
    )
    macro_f1, ece, share = _whole_figures(predictions, reference_labels, prepared, len(labels))
    if share is not None and agreement is not None and share.low == share.high:
        # No label differed. On other radiographs, as many may as the agreement leaves open.
        margin = 1 - agreement.low
        share = Interval(value=share.value, low=share.low - margin, high=share.high + margin)
    return Accuracy(
        target=target,
        precision=precision,
        images=len(truth),
        accuracy=_known(accuracy),
        macro_f1=macro_f1,
        alert_recall=dict(zip(alerts, map(_known, recalls), strict=True)),
        ece=ece,
        pointing=pointing,
        coverage=_known(coverage),
        accuracy_reported=accuracy_reported,
        agreement=agreement,
        confusion=tuple(map(tuple, confusion(truth, predictions.predicted, len(labels)).tolist())),
        reliability=tuple(
            Confidence(
                low=bin_.low,
                high=bin_.high,
                count=bin_.images,
                confidence=bin_.confidence,
                accuracy=bin_.accuracy,
            )
            for bin_ in reliability(predictions)
        ),
        holds_99=None if share is None else verdict(share),
        share_of_reference=share,
    )


def verdict(share: Interval) -> Verdict:
    """Compare the share of the reference's macro-F1 with 99 %, taking its interval into account.

    MLPerf Inference's closed division requires 99 % of the float32 model's accuracy by point
    estimate; here the whole interval must lie on one side.
    """
    if share.low >= _TARGET_SHARE:
        return "holds"
    return "does not hold" if share.high < _TARGET_SHARE else "cannot tell"


def _labels_of(reference: Outputs, classes: int) -> npt.NDArray[np.int64]:
    """The labels (N,) that the reference predicts."""
    if (count := reference.logits.shape[1]) != classes:
        difference = f"the reference has {count} labels, the bundle {classes}"
        raise DataError(f"{difference}: give the ensemble that it was distilled from")
    return np.asarray(reference.logits.argmax(axis=1), np.int64)


def _reported(
    bundle: Bundle, key: ModelKey, outputs: Outputs, prepared: Prepared
) -> npt.NDArray[np.bool_]:
    """Images (N,) that a finding would report, neither refer nor reject."""
    manifest = bundle.manifest
    calibration = manifest.calibration_for(key)
    distance = OodScore(calibration.out_of_distribution)
    scores = map(distance, outputs.feature_vector, prepared.statistics)
    images = zip(outputs.logits, scores, prepared.quality_issues, strict=True)
    rules = (manifest.labels, manifest.alert_labels, calibration)
    return np.array([decide(*image, *rules).decision == "report" for image in images])


def _whole_figures(
    predictions: Predictions,
    reference_labels: npt.NDArray[np.int64] | None,
    prepared: Prepared,
    classes: int,
) -> tuple[Interval, Interval, Interval | None]:
    """Macro-F1, calibration error, and macro-F1 as a share of the reference's."""

    def score(weights: Array) -> Array:  # (R, N) -> (R, 3)
        macro_f1 = macro_f1s(confusions(predictions.truth, predictions.predicted, classes, weights))
        ece = calibration_errors(
            predictions.probabilities, predictions.predicted, predictions.truth, weights
        )
        share = np.full_like(macro_f1, np.nan)
        if reference_labels is not None:
            whole = macro_f1s(confusions(predictions.truth, reference_labels, classes, weights))
            share = ratio(macro_f1, whole)
        return np.stack([macro_f1, ece, share], axis=1)

    point = score(np.ones((1, len(predictions.truth))))[0]
    drawn = np.concatenate(
        [score(weights) for weights in resamples(prepared.groups, predictions.truth, _SEED)]
    )
    macro_f1, ece, share = (interval(point[k], drawn[:, k]) for k in range(3))
    ece = _known(ece)
    # Resamples repeat images, which moves bins further away: their errors can all be larger.
    ece = Interval(value=ece.value, low=min(ece.low, ece.value), high=ece.high)
    return _known(macro_f1), ece, share


def _shares(
    measures: Sequence[Array | npt.NDArray[np.bool_]], prepared: Prepared
) -> list[Interval | None]:
    """The mean of each measure, (N,) of 0 or 1, NaN where an image does not count.

    None where no image counts. If all that count are equal, no resample differs, and the interval
    is the exact one with each patient as one trial (Clopper and Pearson, Biometrika 26,
    1934).
    """
    values = np.array(measures, np.float64)
    groups = np.asarray(prepared.groups)
    intervals = list(mean_intervals(values, prepared.groups, prepared.truth, _SEED))
    for k, mean in enumerate(intervals):
        if mean is not None and mean.low == mean.high:
            margin = 1 - 0.025 ** (1 / len(np.unique(groups[~np.isnan(values[k])])))
            low, high = max(0.0, mean.value - margin), min(1.0, mean.value + margin)
            intervals[k] = Interval(value=mean.value, low=low, high=high)
    return intervals


def _known(interval: Interval | None) -> Interval:
    assert interval is not None  # every label has an image, so these figures have a value
    return interval
