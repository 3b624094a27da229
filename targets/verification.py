"""Does an engine give a bundle's golden answers, and do its outputs hold together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.bundles.manifest import Calibration
from orthoedge.runtime.decision import OodScore, Verdict, decide, threshold_margins
from orthoedge.runtime.engine import Engine, Outputs
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.preprocess import Pixels

_BATCH_TOLERANCE = 1e-4  # float32 rounding: kernels may sum in another order for another batch


@dataclass(frozen=True)
class ParityCheck:
    """One line of `orthoedge verify`."""

    name: str
    measured: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a value that is not a number never passes."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {self.name}: {self.measured:.2g} (limit {self.limit:.2g})"


def check_engine(bundle: Bundle, engine: Engine) -> list[ParityCheck]:
    """Run the golden images and check answers and invariants.

    Differences are the largest |difference| over the standard deviation of what is expected, so
    that one limit serves tensors of every scale.
    """
    manifest = bundle.manifest
    images = bundle.golden_images()
    expected = bundle.golden_outputs(engine.precision)
    outputs = engine.run(images)
    where = f"{engine.name} {engine.precision}"
    limit = manifest.golden.tolerance[engine.precision]
    checks = [
        ParityCheck(f"{where} golden {name}", deviation(got, wanted), allowed)
        for name, got, wanted, allowed in (
            ("logits", outputs.logits, expected.logits, limit.logits),
            ("saliency_map", outputs.saliency_map, expected.saliency_map, limit.saliency_map),
            (
                "feature_vector",
                outputs.feature_vector,
                expected.feature_vector,
                limit.feature_vector,
            ),
        )
    ]
    graph = manifest.graph
    shapes = (
        outputs.logits.shape[1:] == (graph.classes,),
        outputs.feature_vector.shape[1:] == (graph.features,),
        outputs.saliency_map.shape[1:] == (graph.classes, graph.map_height, graph.map_width),
    )
    checks.append(ParityCheck(f"{where} shapes unlike the manifest", shapes.count(False), 0))
    negative = max(0.0, -float(outputs.saliency_map.min()))
    checks.append(ParityCheck(f"{where} negative saliency", negative, 0))
    changed = _changed(bundle, engine, images, expected, outputs) if all(shapes) else len(images)
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


def _changed(
    bundle: Bundle, engine: Engine, images: Pixels, expected: Outputs, outputs: Outputs
) -> int:
    manifest = bundle.manifest
    calibration = manifest.calibration_for(engine.precision)
    looks = np.stack([image_statistics(image[0]) for image in images])
    return decision_flips(
        expected, outputs, looks, manifest.labels, manifest.alert_labels, calibration
    )


def deviation(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Largest |difference| over the standard deviation of `expected`; infinite if shapes differ."""
    if got.shape != expected.shape:
        return float("inf")
    return float(np.abs(got - expected).max() / max(float(expected.std()), 1e-12))


_NEAR = 0.02  # a number this close to its threshold may fall on either side of it


def decision_flips(
    reference: Outputs,
    other: Outputs,
    looks: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
) -> int:
    """Count images that are decided otherwise though the reference's numbers left no doubt.

    Label, set of labels or decision differ, and a number that decides has crossed its threshold
    from more than 0.02 away: in probability, or relative for the distance from the training images.
    `looks` are those of the images, float32 (N, L).
    """
    count = 0
    distance = OodScore(calibration.out_of_distribution)
    for i in range(len(reference.logits)):
        before, after = (
            decide(
                part.logits[i],
                distance(part.feature_vector[i], looks[i]),
                (),
                labels,
                alert_labels,
                calibration,
            )
            for part in (reference, other)
        )
        if _said(before) != _said(after):
            was, now = (threshold_margins(said, calibration) for said in (before, after))
            count += any(
                abs(margin) > _NEAR and (margin >= 0) != (now[name] >= 0)
                for name, margin in was.items()
            )
    return count


def _said(verdict: Verdict) -> tuple[str, frozenset[str], str]:
    # The order within the set is that of the probabilities, and no threshold decides it.
    return verdict.label, frozenset(verdict.label_set), verdict.decision
