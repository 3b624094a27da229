"""Structured pruning along the dependency graph (Fang et al., CVPR 2023), by Torch-Pruning."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch_pruning as tp

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.model.ensemble import Branch, Ensemble

_ROUND_TO = 8  # channels in eights fill a 256-bit register of int32 sums; fewer run no faster
_ENDLESS = ("rexnet",)  # their blocks add to a part of the channels; 1.6.1 never ends


def check_prunable(student: str, shares: Sequence[float]) -> None:
    """Refuse cuts that Torch-Pruning does not finish, before hours of distillation.

    Raises:
        RecipeError: naming the setting.
    """
    if shares and student.startswith(_ENDLESS):
        raise ConfigError(
            f"compress.prune: {student} adds a part of its channels to another, which "
            "Torch-Pruning cannot follow; `--set compress.prune=` leaves it whole"
        )


def cut(student: Ensemble, ratio: float, size: int) -> Ensemble:
    """A copy of a one-branch network with `ratio` of the channels of every group removed.

    Deterministic for the same weights, so the structure can be made again from them.

    Args:
        student: one branch, any mode.
        ratio: share of channels, 0 to 1.
        size: side S of its input, in pixels.

    Raises:
        RecipeError: a network that Torch-Pruning cannot follow.
    """
    check_prunable(student.names[0], (ratio,))
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
