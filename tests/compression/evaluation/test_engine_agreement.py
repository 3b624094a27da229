"""Consistent engines pass; a changed decision counts if no value was near a threshold."""

import msgspec
import numpy as np
import pytest

from orthoedge.compression.evaluation.engine_agreement import compare_engines, logit_rmse
from orthoedge.runtime.bundles.manifest import Calibration, OutOfDistribution
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS
from orthoedge.targets.isa_limit import ISA_LIMITS, why_unavailable
from orthoedge.targets.verification import decision_flips

LABELS = ("fracture", "healthy", "tumor")
CALIBRATION = Calibration(
    temperature=1.0,
    conformal_coverage=0.95,
    conformal_quantile=0.7,
    operating_points={"fracture": 0.9, "healthy": 0.9, "tumor": 0.1},
    out_of_distribution=OutOfDistribution(
        features=(1.0,),
        statistics_mean=(0.0,) * STATISTICS_SIZE,
        statistics_std=(1.0,) * STATISTICS_SIZE,
        statistics_weights=(0.0,) * STATISTICS_TERMS,
        offset=0.0,
        threshold=1.0,
        reject=4.0,
    ),
)
STATISTICS = np.zeros((1, STATISTICS_SIZE), np.float32)


def outputs(probabilities, distance=0.25):
    logits = np.log(np.array([probabilities], np.float32))
    features = np.array([[distance]], np.float32)
    return Outputs(logits, features, features)


def flipped(before, after):
    return decision_flips(before, after, STATISTICS, LABELS, ("tumor",), CALIBRATION)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (outputs([0.52, 0.47, 0.01]), outputs([0.47, 0.52, 0.01])),  # another label
        (outputs([0.73, 0.25, 0.02]), outputs([0.64, 0.34, 0.02])),  # into the set
        (outputs([0.92, 0.01, 0.07]), outputs([0.86, 0.01, 0.13])),  # into the set, by alert
        (outputs([0.98, 0.01, 0.01], 0.97), outputs([0.98, 0.01, 0.01], 1.03)),  # to be referred
        (outputs([0.98, 0.01, 0.01], 3.90), outputs([0.98, 0.01, 0.01], 4.10)),  # to be rejected
    ],
)
def test_an_answer_that_changes_far_from_its_threshold_is_a_flip(before, after):
    assert flipped(before, after) == 1
    assert flipped(after, before) == 1
    assert flipped(before, before) == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (outputs([0.50, 0.49, 0.01]), outputs([0.49, 0.50, 0.01])),
        (outputs([0.69, 0.29, 0.02]), outputs([0.67, 0.31, 0.02])),
        (outputs([0.90, 0.01, 0.09]), outputs([0.86, 0.01, 0.13])),
        (outputs([0.98, 0.01, 0.01], 0.99), outputs([0.98, 0.01, 0.01], 1.03)),
        (outputs([0.98, 0.01, 0.01], 3.95), outputs([0.98, 0.01, 0.01], 4.10)),
    ],
)
def test_an_answer_that_was_near_its_threshold_may_change(before, after):
    assert flipped(before, after) == 0


def test_a_number_near_a_threshold_excuses_no_other_number():
    # Healthy is near the threshold of the set and stays where it is; tumor comes in from afar.
    assert flipped(outputs([0.65, 0.29, 0.06]), outputs([0.59, 0.29, 0.12])) == 1


def test_a_threshold_that_is_crossed_without_a_consequence_is_no_flip():
    # Tumor is the label already: that it passes its conformal threshold too changes nothing there.
    low = msgspec.structs.replace(CALIBRATION, conformal_quantile=0.4)
    before, after = outputs([0.32, 0.12, 0.56], 2.0), outputs([0.25, 0.09, 0.66], 2.0)
    assert decision_flips(before, after, STATISTICS, LABELS, ("tumor",), low) == 0


def test_the_rmse_is_in_standard_deviations_of_the_reference():
    logits = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    before, after = Outputs(logits, logits, logits), Outputs(logits + 0.1, logits, logits)
    assert logit_rmse(before, after) == pytest.approx(0.1 / logits.std(), rel=1e-5)


def test_the_engines_of_this_machine_agree_and_the_others_say_why_not(small_bundle):
    manifest = small_bundle.manifest
    images = np.random.default_rng(1).integers(0, 256, (20, 1, 32, 32), dtype=np.uint8)
    results = compare_engines(
        small_bundle.model("int8"),
        32,
        "int8",
        images,
        manifest.labels,
        manifest.alert_labels,
        manifest.calibration["int8"],
    )
    assert [part.engine for part in results] == [
        "onnxruntime",
        *(f"openvino {c}" for c in ISA_LIMITS),
    ]
    assert [part.skipped for part in results] == ["", *(why_unavailable(cap) for cap in ISA_LIMITS)]
    for part in results:
        assert part.images == (0 if part.skipped else 20)
        # Rounding of float32 sums; an INT8 sum that saturates is off by tenths.
        assert part.logit_rmse < 0.02
        assert part.label_changes == part.decision_flips == 0
        assert part.skipped in str(part)
        assert msgspec.json.decode(msgspec.json.encode(part), type=type(part)) == part
