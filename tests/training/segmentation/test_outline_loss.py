"""The outline loss: agrees with its library where it can, and stands tiny lesions and none."""

import pytest
import torch
from segmentation_models_pytorch.losses import TverskyLoss
from torch.nn import functional as F

from orthoedge.training.segmentation.overlap import overlap
from orthoedge.training.segmentation.step import dice, outline_loss

SIDE = 64
PIXELS = 20  # weight of the cross-entropy


def lesion(side):
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 8 : 8 + side, 8 : 8 + side] = 1
    return mask


@pytest.mark.parametrize("miss_weight", [0.3, 0.5, 0.7])
def test_one_image_has_the_librarys_tversky_and_torchs_cross_entropy(miss_weight):
    torch.manual_seed(0)
    logits, truth = torch.randn(1, SIDE, SIDE), lesion(20)
    tversky = TverskyLoss("binary", smooth=0.0, alpha=1 - miss_weight, beta=miss_weight, gamma=1.0)
    wanted = tversky(logits[:, None], truth[:, None])
    wanted += PIXELS * F.binary_cross_entropy_with_logits(logits, truth)
    (loss,) = outline_loss(logits, truth, miss_weight)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)


def test_a_tiny_lesion_counts_as_much_as_a_large_one():
    missed = [outline_loss(torch.full((1, SIDE, SIDE), -9.0), lesion(n), 0.5) for n in (4, 40)]
    found = [outline_loss(lesion(n) * 18 - 9, lesion(n), 0.5) for n in (4, 40)]
    gains = [float(a - b) for a, b in zip(missed, found, strict=True)]
    assert min(gains) > 0.8


def test_an_empty_mask_costs_nothing_if_nothing_is_outlined_and_a_false_alarm_does():
    empty = torch.zeros(1, SIDE, SIDE)
    clean = outline_loss(torch.full((1, SIDE, SIDE), -14.0), empty, 0.5)
    alarm = outline_loss(lesion(4) * 28 - 14, empty, 0.5)
    assert float(clean) < 0.01
    assert float(alarm) == pytest.approx(PIXELS * 14 * 16 / SIDE**2, rel=1e-2)  # 16 pixels at 14


def test_an_empty_mask_does_not_outweigh_a_lesion_where_nothing_is_outlined():
    """Else a network on a set that is half empty masks learns to outline nothing."""
    logits = torch.full((2, SIDE, SIDE), -8.0, requires_grad=True)
    truth = torch.cat((lesion(24), torch.zeros(1, SIDE, SIDE)))
    outline_loss(logits, truth, 0.6).sum().backward()
    pull = logits.grad[0][truth[0] > 0].mean()
    push = logits.grad[1][truth[0] > 0].mean()
    assert float(-pull) > 100 * float(push) > 0


def test_gradients_are_finite_and_push_the_right_way_on_an_empty_mask():
    logits = torch.zeros(2, SIDE, SIDE, requires_grad=True)
    outline_loss(logits, torch.zeros(2, SIDE, SIDE), 0.6).sum().backward()
    assert bool(torch.isfinite(logits.grad).all())
    assert bool((logits.grad > 0).all())


def test_dice_of_a_batch_is_that_of_each_image():
    torch.manual_seed(0)
    outlines, lesions = torch.rand(3, 9, 9) > 0.5, torch.rand(3, 9, 9) > 0.5
    outlines[2] = lesions[2] = False
    wanted = [overlap(a.numpy(), b.numpy()).dice for a, b in zip(outlines, lesions, strict=True)]
    assert dice(outlines, lesions).tolist() == pytest.approx(wanted)
