"""Flips are counted on the same images, and their interval is that of a paired comparison."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from orthoedge.compression.evaluation.flips import Flips, count_flips
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import read_index

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
PREPROCESS = Preprocess(
    size=32, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


@pytest.fixture(scope="module")
def data(phantoms):
    return RadiographDataset(read_index(phantoms), LABELS, PREPROCESS)


def predicting(labels):
    logits = np.eye(4, dtype=np.float32)[labels]
    return Outputs(logits, logits, logits)


def wrong_at(data, images):
    labels = data.labels.copy()
    labels[images] = (labels[images] + 1) % 4
    return predicting(labels)


def test_flips_are_the_two_corners_of_the_paired_table(data):
    from sklearn.metrics import accuracy_score, recall_score

    rng = np.random.default_rng(0)
    teacher, student = (wrong_at(data, rng.random(len(data)) < share) for share in (0.3, 0.4))
    flips = count_flips(student, teacher, data, LABELS)
    assert [part.label for part in flips] == [None, *LABELS]
    before, after = (one.logits.argmax(1) for one in (teacher, student))
    right = (before == data.labels, after == data.labels)
    assert flips[0].images == len(data)
    assert flips[0].negative == (right[0] & ~right[1]).sum()
    assert flips[0].positive == (~right[0] & right[1]).sum()
    scores = [accuracy_score(data.labels, predicted) for predicted in (before, after)]
    assert flips[0].net == pytest.approx(scores[0] - scores[1])
    recalls = [recall_score(data.labels, predicted, average=None) for predicted in (before, after)]
    for part, drop in zip(flips[1:], recalls[0] - recalls[1], strict=True):
        assert part.net == pytest.approx(drop)
    assert sum(part.negative for part in flips[1:]) == flips[0].negative


def test_the_interval_is_that_of_paired_differences(data):
    teacher, student = wrong_at(data, np.arange(0, 40)), wrong_at(data, np.arange(20, 50))
    part, *_ = count_flips(student, teacher, data, LABELS)
    assert (part.negative, part.positive) == (10, 20)
    # sqrt(p - d²) / sqrt(N) for McNemar's difference d of discordant pairs p: every phantom is a
    # patient of its own. Unpaired, it would be 1.6 times as wide.
    discordant = 30 / len(data)
    deviation = np.sqrt((discordant - part.net**2) / len(data))
    low, high = part.interval
    assert low < part.net < high
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_images_of_one_patient_do_not_count_as_many(data):
    lost = np.flatnonzero(data.labels == 3)[:8]
    teacher, student = predicting(data.labels), wrong_at(data, lost)
    alone, *_ = count_flips(student, teacher, data, LABELS)
    assert alone.interval[0] > 0
    same = [
        replace(record, patient_id="P" if number in lost else record.patient_id)
        for number, record in enumerate(data.records)
    ]
    one = RadiographDataset(same, LABELS, PREPROCESS)
    together, *_ = count_flips(student, teacher, one, LABELS)
    assert together.net == alone.net
    assert together.interval[0] == 0  # another patient might have lost nothing


def test_the_same_answers_are_no_flip_and_the_record_reads_back(data):
    teacher = predicting(data.labels)
    for part in count_flips(teacher, teacher, data, LABELS):
        assert (part.negative, part.positive, part.interval) == (0, 0, (0, 0))
        assert msgspec.json.decode(msgspec.json.encode(part), type=Flips) == part


def test_a_line_says_what_was_lost_and_gained():
    part = Flips(label=None, images=1000, negative=36, positive=61, interval=(-0.045, -0.006))
    assert str(part) == "36 − 61 of 1000: -2.5 % [-4.5, -0.6]"
