"""Each step of the chain by itself: loss, cut, calibration, gate."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from orthoedge.benchmarks.metrics import softmax
from orthoedge.compression.calibrate import calibrate, conformal_quantile, fit_temperature
from orthoedge.compression.calibrate import operating_point as point
from orthoedge.compression.distil import distillation_loss
from orthoedge.compression.gate import Check
from orthoedge.compression.prune import check_prunable, cut
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import RecipeError
from orthoedge.training.cost import count_macs
from orthoedge.training.ensemble import Ensemble, Explained
from orthoedge.training.recipe_file import load_recipe

SETTINGS = load_recipe("tiny").compress


@pytest.fixture
def explained():
    torch.manual_seed(0)
    return Explained(torch.randn(6, 4), torch.rand(6, 4, 2, 2), torch.randn(6, 8))


def test_a_student_that_agrees_pays_only_for_the_labels(explained):
    truth = explained.logits.argmax(1)
    loss = distillation_loss(explained, explained.logits, explained.saliency_map, truth, SETTINGS)
    labels = torch.nn.functional.cross_entropy(explained.logits, truth)
    assert float(loss) == pytest.approx((1 - SETTINGS.soft_weight) * float(labels), rel=1e-4)


def test_another_map_costs_and_its_gradient_reaches_the_map(explained):
    truth = explained.logits.argmax(1)
    moved = explained.saliency_map.flip(3)
    same = distillation_loss(explained, explained.logits, explained.saliency_map, truth, SETTINGS)
    student = explained._replace(saliency_map=moved.requires_grad_())
    loss = distillation_loss(student, explained.logits, explained.saliency_map, truth, SETTINGS)
    assert loss > same
    loss.backward()
    assert moved.grad.abs().sum() > 0


def test_maps_of_two_sizes_are_compared(explained):
    larger = torch.rand(6, 4, 4, 4)
    truth = explained.logits.argmax(1)
    loss = distillation_loss(explained, explained.logits, larger, truth, SETTINGS)
    assert torch.isfinite(loss)


def test_a_cut_network_is_smaller_and_still_explains():
    student = Ensemble(("test_efficientnet",), 4).eval()
    smaller = cut(student, 0.5, 64)
    before, after = count_macs(student, 64), count_macs(smaller, 64)
    assert after[0] < 0.6 * before[0]
    assert after[1] < before[1]
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    assert smaller.explain(images).logits.shape == (2, 4)
    assert torch.isfinite(student.explain(images).logits).all()  # the original is untouched


def test_the_same_weights_are_cut_the_same_way():
    """A killed run makes the structure again from the weights it kept."""
    student = Ensemble(("test_efficientnet",), 4).eval()
    first, second = (cut(student, 0.3, 64).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_that_cannot_be_cut_is_refused_before_anything_is_distilled():
    with pytest.raises(RecipeError, match=r"rexnet_100 .*`--set compress\.prune_ratio=0`"):
        check_prunable("rexnet_100", 0.25)
    check_prunable("rexnet_100", 0.0)
    check_prunable("mobilenetv4_conv_small", 0.25)


def test_the_cost_is_that_of_the_layers():
    """A 3×3 convolution of c to k channels on s × s cells: 9·c·k·s² products."""
    sides = (64, 32, 16, 8, 4)
    widths = (1, 2, 4, 8, 16, 16)
    convolutions = sum(9 * c * k * s * s for (c, k), s in zip(pairwise(widths), sides, strict=True))
    macs, parameters = count_macs(Ensemble(("plain_cnn_2",), 3), 64)
    assert macs == convolutions + 16 * 3
    normalization = 2 * sum(widths[1:])
    weights = sum(9 * c * k for c, k in pairwise(widths))
    assert parameters == weights + normalization + 16 * 3 + 3 + 1  # and one fusion weight


def test_temperature_undoes_a_known_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 4))
    truth = np.array([rng.choice(4, p=p) for p in softmax(logits)])
    # Sampled from softmax(logits), so logits × 3 need a temperature of 3, up to sampling error.
    assert fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.1)


def test_conformal_sets_cover_what_they_promise():
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(0, 1.5, (6000, 4)))
    truth = np.array([rng.choice(4, p=p) for p in probabilities])
    quantile = conformal_quantile(probabilities[:3000], truth[:3000], 0.95)
    covered = probabilities[np.arange(3000, 6000), truth[3000:]] >= 1 - quantile
    # Binomial: three standard deviations of 3,000 draws at 0.95, on both halves, is 0.017.
    assert covered.mean() == pytest.approx(0.95, abs=0.017)


def test_too_few_images_for_a_promise_put_every_label_in_the_set():
    assert conformal_quantile(np.array([[0.9, 0.1]] * 10), np.zeros(10, int), 0.95) == 1.0


def test_the_operating_point_is_the_highest_that_keeps_the_sensitivity():
    own = np.arange(1, 101) / 100
    threshold = point(own, 0.95)
    assert np.mean(own >= threshold) >= 0.95
    assert np.mean(own >= threshold + 0.01) < 0.95
    assert point(own[:3], 0.95) == own[0]


def test_calibration_never_divides_by_a_silent_feature():
    rng = np.random.default_rng(2)
    features = np.maximum(rng.normal(0, 1, (50, 6)), 0).astype(np.float32)
    features[:, 0] = 0
    outputs = Outputs(rng.normal(0, 1, (50, 2)).astype(np.float32), features, features)
    result = calibrate(outputs, rng.integers(0, 2, 50), ("a", "b"), features)
    assert min(result.out_of_distribution.deviation) > 0
    assert result.out_of_distribution.threshold > 0


@pytest.mark.parametrize(
    ("measured", "limit", "at_most", "passed"),
    [
        (0.1, 0.2, True, True),
        (0.3, 0.2, True, False),
        (0.9, 0.8, False, True),
        (0.7, 0.8, False, False),
        (float("nan"), 0.8, True, False),
        (float("nan"), 0.8, False, False),
    ],
)
def test_a_check_holds_its_limit_and_never_passes_on_nan(measured, limit, at_most, passed):
    assert Check("int8", "x", measured, limit, at_most).passed is passed
