"""The audit of a network finds what was planted in it, and nothing in a network without it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.evaluation import network_audit
from orthoedge.training.evaluation.network_audit import audit_network, probe_source
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe_file import load_recipe

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> RadiographDataset:
    """Blurred noise from two sources; four images of a patient."""
    folder, records = tmp_path_factory.mktemp("images"), []
    for number in range(240):
        noise = RNG.uniform(0, 255, (80, 70)).astype(np.float32)
        pixels = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 20, 220, cv2.NORM_MINMAX)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels.astype(np.uint8))
        label = "non-affected" if number % 4 else "fracture"
        records.append(ImageRecord(path, label, f"p{number // 4}", source="ab"[number // 4 % 2]))
    return RadiographDataset(records, LABELS, load_recipe("tiny").preprocess, progress=False)


def test_features_that_hold_the_source_are_found_and_noise_is_not(data):
    features = RNG.normal(size=(240, 12))
    source = np.array([record.source == "a" for record in data.records])
    blind = probe_source(features, data, 0)
    assert blind is not None
    assert (blind.sources, blind.images) == (("a", "b"), 180)
    assert 0.4 < blind.auc.value < 0.6  # 45 patients: about 0.05 either way
    seeing = probe_source(features + source[:, None] * np.eye(12)[3] * 6, data, 0)
    assert seeing is not None
    assert seeing.auc.low > 0.9


def test_patients_who_are_alike_do_not_pass_for_a_source(data):
    """Features that name the patient say nothing about the source of other patients."""
    patient = np.array([int(record.patient_id[1:]) for record in data.records])
    features = RNG.normal(size=(60, 40))[patient] * 5
    probe = probe_source(features, data, 0)
    assert probe is not None
    assert probe.auc.low < 0.55


def test_one_source_cannot_be_probed(data):
    rows = [i for i, record in enumerate(data.records) if record.source == "a"]
    recipe = load_recipe("tiny")
    records = [data.records[i] for i in rows]
    alone = RadiographDataset(records, LABELS, recipe.preprocess, progress=False)
    assert probe_source(np.zeros((len(rows), 3)), alone, 0) is None


def test_a_network_that_looks_at_nothing_does_not_move_and_one_that_looks_does(data, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(network_audit, "_MOST", 24)
    recipe = load_recipe("tiny")
    network = Ensemble(("test_resnet",), 4).eval()
    features = np.zeros((240, 3), np.float32)
    with torch.no_grad():
        network.branches[0].head.weight.mul_(300)  # far apart logits from random weights
    moving = audit_network(network, features, data, recipe.preprocess, 0)
    assert moving.images == 24
    assert len(moving.shifts) == 6
    assert all(shift.moved > 0 for shift in moving.shifts)
    with torch.no_grad():
        network.branches[0].head.weight.zero_()
    still = audit_network(network, features, data, recipe.preprocess, 0)
    assert [(shift.moved, shift.labels) for shift in still.shifts] == [(0, 0)] * 6
