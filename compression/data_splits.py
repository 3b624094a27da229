"""The four parts of the data: to learn from, to choose by, to calibrate on and to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orthoedge.runtime.errors import DataError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, read_index, select_records
from orthoedge.training.data.splits import split_in_half
from orthoedge.training.data_quality.leakage import seen_before
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run


@dataclass(frozen=True)
class Parts:
    """Disjoint by group; whole squares."""

    train: RadiographDataset
    val: RadiographDataset
    """Chooses epochs, cuts, candidates and what retreats to float."""
    calibration: RadiographDataset
    """Gives temperature, operating points, conformal quantile and out-of-distribution threshold."""
    test: RadiographDataset
    """Gives the metrics and decides at the gate."""


def read_parts(
    run: Run, recipe: Recipe, cache: Path | None, calibration: Path | None, test: Path | None
) -> Parts:
    """Read the run's parts; without a calibration set, one half of its validation part is it.

    Args:
        run: its split.
        recipe: labels and preprocessing.
        cache: folder that keeps preprocessed images; None: memory alone.
        calibration: an index or folder that the run has not seen; None: half of validation.
        test: an index or folder that the run has not seen; None: the run's test part.

    Raises:
        DataError: a given set shares images with another part, or lacks a label.
    """

    def read(studies: Sequence[ImageRecord]) -> RadiographDataset:
        return RadiographDataset(studies, recipe.labels, recipe.preprocess, cache=cache)

    split, given = run.splits, {"calibration": calibration, "test": test}
    val = split.val
    chosen: dict[str, Sequence[ImageRecord]] = {"test": split.test}
    for name, folder in given.items():
        if folder is not None:
            chosen[name] = select_records(read_index(folder), recipe).records
    if calibration is None:
        val, chosen["calibration"] = split_in_half(val, ("val", "calibration"), recipe.split.seed)
    parts = Parts(read(split.train), read(val), read(chosen["calibration"]), read(chosen["test"]))
    known = [parts.train, parts.val]
    for name, folder in given.items():
        part: RadiographDataset = getattr(parts, name)
        if folder is not None and (seen := seen_before(part, known)):
            raise DataError(
                f"{folder}: {len(seen)} of {len(part)} images are ones of another part, or look "
                f"like one, such as {seen[0].path}; give data that was not used before"
            )
        known.append(part)
    return parts


def kind_of_data(data: RadiographDataset) -> Literal["phantoms", "radiographs"]:
    """What the images are: rendered by this project, or taken."""
    return "phantoms" if all(s.source == "phantom" for s in data.records) else "radiographs"
