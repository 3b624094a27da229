"""The loss of an outline."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from orthoedge.training.data.loader import Batch
from orthoedge.training.loop.step import Stepper
from orthoedge.training.model.unet import ENCODER, UNet
from orthoedge.training.recipe import Recipe

_PIXELS = 20.0  # weight of the cross-entropy: missing a median benign tumour, 0.4 % of the image,
# then costs about a third of what its Tversky index costs
_TINY = 1e-6


class SegmentationStepper(Stepper[UNet]):
    """A U-Net in training.

    Args:
        recipe: every setting.
        miss_weight: as in the recipe's segmentation stage.
        network: on its device.
        fabric: of this process.
        steps: per epoch.
    """

    backbone_part = ENCODER

    def __init__(
        self, recipe: Recipe, miss_weight: float, network: UNet, fabric: Fabric, steps: int
    ) -> None:
        super().__init__(recipe, network, fabric, steps)
        self._miss_weight = miss_weight

    def loss(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mean outline loss; reports it with the Dice. Arguments and result as of `Stepper.loss`.

        The loss is a mean over images, so the mean of all processes' shares is that of the batch.
        """
        logits = self.model(batch.images)[:, 0].float()
        loss = outline_loss(logits, batch.lesion, self._miss_weight).mean()
        with torch.no_grad():
            count = len(batch.lesion)
            score = dice(logits >= 0, batch.lesion > 0).sum()
            return loss, torch.stack((loss * count, score, torch.full_like(loss, count)))


def outline_loss(logits: Tensor, lesion: Tensor, miss_weight: float) -> Tensor:
    """Cross-entropy of the pixels and, where there is a lesion, 1 - its Tversky index.

    Tversky (Salehi et al., arXiv:1706.05721) is taken per image and not over the batch: there, a
    fracture of a hundred pixels would count nothing next to a tumour of ten thousand. An empty mask
    has the cross-entropy alone. An index smoothed so that it has a meaning there asks every pixel
    to fall to 0, where a lesion's own index has no gradient left: on a set that is half empty
    masks, a network then learns to outline nothing. The gradient of the cross-entropy does not
    vanish, and keeps probabilities from being 0 or 1 only.

    Args:
        logits: float32 (B, H, W).
        lesion: (B, H, W), 1 in the lesion, else 0; of a soft target the cross-entropy takes all
            values, and the Tversky index those above 0.5 as lesion.
        miss_weight: of missed pixels against false ones, 0 to 1; 0.5 makes it Dice.

    Returns:
        float32 (B,).
    """
    target = lesion.float()
    pixels = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2))
    truth = (target > 0.5).float()
    probability = logits.sigmoid()
    hit = (probability * truth).sum((1, 2))
    missed = truth.sum((1, 2)) - hit
    false = probability.sum((1, 2)) - hit
    has_lesion = truth.flatten(1).any(1)
    wrong = miss_weight * missed + (1 - miss_weight) * false
    tversky = hit / (hit + wrong).clamp(min=_TINY)
    return _PIXELS * pixels + torch.where(has_lesion, 1 - tversky, 0.0)


def dice(outlined: Tensor, lesion: Tensor) -> Tensor:
    """Dice of bool (B, H, W) each, float32 (B,); 1 where both are empty."""
    both = (outlined & lesion).sum((1, 2)).float()
    total = (outlined.sum((1, 2)) + lesion.sum((1, 2))).float()
    return torch.where(total > 0, 2 * both / total.clamp(min=1), torch.ones_like(total))
