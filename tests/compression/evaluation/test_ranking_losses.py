"""Losses of AUC are counted within a source, and those of alerts at each network's own point."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from orthoedge.compression.calibration.calibrate import calibrate
from orthoedge.compression.evaluation.ranking_losses import alert_losses, auc_losses
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
    """Two sources, of which the second has no fractures."""
    records = read_index(phantoms)
    half = [replace(record, source="ab"[n // 4 % 2]) for n, record in enumerate(records)]
    chosen = [record for record in half if (record.source, record.label) != ("b", "fracture")]
    return RadiographDataset(chosen, LABELS, PREPROCESS)


def outputs(data, noise, seed):
    rng = np.random.default_rng(seed)
    logits = 2 * np.eye(4)[data.labels] + rng.normal(size=(len(data), 4)) * noise
    logits = logits.astype(np.float32)
    return Outputs(logits, logits, logits)


def auc(logits, data, source, positive, negative):
    own = np.array([r.source == source for r in data.records])
    own &= np.isin(data.labels, [*positive, *negative])
    both = np.exp(logits[own].astype(np.float64))
    score = both[:, positive].sum(1) / both[:, [*positive, *negative]].sum(1)
    return roc_auc_score(np.isin(data.labels[own], positive), score)


def test_the_auc_is_lost_within_each_source(data):
    teacher, student = outputs(data, 1, 0), outputs(data, 3, 1)
    losses = {loss.name: loss for loss in auc_losses(student, teacher, data)}
    asked = {
        "a fracture AUC drop": ("a", [0], [1]),
        "a tumour AUC drop": ("a", [2, 3], [1]),
        "a malignancy AUC drop": ("a", [3], [2]),
        "b tumour AUC drop": ("b", [2, 3], [1]),
        "b malignancy AUC drop": ("b", [3], [2]),
    }
    assert losses.keys() == asked.keys()
    for name, question in asked.items():
        before, after = (auc(one.logits, data, *question) for one in (teacher, student))
        assert losses[name].drop == pytest.approx(before - after)
        assert losses[name].interval[0] < losses[name].drop < losses[name].interval[1]
    assert all(loss.drop > 0 for loss in losses.values())
    same = auc_losses(teacher, teacher, data)
    assert [(loss.drop, loss.interval) for loss in same] == [(0, (0, 0))] * 5


def test_an_alert_is_lost_at_each_network_s_own_point(data):
    teacher, student = outputs(data, 1, 0), outputs(data, 3, 1)
    point = [calibrate(one, data.labels, LABELS, 0.9, 0.9) for one in (teacher, student)]
    (lost,) = alert_losses(student, point[1], teacher, point[0], data, ("tumor-malignant",))
    assert lost.drop == 0  # both reach what they were calibrated to
    (own,) = alert_losses(student, point[0], teacher, point[0], data, ("tumor-malignant",))
    shares = [
        (
            softmax(one.logits[data.labels == 3] / point[0].temperature, axis=1)[:, 3]
            >= point[0].operating_points["tumor-malignant"]
        ).mean()
        for one in (teacher, student)
    ]
    assert own.drop == pytest.approx(shares[0] - shares[1])
    assert own.drop > 0
    assert own.interval[0] > 0
