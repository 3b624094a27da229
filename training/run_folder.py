"""The run folder, which training writes and compression reads.

model.safetensors   best weights by validation      recipe.json   the recipe as resolved
split.csv           every image and its split        report.json   data, precision, weights loaded
log.csv             one line per epoch              metrics.json  of the test split; written last
last.pt             state for --resume              curves.png, evaluation/, tensorboard/
shortcuts.json      the shortcut audit              evaluation/  full report on the test split
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from torch import nn

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.training.data import index
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.splits import SPLITS, Splits
from orthoedge.training.model.ensemble import Ensemble, build
from orthoedge.training.model.weights import WeightsReport, read_safetensors
from orthoedge.training.recipe import Recipe, upgrade_recipe

MODEL, STATE, RECIPE, REPORT = "model.safetensors", "last.pt", "recipe.json", "report.json"
SPLIT, LOG, METRICS, SHORTCUTS = "split.csv", "log.csv", "metrics.json", "shortcuts.json"
EVALUATION = "evaluation"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A JSON file of a run, or a part of one."""


class EpochRow(Record, frozen=True):
    """What one line of log.csv holds, whatever is learned."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's augmented images, dropout on."""
    val_loss: float
    """Of the validation split, without weights of classes."""
    lr: float
    """Learning rate of the last step."""
    seconds: float
    """Wall time of the epoch, validation included."""
    images_per_second: float
    """Training images per second of the training steps alone."""

    @property
    def score(self) -> float:
        """What selects the best epoch; `val_loss` breaks ties."""
        raise NotImplementedError

    def shown(self) -> str:
        """Return the scores of the validation split, for one line of the log."""
        raise NotImplementedError


class Epoch(EpochRow, frozen=True):
    """One line of a classifier's log.csv."""

    train_accuracy: float
    """Of the augmented images."""
    val_accuracy: float
    """Share of correct labels."""
    val_macro_f1: float
    """Selects the best epoch unless there is `val_auc`."""
    val_auc: float | None = None
    """With `source_labels`: mean AUC of the questions that each source can answer."""

    @property
    def score(self) -> float:
        """AUC where there is one, else macro-F1."""
        return self.val_macro_f1 if self.val_auc is None else self.val_auc

    def shown(self) -> str:
        """Return macro-F1, and AUC where there is one."""
        auc = "" if self.val_auc is None else f"  AUC {self.val_auc:.3f}"
        return f"macro-F1 {self.val_macro_f1:.3f}{auc}"


class TrainingMetrics(Record, frozen=True):
    """metrics.json: the best epoch on the test split, in float32, before any calibration."""

    images: int
    """Images of the test split."""
    accuracy: float
    """Share of correct labels."""
    macro_f1: float
    """Unweighted mean of the classes' F1."""
    recall: dict[str, float]
    """Per label that has images."""
    loss: float
    """Cross-entropy."""
    expected_calibration_error: float
    """15 equal-width bins, before temperature."""
    pointing_game: float | None
    """Share of images with lesion boxes whose true class's map peaks inside one; None: no boxes."""
    pointing_images: int
    """Images with boxes."""
    val_macro_f1: float
    """Of the best epoch."""
    best_epoch: int
    """From 1."""
    epochs: int
    """Epochs run."""
    fusion: tuple[float, ...]
    """Learned weight of each backbone."""


class RunInfo(Record, frozen=True):
    """report.json: the data, precision, device and weights that a run started with."""

    data: str
    """Folder that the paths of split.csv start from."""
    training_list_sha256: str
    """Identity of the training split."""
    validation_list_sha256: str
    """Identity of the validation split."""
    test_list_sha256: str
    """Identity of the test split."""
    precision: str
    """Of the training steps; validation and test are always float32."""
    device: str
    """Device that trained it."""
    weights: tuple[WeightsReport, ...]
    """The tensors loaded from each `--weights`; empty: random weights."""


@dataclass(frozen=True)
class Run:
    """A finished run of a classifier, read back."""

    folder: Path
    recipe: Recipe
    model: Ensemble
    """In eval mode, with the best weights, on the CPU."""
    splits: Splits
    sha256: str
    """Of model.safetensors."""
    info: RunInfo
    metrics: TrainingMetrics


def load_run(folder: Path, data: Path | None = None) -> Run:
    """Read a finished run.

    Args:
        folder: a run folder.
        data: the folder of the data set, if it has moved since training.

    Raises:
        DataError: not a run folder, an unfinished run, one of the segmentation stage, a damaged
            file, or a missing image.
    """
    recipe = read_finished_recipe(folder)
    if recipe.segmentation is not None:
        raise DataError(
            f"{folder}: a run of the segmentation stage, which has no classifier; give the run of "
            "a recipe without a table segmentation"
        )
    info, model = read_record(folder / REPORT, RunInfo), build(recipe)
    digest = load_model(folder, model)
    splits = read_splits(folder / SPLIT, data or Path(info.data))
    metrics = read_record(folder / METRICS, TrainingMetrics)
    return Run(folder, recipe, model.eval(), splits, digest, info, metrics)


def read_finished_recipe(folder: Path) -> Recipe:
    """Read the recipe of a finished run.

    Raises:
        DataError: not a run folder, an unfinished run, or not a recipe.
    """
    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder}: not a run folder (no {RECIPE}); `orthoedge train` writes one")
    recipe = read_recipe(folder / RECIPE)
    if not (folder / METRICS).is_file():
        raise DataError(f"{folder}: the run is not finished (no {METRICS}); train with --resume")
    return recipe


def load_model(folder: Path, model: nn.Module) -> str:
    """Load a run's weights into its network; return their SHA-256.

    Raises:
        DataError: missing, damaged, or of another network.
    """
    tensors, digest = read_safetensors(folder / MODEL)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise DataError(f"{folder / MODEL}: does not fit {RECIPE}: {first}") from error
    return digest


T = TypeVar("T")


def read_record(path: Path, kind: type[T]) -> T:
    """Read one of the run's JSON files.

    Raises:
        DataError: missing, or not of the expected form.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: {error}") from error


def read_recipe(path: Path) -> Recipe:
    """Read a run's recipe.json, also with the keys of an earlier version.

    Raises:
        DataError: missing, or not a recipe.
    """
    try:
        return msgspec.convert(upgrade_recipe(read_record(path, dict[str, Any])), Recipe)
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: {error}") from error


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write one of the run's JSON files, indented."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def write_splits(path: Path, splits: Splits, root: Path) -> None:
    """Write split.csv: the index's columns with paths from `root`, and the split."""
    rows = [
        (*index.cells(record, lambda file: os.path.relpath(file, root)), name)
        for name in SPLITS
        for record in getattr(splits, name)
    ]
    index.write_table(path, (*index.COLUMNS, "split"), rows, newline="\n")


def read_splits(path: Path, root: Path) -> Splits:
    """Read split.csv back; the old column names group, centre and part are read too.

    Raises:
        DataError: missing, damaged, or an image that is no longer under `root`.
    """
    splits: dict[str, list[ImageRecord]] = {name: [] for name in SPLITS}
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            reader.fieldnames = index.current_columns(reader.fieldnames or (), path)
            for row in reader:
                record = index.record_of(row, root, str(path))
                if not record.path.is_file():
                    raise DataError(
                        f"{path}: {row['path']} is not under {root}; give the folder it is in now"
                    )
                splits[row["split"] if "split" in row else row["part"]].append(record)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a split that `orthoedge train` wrote") from error
    for name in SPLITS:
        if not splits[name]:
            raise DataError(f"{path}: no image is in split {name}")
    return Splits(*(tuple(splits[name]) for name in SPLITS))
