"""Check an engine against a bundle's golden outputs and invariants.

Tolerances are per precision and per tensor: INT8 kernels of two engines differ more in the map than
in the logits, and one limit for all would hide a change of 5 % in the logits. The golden outputs
come from ONNX Runtime, so OpenVINO is checked against a different engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.bundles.manifest import Calibration, Tolerance
from orthoedge.runtime.decision import OOD_MARGINS, OodScore, Verdict, decide, threshold_margins
from orthoedge.runtime.engine import Engine, Outputs
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.settings import plain

_BATCH_TOLERANCE = 1e-4  # float32 rounding: the order of sums may depend on the batch size


@dataclass(frozen=True)
class ParityCheck:
    """One line of `orthoedge verify`."""

    name: str
    measured: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether `measured` is within the limit; NaN never passes."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {self.name}: {plain(self.measured, 2)} (limit {plain(self.limit, 2)})"


def check_engine(bundle: Bundle, engine: Engine) -> list[ParityCheck]:
    """Run the golden images and check outputs and invariants.

    Differences are the largest |difference| over the standard deviation of the expected tensor, so
    that one limit fits tensors of every scale.
    """
    manifest = bundle.manifest
    key = manifest.key_of(engine)
    images = bundle.golden_images()
    expected = bundle.golden_outputs(key)
    outputs = engine.run(images)
    where = f"{engine.name} {engine.precision}"
    limit = manifest.golden.tolerance[key]
    checks = [
        ParityCheck(
            f"{where} golden {name}",
            deviation(array, expected.tensors()[name]),
            getattr(limit, name),
        )
        for name, array in outputs.tensors().items()
        if name in expected.tensors()
    ]
    graph = manifest.graph
    stated = graph.shapes(len(images))
    actual = {name: array.shape for name, array in outputs.tensors().items()}
    unlike = sum(actual.get(name) != stated.get(name) for name in stated.keys() | actual.keys())
    checks.append(ParityCheck(f"{where} shapes unlike the manifest", unlike, 0))
    negative = max(0.0, -float(outputs.saliency_map.min()))
    checks.append(ParityCheck(f"{where} negative saliency", negative, 0))
    if outputs.lesion_mask is not None:
        least, most = float(outputs.lesion_mask.min()), float(outputs.lesion_mask.max())
        beyond = max(0.0, -least, most - 1)
        checks.append(ParityCheck(f"{where} mask beyond 0 to 1", beyond, 0))
    changed = len(images)
    if not unlike:
        statistics = np.stack([image_statistics(image[0]) for image in images])
        calibration = manifest.calibration_for(key)
        near = tolerated_difference(expected, limit, calibration)
        changed = decision_flips(
            expected, outputs, statistics, manifest.labels, manifest.alert_labels, calibration, near
        )
    checks.append(ParityCheck(f"{where} clear decisions changed", changed, 0))
    single = engine.run(images[:1])
    checks.append(
        ParityCheck(
            f"{where} alone against in a batch",
            deviation(single.logits, outputs.logits[:1]),
            _BATCH_TOLERANCE if engine.precision == "fp32" else limit.logits,
        )
    )
    return checks


def deviation(actual: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Largest |difference| over the standard deviation of `expected`; infinite if shapes differ."""
    if actual.shape != expected.shape:
        return float("inf")
    return float(np.abs(actual - expected).max() / max(float(expected.std()), 1e-12))


@dataclass(frozen=True)
class Difference:
    """Difference between two engines that is no fault of either.

    A value closer to its threshold than this may be on different sides.
    """

    log_odds: float
    """Of a label's probability."""
    ood_score: float
    """In units of the score's threshold."""


_LEAST_DIFFERENCE = 1e-3  # log-odds and score; of no consequence, and above float32's rounding
# Times the RMS difference. INT8 in OpenVINO and ONNX Runtime: of 1,600 log-odds on 400 bone
# radiographs, none differs by more than 4.3 times their RMS. A median would not do as the unit: a
# small network gives most images the same codes in both engines, and a few of them others.
_USUAL = 5.0


def usual_difference(
    reference: Outputs,
    other: Outputs,
    statistics: npt.NDArray[np.float32],
    calibration: Calibration,
) -> Difference:
    """Bound the differences that rounding causes, from those measured on the same N images.

    A fault on fewer than one image in 25 cannot hide in the bound that it widens itself, and one
    on more images shows in the RMSE of the logits. Arguments as of `decision_flips`.
    """
    log_odds = [_log_odds(o.logits / calibration.temperature) for o in (reference, other)]
    score = OodScore(calibration.out_of_distribution)
    scores = [[*map(score, o.feature_vector, statistics)] for o in (reference, other)]
    rms = (float(np.sqrt(np.square(np.subtract(*pair)).mean())) for pair in (log_odds, scores))
    return Difference(*(max(_LEAST_DIFFERENCE, _USUAL * value) for value in rms))


def tolerated_difference(
    expected: Outputs, tolerance: Tolerance, calibration: Calibration
) -> Difference:
    """Bound the differences that a bundle's golden tolerances allow.

    The tolerances come from the engines' measured difference. A few golden images alone could not
    tell a fault on all of them from rounding.
    """
    of_logits = tolerance.logits * float(expected.logits.std())
    of_features = tolerance.feature_vector * float(expected.feature_vector.std())
    ood = calibration.out_of_distribution
    # Two logits can move apart. Errors of features are independent, so their squares add up.
    log_odds = 2 * of_logits / calibration.temperature
    score = of_features * float(np.linalg.norm(ood.features)) / ood.threshold
    return Difference(max(_LEAST_DIFFERENCE, log_odds), max(_LEAST_DIFFERENCE, score))


def decision_flips(
    reference: Outputs,
    other: Outputs,
    statistics: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
    near: Difference,
) -> int:
    """Count images whose decision changes although the reference is clear.

    A decision changes if the label, the set of labels or the decision differs. The reference is
    clear if a value that decides has crossed its threshold from further away than `near`.

    Args:
        reference: outputs for N images.
        other: outputs of another engine for the same images.
        statistics: float32 (N, L), `image_statistics` of the images.
        labels: C names.
        alert_labels: those that are never dropped silently from the set.
        calibration: thresholds of both.
        near: differences that are no fault of an engine.
    """
    count = 0
    ood_score = OodScore(calibration.out_of_distribution)
    for i in range(len(reference.logits)):
        before, after = (
            decide(
                outputs.logits[i],
                ood_score(outputs.feature_vector[i], statistics[i]),
                (),
                labels,
                alert_labels,
                calibration,
            )
            for outputs in (reference, other)
        )
        if _outcome(before) != _outcome(after):
            margins = threshold_margins(before, calibration)
            margins_after = threshold_margins(after, calibration)
            count += any(
                abs(margin) > (near.ood_score if name in OOD_MARGINS else near.log_odds)
                and (margin >= 0) != (margins_after[name] >= 0)
                for name, margin in margins.items()
            )
    return count


def _log_odds(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Log-odds (N, C) of each label against all others, exact also for certain labels."""
    scaled = logits.astype(np.float64)
    own = np.eye(scaled.shape[1], dtype=bool)
    others = np.where(own, -np.inf, scaled[:, None])  # (N, C, C)
    against: npt.NDArray[np.float64] = np.logaddexp.reduce(others, axis=2)
    return scaled - against


def _outcome(verdict: Verdict) -> tuple[str, frozenset[str], str]:
    # Labels in the set are sorted by probability; no threshold decides their order.
    return verdict.label, frozenset(verdict.label_set), verdict.decision
