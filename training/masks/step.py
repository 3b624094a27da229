"""The loss of a decoder of lesion masks on one batch."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor

from orthoedge.training.data.loader import HEALTHY, Batch
from orthoedge.training.loop.step import Stepper
from orthoedge.training.masks.data import SHOWN
from orthoedge.training.masks.network import spread
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe import Recipe
from orthoedge.training.segmentation.step import dice, outline_loss


class MaskStepper(Stepper[Ensemble]):
    """A decoder in training; the classifier below it does not change.

    Args:
        recipe: every setting, as of the decoder's training.
        network: on its device.
        fabric: of this process.
        steps: per epoch.
    """

    backbone_part = ".backbone."

    def __init__(self, recipe: Recipe, network: Ensemble, fabric: Fabric, steps: int) -> None:
        assert network.decoder is not None
        network.requires_grad_(False)
        network.decoder.requires_grad_(True)
        super().__init__(recipe, network, fabric, steps, ("mask_logits",))
        labels = recipe.labels
        self._healthy = labels.index(HEALTHY) if HEALTHY in labels else -1

    def loss(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mean outline loss; reports it with the Dice. Arguments and result as of `Stepper.loss`.

        An image whose label is a lesion's and whose mask is empty does not count: either its mask
        is not known, or the view does not show the lesion.
        """
        self.network.eval()  # else running statistics of the classifier would change
        size = batch.images.shape[2]
        logits = spread(self.model.mask_logits(batch.images).float(), size)[:, 0]
        target = batch.lesion.float() / SHOWN
        lesion = target > 0.5
        counted = (batch.truth == self._healthy) | lesion.flatten(1).any(1)
        losses = outline_loss(logits, target, self.recipe.mask.miss_weight) * counted
        with torch.no_grad():
            count = counted.sum()
            score = (dice(logits >= 0, lesion) * counted).sum()
            reported = torch.stack((losses.sum().detach(), score, count.to(score)))
        return losses.sum() / count.clamp(min=1), reported
