"""What a student is taught with: augmented training images and the teacher's answers to them.

Asking the teacher costs more than training a small student. So a *view*, the augmented images of
one epoch, is answered once, kept on disk, and seen again by later epochs, by other students and by
what is left of a student after a cut.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.engine import Engine
from orthoedge.training.data.cache import Records, cached, fingerprint
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import batches, steps_per_epoch
from orthoedge.training.recipe import Recipe

_VERSION = 1  # of the records


class Lesson(NamedTuple):
    """One batch."""

    images: Tensor
    """uint8 (B, 1, S, S)."""
    truth: Tensor
    """int64 (B,)."""
    logits: Tensor
    """float32 (B, C), the teacher's."""
    maps: Tensor
    """float32 (B, C, h, w), the teacher's."""


@dataclass(frozen=True)
class Lessons:
    """The training part through a teacher's eyes, on whole squares or on crops."""

    teacher: Engine
    """Takes images of the size that `recipe` trains on."""
    origin: str
    """SHA-256 of the teacher's weights and of the list of training images."""
    train: RadiographDataset
    val: RadiographDataset
    """Images of the same size, which choose the best epoch."""
    recipe: Recipe
    """Its `augment.crop` says whether these are crops; its `compress` has batch and views."""
    folder: Path
    """Keeps the views."""

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return steps_per_epoch(len(self.train), self.recipe.compress.batch)

    def epoch(self, epoch: int, name: str) -> Iterator[Lesson]:
        """Batches of an epoch, from 1; the same for the same recipe, whatever ran before."""
        view = (epoch - 1) % self.recipe.compress.views + 1
        records = self._view(view, name)
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(records))
        for batch in np.array_split(order, self.steps):
            some = records[np.sort(batch)]
            yield Lesson(
                torch.from_numpy(np.ascontiguousarray(some["pixels"])[:, None]),
                torch.from_numpy(np.ascontiguousarray(some["truth"])),
                torch.from_numpy(np.ascontiguousarray(some["logits"])),
                torch.from_numpy(some["maps"].astype(np.float32)),
            )

    @cached_property
    def identity(self) -> str:
        """Hash of all that a view depends on, but for its number."""
        recipe = self.recipe
        used = (
            _VERSION,
            self.origin,
            self.teacher.name,
            msgspec.to_builtins(recipe.augment),
            msgspec.to_builtins(recipe.preprocess),
            fingerprint(recipe.preprocess),
            (recipe.seed, recipe.balanced, recipe.compress.batch),
        )
        return sha256(json.dumps(used).encode())

    @cached_property
    def _kind(self) -> np.dtype[Any]:
        side = self.recipe.augment.crop or self.recipe.preprocess.size
        answer = self.teacher.run(np.zeros((1, 1, side, side), np.uint8))
        return np.dtype(
            [
                ("pixels", "u1", (side, side)),
                ("truth", "<i8"),
                ("logits", "<f4", answer.logits.shape[1:]),
                ("maps", "<f2", answer.saliency_map.shape[1:]),  # read by a cosine only
            ]
        )

    def _view(self, view: int, name: str) -> Records:
        file = self.folder / f"{self.identity[:32]}-{view}.npy"
        count = self.steps * min(self.recipe.compress.batch, len(self.train))
        what = f"{count} images with the teacher's answers"
        return cached(file, self._kind, count, self._answers(view, name), what)

    def _answers(self, view: int, name: str) -> Iterator[Records]:
        recipe = msgspec.structs.replace(self.recipe, batch=self.recipe.compress.batch)
        bar = tqdm(
            batches(self.train, recipe, view),
            f"{name}: the teacher answers view {view}",
            self.steps,
            unit="batch",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
        for images, truth in bar:
            answers = self.teacher.run(images.numpy())
            block = np.empty(len(truth), self._kind)
            block["pixels"] = images[:, 0].numpy()
            block["truth"] = truth.numpy()
            block["logits"], block["maps"] = answers.logits, answers.saliency_map
            yield block
