"""Each step of the chain by itself: loss and cut."""

from itertools import pairwise

import pytest
import torch

from orthoedge.compression.distillation.teacher_cache import DistillationBatch
from orthoedge.compression.distillation.train_student import distillation_loss
from orthoedge.compression.prune import check_prunable, cut
from orthoedge.runtime.errors import ConfigError
from orthoedge.training.model.ensemble import Ensemble, ModelOutput
from orthoedge.training.model.flops import count_macs
from orthoedge.training.recipe_file import load_recipe

SETTINGS = load_recipe("tiny").compress


@pytest.fixture
def explained():
    torch.manual_seed(0)
    return ModelOutput(torch.randn(6, 4), torch.rand(6, 4, 2, 2), torch.randn(6, 8))


def batch_of(explained, maps=None):
    """A batch whose teacher outputs are the student's own, except for given maps."""
    maps = explained.saliency_map if maps is None else maps
    truth = explained.logits.argmax(1)
    return DistillationBatch(
        images=torch.empty(0),
        truth=truth,
        allowed=torch.ones_like(explained.logits, dtype=torch.bool),
        lesion=torch.empty(0),
        logits=explained.logits,
        maps=maps,
    )


def test_a_student_that_agrees_pays_only_for_the_labels(explained):
    truth = explained.logits.argmax(1)
    loss = distillation_loss(explained, batch_of(explained), SETTINGS)
    labels = torch.nn.functional.cross_entropy(explained.logits, truth)
    assert float(loss) == pytest.approx((1 - SETTINGS.soft_weight) * float(labels), rel=1e-4)


def test_another_map_costs_and_its_gradient_reaches_the_map(explained):
    moved = explained.saliency_map.flip(3)
    same = distillation_loss(explained, batch_of(explained), SETTINGS)
    student = explained._replace(saliency_map=moved.requires_grad_())
    loss = distillation_loss(student, batch_of(explained), SETTINGS)
    assert loss > same
    loss.backward()
    assert moved.grad.abs().sum() > 0


def test_maps_of_two_sizes_are_compared(explained):
    larger = torch.rand(6, 4, 4, 4)
    loss = distillation_loss(explained, batch_of(explained, larger), SETTINGS)
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
    with pytest.raises(ConfigError, match=r"rexnet_100 .*`--set compress\.prune=`"):
        check_prunable("rexnet_100", (0.25,))
    check_prunable("rexnet_100", ())
    check_prunable("mobilenetv4_conv_small", (0.25,))


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
