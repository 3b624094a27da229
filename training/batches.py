"""Batches of one epoch: which images, in which order, augmented one batch ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orthoedge.training.augment import augment
from orthoedge.training.crops import place_crop
from orthoedge.training.data import Pixels, Radiographs
from orthoedge.training.recipe import Recipe

Ints = npt.NDArray[np.int64]


def draw(labels: Ints, balanced: bool, rng: np.random.Generator) -> Ints:
    """Indices of one epoch, as many as there are images.

    Balanced: with replacement, every class equally likely (torch's WeightedRandomSampler with
    weights 1 / class count). Otherwise: every image once.
    """
    if not balanced:
        return rng.permutation(len(labels))
    weights = 1.0 / np.bincount(labels)[labels]
    return rng.choice(len(labels), len(labels), p=weights / weights.sum())


def class_weights(labels: Ints, classes: int, recipe: Recipe) -> Tensor:
    """Weights of the cross-entropy, float32 (C,), of mean 1 over the images as drawn.

    They correct what the *draw* leaves uneven. A balanced draw leaves nothing, so they are 1 then;
    multiplying both would count a rare class by the square of its rarity.
    """
    if not recipe.class_weights or recipe.balanced:
        return torch.ones(classes)
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def steps_per_epoch(images: int, batch: int) -> int:
    """Whole batches of an epoch; the rest of the draw is left out, a set under one batch is one."""
    return max(1, images // batch)


def batches(data: Radiographs, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield uint8 (B, 1, S, S) and int64 (B,); the same for the same seed and epoch.

    One thread prepares the next batch while the network is busy with this one: OpenCV releases the
    interpreter lock, and one thread keeps the random numbers in order.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    order = draw(data.labels, recipe.balanced, rng)
    chosen = [
        order[step * recipe.batch : (step + 1) * recipe.batch]
        for step in range(steps_per_epoch(len(data), recipe.batch))
    ]

    side = recipe.augment.crop

    def view(index: int) -> Pixels:
        image: Pixels = data.images[index]
        if side == 0:
            return image
        x, y = place_crop(image, data.boxes[index], side, rng)
        return np.ascontiguousarray(image[y : y + side, x : x + side])

    def prepare(indices: Ints) -> tuple[Tensor, Tensor]:
        images = np.stack([augment(view(i), recipe.augment, rng) for i in indices])
        return torch.from_numpy(images[:, None]), torch.from_numpy(data.labels[indices])

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, chosen[0])
        for following in chosen[1:]:
            ready, ahead = ahead, pool.submit(prepare, following)
            yield ready.result()
        yield ahead.result()
