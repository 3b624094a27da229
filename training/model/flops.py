"""Multiply-accumulates (half the FLOPs) and parameters of a network."""

from __future__ import annotations

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from orthoedge.training.model.ensemble import Ensemble


@torch.inference_mode()
def count_macs(network: Ensemble, size: int) -> tuple[int, int]:
    """Count the multiply-accumulates for one image, and the parameters.

    As in papers, convolutions and matrix products count; sums, activations and normalization do
    not.

    Args:
        network: in any mode; not changed.
        size: side S of its input, in pixels.
    """
    probe = copy.deepcopy(network).eval().cpu()
    with FlopCounterMode(display=False) as counter:
        probe(torch.zeros(1, 1, size, size, dtype=torch.uint8))
    return counter.get_total_flops() // 2, sum(p.numel() for p in probe.parameters())
