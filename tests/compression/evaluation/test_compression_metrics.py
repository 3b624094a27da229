"""Each metric against an independent implementation."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from orthoedge.benchmarks.metrics.classification import expected_calibration_error, softmax
from orthoedge.compression.evaluation.metrics import divergence, measure, saliency_cosine
from orthoedge.runtime.bundles.manifest import Confidence
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DataError, EngineError
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import read_index

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
CALIBRATION = Confidence(
    temperature=2.0,
    conformal_coverage=0.9,
    conformal_quantile=0.8,
    operating_points=dict.fromkeys(LABELS, 0.2),
)


PREPROCESS = Preprocess(
    size=32, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


def radiographs(studies):
    return RadiographDataset(studies, LABELS, PREPROCESS)


@pytest.fixture(scope="module")
def data(phantoms):
    return radiographs(read_index(phantoms))


def outputs_for(data, seed, side=4):
    """Outputs that are often right, whose maps have no relation to the image."""
    rng = np.random.default_rng(seed)
    count = len(data)
    logits = rng.normal(0, 2, (count, 4)) + 3 * np.eye(4)[data.labels]
    return Outputs(
        logits.astype(np.float32),
        rng.random((count, 4, side, side)).astype(np.float32),
        rng.random((count, 8)).astype(np.float32),
    )


def measured(outputs, teacher, data):
    return measure(outputs, teacher, data, LABELS, CALIBRATION, teacher_temperature=1.5)


def test_every_figure_is_what_another_implementation_gives(data):
    from scipy.stats import entropy, pearsonr
    from sklearn import metrics as sklearn

    student, teacher = outputs_for(data, 0), outputs_for(data, 1)
    metrics = measured(student, teacher, data)
    predicted, by_teacher = student.logits.argmax(1), teacher.logits.argmax(1)
    probabilities = softmax(student.logits, 2.0)
    centred = [one.logits - one.logits.mean(1, keepdims=True) for one in (student, teacher)]
    top = [one.saliency_map[np.arange(len(data)), by_teacher] for one in (student, teacher)]
    cosines = torch.cosine_similarity(*(torch.tensor(maps).flatten(1) for maps in top))
    sets = [np.flatnonzero(row >= 1 - 0.8) for row in probabilities]
    assert metrics.images == len(data)
    expected = {
        "accuracy": sklearn.accuracy_score(data.labels, predicted),
        "macro_f1": sklearn.f1_score(data.labels, predicted, average="macro"),
        "expected_calibration_error": expected_calibration_error(probabilities, data.labels),
        "coverage": np.mean([true in one for true, one in zip(data.labels, sets, strict=True)]),
        "set_size": np.mean([len(one) for one in sets]),
        "teacher_agreement": np.mean(predicted == by_teacher),
        "logit_correlation": pearsonr(centred[0].ravel(), centred[1].ravel()).statistic,
        "teacher_divergence": entropy(softmax(teacher.logits, 1.5), probabilities, axis=1).mean(),
        "saliency_cosine": float(cosines.mean()),
    }
    # Some of the others work in float32.
    assert {name: getattr(metrics, name) for name in expected} == pytest.approx(expected, rel=1e-5)
    recalls = sklearn.recall_score(data.labels, predicted, average=None)
    assert metrics.recall == pytest.approx(dict(zip(LABELS, recalls, strict=True)))


def test_a_map_that_peaks_in_the_lesion_wins_the_pointing_game(data):
    marked = np.array([bool(boxes) for boxes in data.boxes])
    assert 0 < marked.sum() < len(data)  # phantoms without a lesion do not take part
    teacher = outputs_for(data, 1)
    pointing, blind = (np.zeros((len(data), 4, 8, 8), np.float32) for _ in range(2))
    for image, boxes in enumerate(data.boxes):
        for x0, y0, x1, y1 in boxes:
            row, column = int((y0 + y1) * 4), int((x0 + x1) * 4)
            pointing[image, data.labels[image], row, column] = 1
            blind[image, (data.labels[image] + 1) % 4, row, column] = 1
    assert measured(replace(teacher, saliency_map=pointing), teacher, data).pointing_game == 1
    assert measured(replace(teacher, saliency_map=blind), teacher, data).pointing_game == 0


def test_the_teacher_agrees_with_itself_entirely(data):
    teacher = outputs_for(data, 1)
    itself = measure(teacher, teacher, data, LABELS, CALIBRATION, CALIBRATION.temperature)
    assert itself.teacher_agreement == 1
    assert itself.teacher_divergence == 0
    assert itself.logit_correlation == pytest.approx(1)
    assert itself.saliency_cosine == pytest.approx(1)


def test_what_is_added_to_all_logits_of_an_image_counts_for_nothing(data):
    student, teacher = outputs_for(data, 0), outputs_for(data, 1)
    added = np.linspace(-30, 30, len(data), dtype=np.float32)[:, None]
    before = measured(student, teacher, data)
    after = measured(replace(student, logits=student.logits + added), teacher, data)
    for name in ("logit_correlation", "teacher_divergence", "expected_calibration_error"):
        # float32 keeps 6 digits of a logit of 30
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-5)


def test_certain_answers_that_differ_have_a_finite_divergence():
    certain = np.array([[1000, 0], [0, 1000]], np.float32)
    assert divergence(certain, certain[::-1]) == pytest.approx(1000)


def test_constant_logits_correlate_with_nothing(data):
    teacher = outputs_for(data, 1)
    constant = replace(teacher, logits=np.ones_like(teacher.logits))
    assert measured(constant, teacher, data).logit_correlation == 0


def test_a_finer_map_of_the_same_picture_agrees_with_the_teachers(data):
    teacher = outputs_for(data, 1)
    # Four equal cells in place of each: bilinear resizing back to one averages them.
    finer = replace(teacher, saliency_map=teacher.saliency_map.repeat(2, axis=2).repeat(2, axis=3))
    assert saliency_cosine(finer, teacher) == pytest.approx(1, abs=1e-6)
    moved = replace(finer, saliency_map=finer.saliency_map[:, :, ::-1])
    assert saliency_cosine(moved, teacher) < 0.95


def test_a_resized_map_is_what_distillation_compares_with(data):
    student, teacher = outputs_for(data, 0, side=3), outputs_for(data, 1, side=7)
    rows, by_teacher = np.arange(len(data)), teacher.logits.argmax(1)
    small = torch.from_numpy(student.saliency_map[rows, by_teacher])[:, None]
    large = torch.nn.functional.interpolate(small, (7, 7), mode="bilinear", align_corners=False)
    wanted = torch.from_numpy(teacher.saliency_map[rows, by_teacher])
    expected = torch.cosine_similarity(large.flatten(1), wanted.flatten(1)).mean()
    # OpenCV's and torch's bilinear weights differ in the last float32 digits.
    assert saliency_cosine(student, teacher) == pytest.approx(float(expected), abs=1e-5)


def test_intervals_hold_the_value_and_know_of_groups(data):
    student, teacher = outputs_for(data, 0), outputs_for(data, 1)
    metrics = measured(student, teacher, data)
    values = {f"recall.{label}": value for label, value in metrics.recall.items()}
    for name in ("accuracy", "macro_f1", "pointing_game"):
        values[name] = getattr(metrics, name)
    assert set(metrics.intervals) == {*values, "expected_calibration_error"}
    for name, value in values.items():
        low, high = metrics.intervals[name]
        assert low < value < high
    # sqrt(p (1 - p) / N) is the binomial's standard deviation: every phantom is its own group.
    deviation = np.sqrt(metrics.accuracy * (1 - metrics.accuracy) / len(data))
    low, high = metrics.intervals["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    few = in_few_groups(data)
    wide = measured(student, teacher, few).intervals["accuracy"]
    assert wide[1] - wide[0] > 1.3 * (high - low)
    assert measured(student, teacher, few).intervals["accuracy"] == wide


def in_few_groups(data):
    """The same images as ten patients', each of whom is answered much the same."""
    right = outputs_for(data, 0).logits.argmax(1) == data.labels
    rank = np.argsort(np.argsort(right, kind="stable"))
    pairs = zip(data.records, rank, strict=True)
    return radiographs([replace(study, patient_id=f"P{number // 16}") for study, number in pairs])


def test_without_boxes_there_is_no_pointing_game_and_the_record_can_be_read_back(data):
    unmarked = radiographs([replace(study, boxes=()) for study in data.records])
    metrics = measured(outputs_for(data, 0), outputs_for(data, 1), unmarked)
    assert metrics.pointing_game is None
    assert "pointing_game" not in metrics.intervals
    read = msgspec.json.decode(msgspec.json.encode(metrics), type=type(metrics))
    assert read == metrics  # a NaN would have become null, which no figure may be


def test_a_label_without_an_image_is_refused_by_name(data):
    part = radiographs([study for study in data.records if study.label != "tumor-benign"])
    outputs = outputs_for(part, 0)
    with pytest.raises(DataError, match="label tumor-benign: none of the"):
        measured(outputs, outputs, part)


def test_batches_give_what_single_images_give(small_bundle, data):
    engine = open_model(small_bundle.model("fp32"), 32, "portable", "fp32")
    images = data.images[:35, None]  # two batches and a part of one
    together = run_batched(engine, images)
    alone = np.concatenate([engine.run(images[i : i + 1]).logits for i in range(35)])
    np.testing.assert_allclose(together.logits, alone, rtol=1e-5)  # other sums, other rounding
    assert len(together.saliency_map) == len(together.feature_vector) == 35


def test_logits_that_are_not_numbers_are_refused(small_bundle, data):
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(small_bundle.model("fp32"))
    (bias,) = [one for one in model.graph.initializer if one.name == "bias"]
    bias.CopyFrom(numpy_helper.from_array(np.array([np.nan, 0, 0], np.float32), "bias"))
    engine = open_model(model.SerializeToString(), 32, "portable", "fp32")
    with pytest.raises(EngineError, match="logits of 20 of 20 images are not finite"):
        run_batched(engine, data.images[:20, None])
