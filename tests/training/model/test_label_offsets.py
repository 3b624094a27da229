"""Offsets of the logits make the probabilities fit the shares of the labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.label_offsets import add_label_offsets, fit_label_offsets


def test_labels_drawn_from_the_probabilities_need_no_offset_and_shifted_ones_that_shift():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    drawn = softmax(logits, axis=1).cumsum(1) > rng.random((20_000, 1))
    truth = drawn.argmax(1)
    assert fit_label_offsets(logits, truth) == pytest.approx(np.zeros(4), abs=0.06)
    wrong = np.array([1.5, -2.0, 0.2, 0.3])
    for temperature in (1, 3):  # of the logits: what `calibrate` fits later does not matter
        shifted = (logits - wrong) * temperature
        offsets = fit_label_offsets(shifted, truth) / temperature
        assert offsets == pytest.approx(wrong, abs=0.06)


def test_a_label_that_no_image_has_gets_a_finite_offset():
    offsets = fit_label_offsets(np.zeros((50, 3), np.float32), np.repeat([0, 1], 25))
    assert np.isfinite(offsets).all()
    assert offsets[2] < min(offsets[:2])


@pytest.mark.parametrize(
    ("backbones", "classes", "head"),
    [
        (("test_efficientnet",), 4, "softmax"),
        (("test_efficientnet", "test_resnet"), 3, "softmax"),
        (("test_efficientnet",), 2, "sigmoid"),
    ],
)
def test_the_network_s_logits_move_by_the_offsets_and_its_maps_do_not(backbones, classes, head):
    torch.manual_seed(0)
    network = Ensemble(backbones, classes, head=head).eval()
    images = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    offsets = np.linspace(-1, 1, classes)
    with torch.inference_mode():
        before = network.explain(images)
        add_label_offsets(network, offsets)
        after = network.explain(images)
    moved = (after.logits - before.logits).numpy()
    assert moved == pytest.approx(np.tile(offsets, (3, 1)), abs=1e-5)
    assert torch.equal(before.saliency_map, after.saliency_map)
