"""Cache of the teacher's outputs for augmented training images.

Running the teacher costs more than training a small student. So the teacher runs once on each
*view*, the augmented images of one epoch. Later epochs, other students, pruned students and the
ablation read the same view from disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.engine import Engine
from orthoedge.training.data.cache import Records, cached, fingerprint
from orthoedge.training.data.crops import GRID
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import batches, steps_per_epoch
from orthoedge.training.progress import track
from orthoedge.training.recipe import Recipe

_VERSION = 2  # of the records


class DistillationBatch(NamedTuple):
    """One batch of images with the teacher's outputs."""

    images: Tensor
    """uint8 (B, 1, S, S)."""
    truth: Tensor
    """int64 (B,)."""
    allowed: Tensor
    """bool (B, C): the labels that each image's source can have."""
    lesion: Tensor
    """uint8 (B, 64, 64), see `orthoedge.training.data.loader.Batch`."""
    logits: Tensor
    """float32 (B, C), the teacher's."""
    maps: Tensor
    """float32 (B, C, h, w), the teacher's."""


@dataclass(frozen=True)
class TeacherCache:
    """The training split with the teacher's outputs, for whole images or for crops."""

    teacher: Engine
    """Takes images of the size that `recipe` trains on."""
    origin: str
    """SHA-256 of the teacher's weights and of the list of training images."""
    train: RadiographDataset
    val: RadiographDataset
    """Images of the same size, which select the best epoch."""
    recipe: Recipe
    """`augment.crop` is the side of the crops, or 0 for whole images."""
    folder: Path
    """Holds the views."""

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return steps_per_epoch(len(self.train), self.recipe.compress.batch)

    def epoch(self, epoch: int, name: str) -> Iterator[DistillationBatch]:
        """Batches of an epoch, numbered from 1. They depend on recipe and epoch alone."""
        view = (epoch - 1) % self.recipe.compress.views + 1
        file = self.folder / f"{self.identity[:32]}-{view}.npy"
        count = self.steps * min(self.recipe.compress.batch, len(self.train))
        description = f"{count} images with the teacher's outputs"
        records = cached(file, self._dtype, count, self._outputs(view, name), description)
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(records))
        for batch in np.array_split(order, self.steps):
            rows = records[np.sort(batch)]
            truth, allowed, lesion, logits = (
                torch.from_numpy(np.ascontiguousarray(rows[name]))
                for name in ("truth", "allowed", "lesion", "logits")
            )
            yield DistillationBatch(
                torch.from_numpy(np.ascontiguousarray(rows["pixels"])[:, None]),
                truth,
                allowed,
                lesion,
                logits,
                torch.from_numpy(rows["maps"].astype(np.float32)),
            )

    @cached_property
    def identity(self) -> str:
        """Hash of everything that a view depends on, except its number."""
        recipe = self.recipe
        used = (
            _VERSION,
            self.origin,
            self.teacher.name,
            msgspec.to_builtins(recipe.augment),
            msgspec.to_builtins(recipe.preprocess),
            fingerprint(recipe.preprocess),
            (recipe.seed, recipe.balanced, recipe.compress.batch),
            recipe.source_labels,
        )
        return sha256(json.dumps(used).encode())

    @cached_property
    def _stored(self) -> RadiographDataset:
        return self.train.stored(self.recipe.augment.read_size)

    @cached_property
    def _dtype(self) -> np.dtype[Any]:
        side = self.recipe.augment.crop or self.recipe.preprocess.size
        outputs = self.teacher.run(np.zeros((1, 1, side, side), np.uint8))
        return np.dtype(
            [
                ("pixels", "u1", (side, side)),
                ("truth", "<i8"),
                ("allowed", "?", outputs.logits.shape[1:]),
                ("lesion", "u1", (GRID, GRID)),
                ("logits", "<f4", outputs.logits.shape[1:]),
                ("maps", "<f2", outputs.saliency_map.shape[1:]),  # used in a cosine only
            ]
        )

    def _outputs(self, view: int, name: str) -> Iterator[Records]:
        recipe = msgspec.structs.replace(self.recipe, batch=self.recipe.compress.batch)
        what = f"{name}: running the teacher on view {view}"
        for batch in track(batches(self._stored, recipe, view), what, self.steps):
            outputs = self.teacher.run(batch.images.numpy())
            block = np.empty(len(batch.truth), self._dtype)
            block["pixels"] = batch.images[:, 0].numpy()
            for name in ("truth", "allowed", "lesion"):
                block[name] = getattr(batch, name).numpy()
            block["logits"], block["maps"] = outputs.logits, outputs.saliency_map
            yield block
