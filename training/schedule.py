"""The learning rate over a run."""

from __future__ import annotations

import math

from orthoedge.training.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate after `epoch` epochs: a linear warm-up, then constant or half a cosine to 0."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.lr
    done = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
