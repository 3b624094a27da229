"""What a bundle is worth on labelled radiographs, beside the float32 ensemble it came from.

Intervals are those of a bootstrap over whole groups; every engine and the reference meet the same
resamples, so that what they share does not count as difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import Array, interval, mean_intervals, ratio, resamples
from orthoedge.benchmarks.metrics.bootstrap_scores import (
    Predictions,
    calibration_errors,
    confusions,
    macro_f1s,
    predictions_of,
    reliability,
)
from orthoedge.benchmarks.metrics.classification import confusion
from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.benchmarks.schema import Accuracy, Confidence, Interval, Verdict
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.decision import OodScore, decide
from orthoedge.runtime.engine import Engine, Outputs, Precision
from orthoedge.runtime.errors import DataError
from orthoedge.targets.engine_utils import run_batched

_SEED = 0  # of the bootstrap: the same answers, the same intervals
_KEPT = 0.99  # of the reference: MLPerf Inference's usual target of its closed division


def ask(engine: Engine, prepared: Prepared) -> Outputs:
    """An engine's answers to all N radiographs.

    Of the bundle's engines as of the reference's, whose ONNX file has the same face.

    Raises:
        EngineError: the engine takes squares of another size, failed, or a logit is not finite.
    """
    return run_batched(engine, prepared.squares[:, None])


def judge(
    bundle: Bundle,
    target: str,
    precision: Precision,
    outputs: Outputs,
    prepared: Prepared,
    reference: Outputs | None = None,
) -> Accuracy:
    """Score an engine's answers.

    Args:
        bundle: labels, and the calibration that decides.
        target: of the record.
        precision: that answered; its calibration is taken.
        outputs: of `ask`, on `prepared`.
        prepared: of `prepare`, with this bundle.
        reference: the float32 ensemble's answers to the same radiographs, its labels in the
            bundle's order; None: there is none, and agreement and verdict stay open.

    Raises:
        DataError: the reference knows another number of labels.
    """
    manifest, truth = bundle.manifest, prepared.truth
    labels, alerts = manifest.labels, manifest.alert_labels
    temperature = manifest.calibration_for(precision).temperature
    answers = predictions_of(outputs, truth, prepared.boxes, temperature)
    wanted = None if reference is None else _labels_of(reference, len(labels))
    right = (answers.predicted == truth).astype(np.float64)
    reported = _reported(bundle, precision, outputs, prepared)
    unknown = np.full(len(truth), np.nan)
    accuracy, pointing, coverage, accuracy_reported, agreement, *recalls = _shares(
        [
            right,
            answers.pointed,
            reported,
            np.where(reported, right, np.nan),
            unknown if wanted is None else answers.predicted == wanted,
            *(np.where(truth == labels.index(label), right, np.nan) for label in alerts),
        ],
        prepared,
    )
    macro_f1, ece, share = _whole_figures(answers, wanted, prepared, len(labels))
    if share is not None and agreement is not None and share.low == share.high:
        # No answer differed. As many as the agreement leaves open may, on other radiographs.
        open_ = 1 - agreement.low
        share = Interval(value=share.value, low=share.low - open_, high=share.high + open_)
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
        confusion=tuple(map(tuple, confusion(truth, answers.predicted, len(labels)).tolist())),
        reliability=tuple(
            Confidence(
                low=one.low,
                high=one.high,
                count=one.images,
                confidence=one.confidence,
                accuracy=one.accuracy,
            )
            for one in reliability(answers)
        ),
        holds_99=None if share is None else verdict(share),
        share_of_reference=share,
    )


def verdict(share: Interval) -> Verdict:
    """Whether the share of the reference's macro-F1 is 99 % or more, as far as its interval tells.

    MLPerf Inference's closed division asks for 99 % of the float32 model's accuracy, of the plain
    figures; here the whole interval must lie on one side.
    """
    if share.low >= _KEPT:
        return "holds"
    return "does not hold" if share.high < _KEPT else "cannot tell"


def _labels_of(reference: Outputs, classes: int) -> npt.NDArray[np.int64]:
    """The labels (N,) that the reference gives."""
    if reference.logits.shape[1] != classes:
        raise DataError(
            f"the reference answers with {reference.logits.shape[1]} labels, the bundle with "
            f"{classes}: give the ensemble that it was made from"
        )
    said: npt.NDArray[np.int64] = reference.logits.argmax(axis=1)
    return said


def _reported(
    bundle: Bundle, precision: Precision, outputs: Outputs, prepared: Prepared
) -> npt.NDArray[np.bool_]:
    """Which answers (N,) a finding would report, neither referred nor rejected."""
    manifest = bundle.manifest
    calibration = manifest.calibration_for(precision)
    distance = OodScore(calibration.out_of_distribution)
    decided = (
        decide(
            logits,
            distance(features, look),
            faults,
            manifest.labels,
            manifest.alert_labels,
            calibration,
        )
        for logits, features, look, faults in zip(
            outputs.logits, outputs.feature_vector, prepared.looks, prepared.faults, strict=True
        )
    )
    return np.array([said.decision == "report" for said in decided])


def _whole_figures(
    answers: Predictions, wanted: npt.NDArray[np.int64] | None, prepared: Prepared, classes: int
) -> tuple[Interval, Interval, Interval | None]:
    """Macro-F1, calibration error, and macro-F1 as a share of the reference's labels `wanted`."""

    def score(weights: Array) -> Array:  # (R, N) -> (R, 3)
        macro_f1 = macro_f1s(confusions(answers.truth, answers.predicted, classes, weights))
        share = np.full_like(macro_f1, np.nan)
        if wanted is not None:
            whole = macro_f1s(confusions(answers.truth, wanted, classes, weights))
            share = ratio(macro_f1, whole)
        return np.stack([macro_f1, calibration_errors(answers, weights), share], axis=1)

    point = score(np.ones((1, len(answers.truth))))[0]
    drawn = np.concatenate(
        [score(weights) for weights in resamples(prepared.groups, answers.truth, _SEED)]
    )
    macro_f1, ece, share = (interval(point[k], drawn[:, k]) for k in range(3))
    ece = _known(ece)
    # Resamples repeat images, which moves bins further off: their errors can all be larger.
    ece = Interval(value=ece.value, low=min(ece.low, ece.value), high=ece.high)
    return _known(macro_f1), ece, share


def _shares(
    measures: Sequence[Array | npt.NDArray[np.bool_]], prepared: Prepared
) -> list[Interval | None]:
    """The mean of each measure, (N,) of 0 or 1, NaN where an image does not count.

    None where no image counts. Where all that count are alike no resample differs, and the interval
    is the exact one instead, each group counting as one trial (Clopper and Pearson, Biometrika 26,
    1934).
    """
    values = np.array(measures, np.float64)
    groups = np.asarray(prepared.groups)
    found = list(mean_intervals(values, prepared.groups, prepared.truth, _SEED))
    for k, one in enumerate(found):
        if one is not None and one.low == one.high:
            open_ = 1 - 0.025 ** (1 / len(np.unique(groups[~np.isnan(values[k])])))
            low, high = max(0.0, one.value - open_), min(1.0, one.value + open_)
            found[k] = Interval(value=one.value, low=low, high=high)
    return found


def _known(found: Interval | None) -> Interval:
    assert found is not None  # there is an image of every label, so each such figure has a value
    return found
