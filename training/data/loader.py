"""Batches of one epoch: draw, order and augmentation, prepared ahead of the network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orthoedge.training.data.appearance import change_appearance
from orthoedge.training.data.augment import augment_part
from orthoedge.training.data.crops import place_crop, place_part
from orthoedge.training.data.dataset import Pixels, RadiographDataset
from orthoedge.training.recipe import Recipe

Ints = npt.NDArray[np.int64]

_AHEAD = 2  # batches prepared while the network works on one
_MOST_THREADS = 8  # more would wait for the interpreter lock
HEALTHY = "non-affected"
"""Label of a part that shows no lesion."""


class Batch(NamedTuple):
    """Images of one step with what the loss needs to know about them."""

    images: Tensor
    """uint8 (B, 1, S, S)."""
    truth: Tensor
    """int64 (B,)."""
    allowed: Tensor
    """bool (B, C): the labels that each image's source can have."""
    lesion: Tensor
    """uint8 (B, G, G): 1 in the lesion, see `RadiographDataset.draw_lesion`; else 0."""


def draw(
    labels: Ints, balanced: bool, rng: np.random.Generator, sources: Sequence[str] = ()
) -> Ints:
    """Draw the indices of one epoch, as many as there are images.

    Balanced: with replacement, every class equally likely (torch's WeightedRandomSampler with
    weights 1 / class count). Otherwise: every image once.

    Args:
        labels: class of each image.
        balanced: see above.
        rng: draws them.
        sources: source of each image; if given, a balanced draw takes every source equally often,
            and every class of a source.
    """
    if not balanced:
        return rng.permutation(len(labels))
    weights = 1.0 / np.bincount(labels)[labels]
    if len(sources):
        _, own = np.unique(sources, return_inverse=True)
        kinds, kind, counts = np.unique(
            np.stack((own, labels)), axis=1, return_inverse=True, return_counts=True
        )
        of_source = np.bincount(kinds[0])  # classes that a source has
        weights = 1.0 / (of_source[own] * counts[kind.ravel()])
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
) -> Iterator[Batch]:
    """Yield the batches of an epoch; the same for the same seed and epoch.

    Threads prepare the next batches while the network works on this one: OpenCV releases the
    interpreter lock.

    Args:
        data: the training split, of the size of the recipe's `augment.read_size`.
        recipe: batch, draw and augmentation.
        epoch: from 1; 0 for batches before training.
        process: index of the share of every batch to yield, from 0.
        processes: number of shares; divides the batch.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    sources = [record.source for record in data.records] if recipe.source_labels else ()
    order = draw(data.labels, recipe.balanced, rng, sources)
    share = recipe.batch // processes
    starts = range(process * share, len(order), recipe.batch)
    shares = [
        range(start, min(start + share, len(order)))
        for start in starts[: steps_per_epoch(len(data), recipe.batch)]
    ]
    side = recipe.augment.crop or recipe.preprocess.size
    cells = data.lesion_side(side)
    threads = max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2))

    def fill(images: Pixels, labels: Ints, lesions: Pixels, positions: range) -> None:
        rows = zip(images, labels, lesions, positions, strict=True)
        for index, (image, _, lesion, position) in enumerate(rows):
            rng = stream(recipe.seed, epoch, position)
            image[:], labels[index], lesion[:] = _view(data, int(order[position]), recipe, rng)

    with ThreadPoolExecutor(threads) as pool:

        def start(positions: range) -> tuple[Pixels, Ints, Pixels, list[Future[None]]]:
            count = len(positions)
            images: Pixels = np.empty((count, side, side), np.uint8)
            lesions: Pixels = np.empty((count, cells, cells), np.uint8)
            labels = np.empty(count, np.int64)
            parts = (slice(i, None, threads) for i in range(threads))
            tasks = [
                pool.submit(fill, images[part], labels[part], lesions[part], positions[part])
                for part in parts
            ]
            return images, labels, lesions, tasks

        coming = iter(shares)
        ahead = deque((positions, *start(positions)) for positions in islice(coming, _AHEAD))
        while ahead:
            positions, images, labels, lesions, tasks = ahead.popleft()
            for task in tasks:
                task.result()
            ahead.extend((after, *start(after)) for after in islice(coming, 1))
            allowed = data.allowed[order[positions.start : positions.stop]]
            arrays = images[:, None], labels, allowed, lesions
            yield Batch(*map(torch.from_numpy, arrays))


def _view(
    data: RadiographDataset, index: int, recipe: Recipe, rng: np.random.Generator
) -> tuple[Pixels, int, Pixels]:
    """Make an image, uint8 (S, S), its class, and its lesion, uint8 (G, G), for training."""
    settings, size = recipe.augment, recipe.preprocess.size
    image, boxes, label = data.images[index], data.boxes[index], int(data.labels[index])
    place = (0, 0, len(image))
    if settings.crop:
        size = settings.crop
        place = (*place_crop(image, boxes, size, rng), size)
    elif settings.zoom and rng.random() < settings.zoom:
        healthy = recipe.labels.index(HEALTHY) if HEALTHY in recipe.labels else None
        if boxes or label == healthy:  # without boxes nobody knows where the lesion is
            part = place_part(image, boxes, healthy is not None, rng)
            if part is not None:
                place = part.x, part.y, part.side
                if boxes and not part.lesion:
                    assert healthy is not None
                    boxes, label = (), healthy
    pixels, matrix = augment_part(image, settings, rng, place, size)
    if settings.appearance:
        pixels = change_appearance(pixels, settings.appearance, rng)
    if settings.read_size and recipe.preprocess.clahe_stage == "after":
        pixels = recipe.preprocess.clahe(pixels)
    return pixels, label, data.draw_lesion(index, boxes, matrix, size)
