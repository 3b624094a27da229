"""Outlines of a network on a set of images, and how they agree with the masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from orthoedge.benchmarks.metrics.bootstrap import Array
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.evaluation.predictions import images_at_once
from orthoedge.training.progress import Progress
from orthoedge.training.segmentation.data import Mask, OutlinedDataset
from orthoedge.training.segmentation.froc import Marks, mark
from orthoedge.training.segmentation.overlap import Overlap, overlap
from orthoedge.training.segmentation.step import dice, outline_loss


class Scores(NamedTuple):
    """What is measured after every epoch, of N images."""

    loss: npt.NDArray[np.float32]
    """(N,)."""
    dice: npt.NDArray[np.float32]
    """(N,); 1 where both outline and mask are empty."""
    has_lesion: npt.NDArray[np.bool_]
    """(N,) whether the mask is not empty."""


@dataclass(frozen=True)
class Outlines:
    """Outlines of a network in float32 on N images, where the probability is 0.5 or more."""

    size: int
    """Side S of the masks."""
    packed: npt.NDArray[np.uint8]
    """(N, bytes), one bit per pixel."""
    has_lesion: npt.NDArray[np.bool_]
    """(N,) whether the mask is not empty."""
    is_outlined: npt.NDArray[np.bool_]
    """(N,) whether the outline is not empty."""
    overlaps: Array
    """(4, N), the fields of `Overlap`."""
    marks: tuple[Marks, ...]
    """Of each image."""

    def mask(self, index: int) -> Mask:
        """Outline of one image, bool (S, S)."""
        bits = np.unpackbits(self.packed[index], count=self.size**2)
        return bits.reshape(self.size, self.size).astype(bool)


def predict(network: nn.Module, data: RadiographDataset) -> Iterator[tuple[range, torch.Tensor]]:
    """Run images through a network that gives logits (B, 1, S, S), in float32.

    Yields:
        Indices of some images, and their logits, float32 (n, S, S) on the CPU.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    batch = images_at_once(data.images[0].size, device)
    network.eval()
    for start in range(0, len(data), batch):
        images = torch.from_numpy(data.images[start : start + batch, None]).to(device)
        with torch.inference_mode():
            yield range(start, start + len(images)), network(images)[:, 0].float().cpu()


def score(network: nn.Module, data: OutlinedDataset, miss_weight: float) -> Scores:
    """Loss and Dice of each image; `miss_weight` as in the recipe."""
    losses, scores, lesions = [], [], []
    with torch.inference_mode():
        for indices, logits in predict(network, data):
            truth = torch.from_numpy(np.stack([data.mask(index) for index in indices]))
            losses.append(outline_loss(logits, truth, miss_weight))
            scores.append(dice(logits >= 0, truth))
            lesions.append(truth.flatten(1).any(1))
        parts = (torch.cat(values).numpy() for values in (losses, scores, lesions))
    return Scores(*parts)


def outline(network: nn.Module, data: OutlinedDataset, progress: bool | None = None) -> Outlines:
    """Outline every image and compare with its mask.

    Args:
        network: left in eval mode.
        data: N images.
        progress: show a bar; default: where stderr is a terminal.
    """
    size = data.images.shape[1]
    packed = np.empty((len(data), (size * size + 7) // 8), np.uint8)
    overlaps: list[Overlap] = []
    marks: list[Marks] = []
    has_lesion, is_outlined = np.zeros(len(data), bool), np.zeros(len(data), bool)
    with Progress("outlines", len(data), "images", progress) as shown:
        for indices, batch in predict(network, data):
            for index, logits in zip(indices, batch.numpy(), strict=True):
                lesion, found = data.mask(index), logits >= 0
                packed[index] = np.packbits(found)
                has_lesion[index], is_outlined[index] = lesion.any(), found.any()
                overlaps.append(overlap(found, lesion))
                marks.append(mark(logits, lesion))
                shown.advance()
    columns = np.array(overlaps, np.float64).reshape(-1, len(Overlap._fields)).T
    return Outlines(size, packed, has_lesion, is_outlined, columns, tuple(marks))
