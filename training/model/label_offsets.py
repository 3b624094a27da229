"""Offsets of the logits by which a network's probabilities fit the labels of unseen images.

Where each image teaches only the labels that its source can have, nothing sets the logits of labels
that no source has both of against each other, and balanced draws teach other shares of the labels
than the images have. Four numbers correct both; the order of images within a source hardly changes.
Bias-corrected temperature scaling: Alexandari, Kundaje and Shrikumar, ICML 2020.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from orthoedge.training.model.ensemble import Branch, Ensemble

_SHRINKAGE = 1e-4  # keeps the offset of a label finite that no image has


def fit_label_offsets(
    logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Offsets of least negative log-likelihood, fitted together with a temperature.

    Args:
        logits: (N, C), of images that the network was not trained on.
        truth: (N,) label indices.

    Returns:
        (C,) with sum 0, to be added to the logits before the temperature divides them.
    """
    classes = logits.shape[1]

    def loss(values: npt.NDArray[np.float64]) -> float:
        scaled = logits * np.exp(values[0]) + values[1:]
        likelihood = log_softmax(scaled, axis=1)[np.arange(len(truth)), truth]
        return float(-likelihood.mean() + _SHRINKAGE * (values[1:] ** 2).sum())

    fitted = minimize(loss, np.zeros(1 + classes)).x
    offsets = fitted[1:] / np.exp(fitted[0])
    centred: npt.NDArray[np.float64] = offsets - offsets.mean()
    return centred


@torch.no_grad()
def add_label_offsets(network: Ensemble, offsets: npt.NDArray[np.float64]) -> None:
    """Add offsets (C,) to the network's logits, in place, through the biases of its heads."""
    added = torch.from_numpy(offsets)
    if network.sigmoid:  # one logit z stands for -z/2 and z/2
        added = added[1:] - added[:1]
    for branch in network.branches:  # their weights sum to 1
        assert isinstance(branch, Branch)
        branch.head.bias.add_(added.to(branch.head.bias))
