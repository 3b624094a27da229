"""What is said about a bundle's accuracy follows from its findings, and claims no more."""

from dataclasses import replace

import numpy as np
import pytest

from orthoedge.benchmarks.metrics.accuracy import evaluate, predict, verdict
from orthoedge.benchmarks.metrics.classification import confusion, expected_calibration_error
from orthoedge.benchmarks.metrics.labelled_data import LabelledSet, Prepared, prepare
from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.bundles.bundle import PHANTOM, PHANTOM_SAMPLES, read_bundle
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import EngineOptions, open_engine


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(PHANTOM)


def blank(truth, boxes=None, groups=None):
    """Radiographs of which only the labels matter."""
    images = len(truth)
    return Prepared(
        description="",
        model_inputs=np.zeros((images, 8, 8), np.uint8),
        statistics=np.zeros((images, 22), np.float32),
        quality_issues=((),) * images,
        truth=np.asarray(truth),
        boxes=((),) * images if boxes is None else boxes,
        groups=tuple(map(str, range(images))) if groups is None else groups,
    )


def saying(bundle, said, sure=8.0, maps=None):
    """Outputs with these labels."""
    graph, images = bundle.manifest.graph, len(said)
    shape = (images, graph.classes, graph.map_height, graph.map_width)
    return Outputs(
        logits=np.float32(sure) * np.eye(graph.classes, dtype=np.float32)[said],
        saliency_map=np.zeros(shape, np.float32) if maps is None else maps,
        feature_vector=np.zeros((images, graph.features), np.float32),
    )


def wrong_in(truth, places):
    said = np.array(truth)
    said[places] = (said[places] + 1) % 4
    return said


@pytest.mark.parametrize(
    ("target", "precision"), [("x86", "fp32"), ("x86", "int8"), ("portable", "int8")]
)
def test_the_figures_are_those_of_the_pipelines_findings(bundle, target, precision):
    labels = bundle.manifest.labels
    paths = sorted(PHANTOM_SAMPLES.glob("*.png"))
    truth = [next(label for label in labels if label in path.name) for path in paths]
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    turned = [255 - read_image(path).pixels for path in paths[:4]]
    labelled = LabelledSet(
        description="",
        images=(*paths, noise, *turned),
        labels=(*truth, labels[0], *truth[:4]),
        boxes=((),) * 13,
        groups=tuple(map(str, range(13))),
    )
    engine = open_engine(bundle, target, precision, options=EngineOptions(threads=1))
    pipeline = Pipeline(bundle, engine)
    findings = [pipeline(image) for image in labelled.images]
    prepared = prepare(bundle, labelled)
    found = evaluate(bundle, target, precision, predict(engine, prepared), prepared)

    said = np.array([labels.index(finding.label) for finding in findings])
    reported = np.array([finding.decision == "report" for finding in findings])
    # All kinds, or the test shows nothing.
    assert {finding.decision for finding in findings} == {"report", "refer", "reject"}
    right = said == prepared.truth
    probabilities = np.array([[f.probabilities[label] for label in labels] for f in findings])
    np.testing.assert_array_equal(found.confusion, confusion(prepared.truth, said, 4))
    assert found.images == 13
    assert found.accuracy.value == pytest.approx(right.mean())
    assert found.coverage.value == pytest.approx(reported.mean())
    assert found.accuracy_reported.value == pytest.approx(right[reported].mean())
    error = expected_calibration_error(probabilities, prepared.truth)
    assert found.ece.value == pytest.approx(error, abs=1e-6)  # of float32 logits
    assert sum(one.count for one in found.reliability) == 13
    assert found.pointing is found.agreement is found.holds_99 is found.share_of_reference is None


def test_agreement_and_share_are_paired_with_the_reference(bundle):
    rng = np.random.default_rng(3)
    truth = np.arange(800) % 4
    missed = rng.permutation(800)[:80]
    reference = saying(bundle, wrong_in(truth, missed))
    # The student misses what its teacher misses, and four more.
    student = saying(bundle, wrong_in(truth, [*missed, *np.setdiff1d(range(800), missed)[:4]]))
    found = evaluate(bundle, "x86", "int8", student, blank(truth), reference)
    assert found.agreement.value == pytest.approx(796 / 800)
    assert found.share_of_reference.value == pytest.approx(716 / 720, abs=0.002)
    # Unpaired, it could not be known better than the macro-F1 itself.
    width = found.share_of_reference.high - found.share_of_reference.low
    assert width < 0.4 * (found.macro_f1.high - found.macro_f1.low)
    assert found.share_of_reference.high < 1
    alert = bundle.manifest.labels.index("tumor-malignant")
    hits = np.array(found.confusion)[alert]
    assert found.alert_recall["tumor-malignant"].value == hits[alert] / hits.sum()


def test_the_verdict_holds_only_where_the_images_suffice(bundle):
    def verdict_of(truth, missed):
        same = saying(bundle, truth)
        student = saying(bundle, wrong_in(truth, missed))
        return evaluate(bundle, "x86", "int8", student, blank(truth), same).holds_99

    few, many = np.arange(120) % 4, np.arange(1200) % 4
    assert verdict_of(many, []) == "holds"
    assert verdict_of(few, []) == "cannot tell", "120 equal answers leave 3 % open"
    assert verdict_of(many, range(12)) == "cannot tell"
    assert verdict_of(many, range(100)) == "does not hold"
    assert verdict(Interval(value=1.0, low=0.99, high=1.01)) == "holds"
    assert verdict(Interval(value=0.99, low=0.98, high=0.99)) == "cannot tell"


def test_where_all_are_right_the_interval_is_the_exact_one(bundle):
    truth = np.arange(30) % 4
    alone = evaluate(bundle, "x86", "int8", saying(bundle, truth), blank(truth))
    assert (alone.accuracy.value, alone.accuracy.high) == (1, 1)
    assert alone.accuracy.low == pytest.approx(0.8843, abs=1e-4)  # 30 of 30, from the tables
    pairs = tuple(str(i // 2) for i in range(30))
    together = evaluate(bundle, "x86", "int8", saying(bundle, truth), blank(truth, groups=pairs))
    assert together.accuracy.low == pytest.approx(0.7820, abs=1e-4)  # 15 of 15


def test_the_map_of_the_true_label_is_held_against_the_box(bundle):
    graph = bundle.manifest.graph
    truth = np.array([0, 1, 2, 3, 3])
    maps = np.zeros((5, 4, graph.map_height, graph.map_width), np.float32)
    maps[np.arange(5), truth, 0, 0] = 1  # top left
    maps[:, :, -1, -1] += 0.5  # and weaker, of all labels, bottom right
    corner, far = ((0.0, 0.0, 0.1, 0.1),), ((0.6, 0.6, 0.7, 0.7),)
    boxes = (corner, (), corner, corner, far)
    outputs = saying(bundle, (truth + 1) % 4, maps=maps)
    found = evaluate(bundle, "x86", "int8", outputs, blank(truth, boxes))
    assert found.pointing.value == 0.75
    assert found.accuracy.value == 0


def test_a_calibration_error_lies_within_its_interval(bundle):
    """Without care it does not: resamples of answers that are well calibrated are all worse."""
    truth = np.arange(400) % 4
    temperature = bundle.manifest.calibration_for("fp32").temperature
    # Said with 0.9 and right in 0.9 of each label.
    sure = temperature * np.log(0.9 / (0.1 / 3))
    outputs = saying(bundle, wrong_in(truth, range(40)), sure)
    found = evaluate(bundle, "x86", "fp32", outputs, blank(truth)).ece
    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.low <= found.value <= found.high


def test_a_reference_of_other_labels_is_refused(bundle):
    truth = np.arange(8) % 4
    other = saying(bundle, truth)
    other = replace(other, logits=other.logits[:, :3])
    with pytest.raises(DataError, match="has 3 labels, the bundle 4"):
        evaluate(bundle, "x86", "int8", saying(bundle, truth), blank(truth), other)
