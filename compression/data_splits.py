"""The four data splits of a compression: train, validation, calibration and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import DataError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, read_index, select_records
from orthoedge.training.data.splits import split_in_half
from orthoedge.training.data_quality.leakage import seen_before
from orthoedge.training.masks.evaluate import dataset_of
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run


@dataclass(frozen=True)
class Splits:
    """Data sets of whole images, disjoint by group."""

    train: RadiographDataset
    val: RadiographDataset
    """Selects epochs, cuts, candidates and the layers that fall back to float."""
    calibration: RadiographDataset
    """Sets temperature, operating points, conformal quantile and out-of-distribution thresholds.

    Separate from `val`: on images that selected the candidate, thresholds would look too good.
    """
    test: RadiographDataset
    """Provides the metrics and decides at the gate. Nothing is selected on it."""

    @property
    def kind(self) -> Literal["phantoms", "radiographs"]:
        """`phantoms` if this project rendered every training image."""
        rendered = all(record.source == "phantom" for record in self.train.records)
        return "phantoms" if rendered else "radiographs"


def read_splits(
    run: Run, recipe: Recipe, cache: Path | None, calibration: Path | None, test: Path | None
) -> Splits:
    """Read the run's splits. Without a calibration set, half of its validation split serves as one.

    Args:
        run: provides the split.
        recipe: labels and preprocessing.
        cache: folder for preprocessed images; None keeps them in memory.
        calibration: index or folder of unseen images; None: half of the validation split.
        test: index or folder of unseen images; None: the run's test split.

    Raises:
        DataError: a given set shares images with another split, or lacks a label.
    """

    def read(
        records: Sequence[ImageRecord], kind: type[RadiographDataset] = RadiographDataset
    ) -> RadiographDataset:
        own = recipe.source_labels
        return kind(records, recipe.labels, recipe.preprocess, cache=cache, source_labels=own)

    split, given = run.splits, {"calibration": calibration, "test": test}
    val = split.val
    chosen: dict[str, Sequence[ImageRecord]] = {"test": split.test}
    for name, folder in given.items():
        if folder is not None:
            chosen[name] = select_records(read_index(folder), recipe).records
    if calibration is None:
        val, chosen["calibration"] = split_in_half(val, ("val", "calibration"), recipe.split.seed)
    kind = dataset_of(recipe)
    splits = Splits(
        train=read(split.train),
        val=read(val, kind),
        calibration=read(chosen["calibration"]),
        test=read(chosen["test"], kind),
    )
    known = [splits.train, splits.val]
    for name, folder in given.items():
        data: RadiographDataset = getattr(splits, name)
        if folder is not None and (seen := seen_before(data, known)):
            raise DataError(
                f"{folder}: {len(seen)} of {len(data)} images also occur in another split, or "
                f"are near-duplicates, such as {seen[0].path}; give data that was not used before"
            )
        known.append(data)
    return splits


def balanced_indices(data: RadiographDataset, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Sorted indices of up to `count` images, spread over the classes as evenly as possible."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(data))
    rank = np.empty(len(data), np.int64)  # of an image among those of its class
    for label in np.unique(data.labels):
        own = shuffled[data.labels[shuffled] == label]
        rank[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")][:count])
