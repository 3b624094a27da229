"""Predictions of a network on a set of images, and their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import TrainingMetrics
from orthoedge.training.step import NEVER

_BATCH = 64
# On the CPU, 4 images of 224 × 224: the C library requests larger activations from the
# kernel again for every layer, and clearing their pages takes as long as the network.
_CPU_PIXELS = 4 * 224 * 224


@dataclass(frozen=True)
class Evaluation:
    """Outputs of a network in float32 on a set of images."""

    logits: npt.NDArray[np.float32]
    """(N, C)."""
    branch_logits: npt.NDArray[np.float32]
    """(B, N, C), each branch's own, before fusion."""
    saliency_map: npt.NDArray[np.float32]
    """(N, h, w) of each image's true class."""
    predicted_map: npt.NDArray[np.float32]
    """(N, h, w) of each image's predicted class."""
    features: npt.NDArray[np.float32]
    """(N, K), pooled."""
    loss: float
    accuracy: float
    confusion: npt.NDArray[np.int64]
    """(C, C)."""
    mask_peaks: npt.NDArray[np.float32] | None = None
    """(N, 2), x and y of the mask's highest cell as fractions of the input; None: no mask."""


def evaluate(network: Ensemble, data: RadiographDataset) -> Evaluation:
    """Run images through a network in float32, whatever its training precision.

    Of the maps (N, C, h, w) only two per image are stored: the true and the predicted class's.
    """
    device = next(network.parameters()).device
    batch = images_at_once(data.images[0].size, device)
    network.eval()
    parts, peaks = [], []
    with torch.inference_mode():
        for start in range(0, len(data), batch):
            chosen = slice(start, start + batch)
            truth = torch.from_numpy(data.labels[chosen])
            output = network.explain(torch.from_numpy(data.images[chosen, None]).to(device))
            rows = torch.arange(len(truth))
            maps, fused = output.saliency_map.cpu(), output.logits.cpu()
            branches = _branch_logits(network, output.feature_vector).cpu()
            own = output.feature_vector.cpu()
            if output.lesion_mask is not None:
                peaks.append(_peaks(output.lesion_mask).cpu())
            parts.append((fused, branches, maps[rows, truth], maps[rows, fused.argmax(1)], own))
    logits, branch_logits, true_maps, predicted_maps, features = zip(*parts, strict=True)
    fused = torch.cat(logits)
    truth, excluded = torch.from_numpy(data.labels), torch.from_numpy(~data.allowed)
    predicted = fused.argmax(1)
    return Evaluation(
        logits=fused.numpy(),
        branch_logits=torch.cat(branch_logits, 1).numpy(),
        saliency_map=torch.cat(true_maps).numpy(),
        predicted_map=torch.cat(predicted_maps).numpy(),
        features=torch.cat(features).numpy(),
        mask_peaks=torch.cat(peaks).numpy() if peaks else None,
        loss=float(F.cross_entropy(fused.masked_fill(excluded, NEVER), truth)),
        accuracy=float((predicted == truth).double().mean()),
        confusion=measure.confusion(data.labels, predicted.numpy(), fused.shape[1]),
    )


def _peaks(mask: Tensor) -> Tensor:
    """(B, 1, h, w) -> (B, 2), x and y of the highest cell's middle, 0 to 1."""
    height, width = mask.shape[2:]
    highest = mask.flatten(1).argmax(1)
    rows, columns = highest // width, highest % width
    return torch.stack(((columns + 0.5) / width, (rows + 0.5) / height), 1)


def images_at_once(pixels: int, device: torch.device) -> int:
    """Images of so many pixels that are best run together without gradients."""
    return max(1, _CPU_PIXELS // pixels) if device.type == "cpu" else _BATCH


def _branch_logits(network: Ensemble, features: Tensor) -> Tensor:
    """(N, K), the branches' pooled features side by side -> (B, N, C)."""
    branches: list[Any] = list(network.branches)
    widths = [int(branch.backbone.num_features) for branch in branches]
    pairs = zip(branches, torch.split(features, widths, 1), strict=True)  # type: ignore[no-untyped-call]
    logits = torch.stack([branch.head(own) for branch, own in pairs])
    return torch.cat((-logits / 2, logits / 2), 2) if network.sigmoid else logits


def training_metrics(
    evaluation: Evaluation,
    data: RadiographDataset,
    recipe: Recipe,
    network: Ensemble,
    val_macro_f1: float,
    best: int,
    epochs: int,
) -> TrainingMetrics:
    """Metrics on the test split of the best epoch, with its score on the validation split."""
    recall = measure.recalls(evaluation.confusion)
    marked = [(m, b) for m, b in zip(evaluation.saliency_map, data.boxes, strict=True) if b]
    pointed = [measure.points_at(saliency, boxes) for saliency, boxes in marked]
    probabilities = measure.softmax(evaluation.logits)
    return TrainingMetrics(
        images=len(data),
        accuracy=evaluation.accuracy,
        macro_f1=measure.macro_f1(evaluation.confusion),
        recall={n: float(r) for n, r in zip(recipe.labels, recall, strict=True) if not np.isnan(r)},
        loss=evaluation.loss,
        expected_calibration_error=measure.expected_calibration_error(probabilities, data.labels),
        pointing_game=float(np.mean(pointed)) if pointed else None,
        pointing_images=len(pointed),
        val_macro_f1=val_macro_f1,
        best_epoch=best,
        epochs=epochs,
        fusion=tuple(network.fusion().tolist()),
    )
