"""Starting values of batch normalization's running statistics, taken from the data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def start_running_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running mean and variance of every BatchNorm2d that has none yet from `batches`.

    They start at 0 and 1, and at momentum 0.1 a twentieth of that is left after 30 steps. A stem on
    grey images has a variance near 0.01, so for the first epochs of a small set the statistics used
    in validation would be mostly the 1: a network that is right 95 % of the time in training mode
    was at chance in validation. What has statistics from a file is left alone.

    Args:
        network: changed in place; left in training mode.
        batches: uint8 (B, 1, S, S) each, as training will see them.
    """
    fresh = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
        and module.running_mean is not None
        and module.running_var is not None
        and not module.running_mean.any()
        and bool((module.running_var == 1).all())
    ]
    if not fresh:
        return
    settled = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m not in fresh]
    momentum = [module.momentum for module in fresh]
    network.train()
    for module in settled:
        module.eval()
    for module in fresh:
        module.momentum = None  # a plain mean over the batches
    with torch.no_grad():
        for images in batches:
            network(images)
    for module, value in zip(fresh, momentum, strict=True):
        module.momentum = value
    network.train()
