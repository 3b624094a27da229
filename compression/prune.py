"""Structured pruning along the dependency graph (Fang et al., CVPR 2023), by Torch-Pruning."""

from __future__ import annotations

import copy

import torch
import torch_pruning as tp

from orthoedge.training.ensemble import Branch, Ensemble

_ROUND_TO = 8  # channels in eights fill a 256-bit register of int32 sums; fewer run no faster


def cut(student: Ensemble, ratio: float, size: int) -> Ensemble:
    """A copy of a one-branch network with `ratio` of the channels of every group removed.

    Deterministic for the same weights, so the structure can be made again from them.

    Args:
        student: one branch, any mode.
        ratio: share of channels, 0 to 1.
        size: side S of its input, in pixels.
    """
    pruned = copy.deepcopy(student).eval().cpu()
    branch = pruned.branches[0]
    assert isinstance(branch, Branch)
    pruner = tp.pruner.MagnitudePruner(
        branch,
        torch.zeros(1, 1, size, size),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        round_to=_ROUND_TO,
        ignored_layers=[branch.head],
    )
    pruner.step()
    return pruned


def count_macs(student: Ensemble, size: int) -> tuple[int, int]:
    """Multiply-accumulates of one image, and parameters."""
    branch = copy.deepcopy(student.branches[0]).eval().cpu()
    macs, parameters = tp.utils.count_ops_and_params(branch, torch.zeros(1, 1, size, size))
    return int(macs), int(parameters)
