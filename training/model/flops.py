"""What a network costs to run: multiply-accumulates and parameters."""

from __future__ import annotations

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from orthoedge.training.model.ensemble import Ensemble


@torch.inference_mode()
def count_macs(network: Ensemble, size: int) -> tuple[int, int]:
    """Multiply-accumulates of one image, and parameters.

    Convolutions and matrix products are counted, as papers do; sums, activations and normalization
    are not.

    Args:
        network: any mode; left as it is.
        size: side S of its input, in pixels.
    """
    probe = copy.deepcopy(network).eval().cpu()
    with FlopCounterMode(display=False) as counter:
        probe(torch.zeros(1, 1, size, size, dtype=torch.uint8))
    return counter.get_total_flops() // 2, sum(p.numel() for p in probe.parameters())
