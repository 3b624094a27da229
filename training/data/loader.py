"""Batches of one epoch: draw, order and augmentation, prepared ahead of the network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orthoedge.training.data.augment import augment
from orthoedge.training.data.crops import place_crop
from orthoedge.training.data.dataset import Pixels, RadiographDataset
from orthoedge.training.recipe import Recipe

Ints = npt.NDArray[np.int64]

_AHEAD = 2  # batches prepared while the network works on one
_MOST_THREADS = 8  # more would wait for the interpreter lock


def draw(labels: Ints, balanced: bool, rng: np.random.Generator) -> Ints:
    """Draw the indices of one epoch, as many as there are images.

    Balanced: with replacement, every class equally likely (torch's WeightedRandomSampler with
    weights 1 / class count). Otherwise: every image once.
    """
    if not balanced:
        return rng.permutation(len(labels))
    weights = 1.0 / np.bincount(labels)[labels]
    return rng.choice(len(labels), len(labels), p=weights / weights.sum())


def class_weights(labels: Ints, classes: int, recipe: Recipe) -> Tensor:
    """Class weights of the cross-entropy, float32 (C,), with mean 1 over the images as drawn.

    They correct the imbalance that the *draw* leaves. A balanced draw leaves none, so they are 1;
    both together would weigh a rare class by the square of its rarity.
    """
    if not recipe.class_weights or recipe.balanced:
        return torch.ones(classes)
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def steps_per_epoch(images: int, batch: int) -> int:
    """Count the whole batches of an epoch, at least one; the rest of the draw is left out."""
    return max(1, images // batch)


def stream(seed: int, epoch: int, position: int) -> np.random.Generator:
    """Random numbers for the image at one position of an epoch.

    They belong to the position and not to the thread or process that prepares the image, so the
    work can be shared, and a resumed run repeats its epoch with the same bytes. Philox (Salmon et
    al., SC11) divides its counter by epoch and position, which costs half of seeding a generator.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=(0, 0, epoch, position)))


def batches(
    data: RadiographDataset, recipe: Recipe, epoch: int, process: int = 0, processes: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield uint8 (B, 1, S, S) and int64 (B,); the same for the same seed and epoch.

    Threads prepare the next batches while the network works on this one: OpenCV releases the
    interpreter lock.

    Args:
        data: the training split.
        recipe: batch, draw and augmentation.
        epoch: from 1; 0 for batches before training.
        process: index of the share of every batch to yield, from 0.
        processes: number of shares; divides the batch.
    """
    order = draw(data.labels, recipe.balanced, np.random.default_rng((recipe.seed, epoch)))
    share = recipe.batch // processes
    starts = range(process * share, len(order), recipe.batch)
    shares = [
        range(start, min(start + share, len(order)))
        for start in starts[: steps_per_epoch(len(data), recipe.batch)]
    ]
    crop = recipe.augment.crop
    side = crop or data.images.shape[1]
    threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2))

    def fill(images: Pixels, positions: range) -> None:
        for row, position in zip(images, positions, strict=True):
            rng = stream(recipe.seed, epoch, position)
            index = order[position]
            image = data.images[index]
            if crop:
                x, y = place_crop(image, data.boxes[index], crop, rng)
                image = np.ascontiguousarray(image[y : y + crop, x : x + crop])
            row[:] = augment(image, recipe.augment, rng)

    with ThreadPoolExecutor(threads) as pool:

        def start(positions: range) -> tuple[Pixels, Ints, list[Future[None]]]:
            images: Pixels = np.empty((len(positions), side, side), np.uint8)
            parts = (slice(i, None, threads) for i in range(threads))
            tasks = [pool.submit(fill, images[part], positions[part]) for part in parts]
            return images, data.labels[order[positions.start : positions.stop]], tasks

        coming = iter(shares)
        ahead = deque(start(positions) for positions in islice(coming, _AHEAD))
        while ahead:
            images, labels, tasks = ahead.popleft()
            for task in tasks:
                task.result()
            ahead.extend(start(positions) for positions in islice(coming, 1))
            yield torch.from_numpy(images[:, None]), torch.from_numpy(labels)
