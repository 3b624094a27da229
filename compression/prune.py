"""Structured pruning along the dependency graph (Fang et al., CVPR 2023), by Torch-Pruning."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch_pruning as tp

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.model.ensemble import Branch, Ensemble

_ROUND_TO = 8  # eight int32 sums fill a 256-bit register; fewer channels run no faster
_UNSUPPORTED = ("rexnet",)  # adds to a part of the channels: Torch-Pruning 1.6.1 never returns


def check_prunable(student: str, shares: Sequence[float]) -> None:
    """Refuse cuts that Torch-Pruning cannot finish, before hours of distillation.

    Raises:
        ConfigError: names the setting.
    """
    if shares and student.startswith(_UNSUPPORTED):
        raise ConfigError(
            f"compress.prune: {student} adds to a part of its channels, which Torch-Pruning "
            "does not support; `--set compress.prune=` leaves it unpruned"
        )


def cut(student: Ensemble, ratio: float, size: int) -> Ensemble:
    """Copy a one-branch network with `ratio`, 0 to 1, of the channels of every group removed.

    Deterministic for the same weights, so a resumed run rebuilds the same structure from them. The
    side S of the input is `size` pixels.

    Raises:
        ConfigError: Torch-Pruning does not support the network.
    """
    check_prunable(student.names[0], (ratio,))
    pruned = copy.deepcopy(student).eval().cpu()
    pruned.decoder = None  # it reads the channels that are there now
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
