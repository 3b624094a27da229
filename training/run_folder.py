"""The run folder: what training leaves behind and the compression stage reads.

model.safetensors   best weights by validation      recipe.json   the recipe as resolved
split.csv           every study and its part        report.json   data, precision, weights loaded
log.csv             one line per epoch              metrics.json  the test part; written last
last.pt             state for --resume              curves.png, evaluation/, tensorboard/
shortcuts.json      what needs no anatomy           evaluation/  the test part's full report
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.training.data.index import ImageRecord, parse_boxes
from orthoedge.training.data.splits import PARTS, Split
from orthoedge.training.model.ensemble import Ensemble, build
from orthoedge.training.model.weights import WeightsReport, read_safetensors
from orthoedge.training.recipe import Recipe, upgrade_recipe

MODEL, STATE, RECIPE, REPORT = "model.safetensors", "last.pt", "recipe.json", "report.json"
SPLIT, LOG, METRICS, SHORTCUTS = "split.csv", "log.csv", "metrics.json", "shortcuts.json"
EVALUATION = "evaluation"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Epoch(_Record, frozen=True):
    """One line of log.csv."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's augmented images, dropout on."""
    train_accuracy: float
    """Of the same."""
    val_loss: float
    """Unweighted cross-entropy."""
    val_accuracy: float
    """Share of correct labels."""
    val_macro_f1: float
    """Picks the best epoch; `val_loss` breaks ties."""
    lr: float
    """Learning rate of the last step."""
    seconds: float
    """Wall time of the epoch, validation included."""
    images_per_second: float
    """Training images over the time of the training steps alone."""


class TrainingMetrics(_Record, frozen=True):
    """metrics.json: the best epoch on the test part, in float32, before any calibration."""

    images: int
    """Images of the test part."""
    accuracy: float
    """Share of correct labels."""
    macro_f1: float
    """Unweighted mean of the classes' F1."""
    recall: dict[str, float]
    """Per label."""
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


class Report(_Record, frozen=True):
    """report.json: what a run started from."""

    data: str
    """Folder that the paths of split.csv start from."""
    training_list_sha256: str
    """Identity of the training part."""
    validation_list_sha256: str
    """Identity of the validation part."""
    test_list_sha256: str
    """Identity of the test part."""
    precision: str
    """Of the training steps; validation and test are always float32."""
    device: str
    """Where it ran."""
    weights: tuple[WeightsReport, ...]
    """What each `--weights` gave; none: random start."""


@dataclass(frozen=True)
class Run:
    """A finished run, read back."""

    folder: Path
    recipe: Recipe
    model: Ensemble
    """In eval mode, with the best weights, on the CPU."""
    split: Split
    sha256: str
    """Of model.safetensors."""
    report: Report
    metrics: TrainingMetrics


def load_run(folder: Path, data: Path | None = None) -> Run:
    """Read a finished run.

    Args:
        folder: a run folder.
        data: where the data set lies now, if it has moved since training.

    Raises:
        DataError: no run folder, an unfinished run, a damaged file, or a missing image.
    """
    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder}: not a run folder (no {RECIPE}); `orthoedge train` writes one")
    recipe = read_recipe(folder / RECIPE)
    if not (folder / METRICS).is_file():
        raise DataError(f"{folder}: the run is not finished (no {METRICS}); train with --resume")
    report = read_record(folder / REPORT, Report)
    tensors, digest = read_safetensors(folder / MODEL)
    model = build(recipe)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise DataError(f"{folder / MODEL}: does not fit {RECIPE}: {first}") from error
    return Run(
        folder=folder,
        recipe=recipe,
        model=model.eval(),
        split=read_split(folder / SPLIT, data or Path(report.data)),
        sha256=digest,
        report=report,
        metrics=read_record(folder / METRICS, TrainingMetrics),
    )


T = TypeVar("T")


def read_record(path: Path, kind: type[T]) -> T:
    """Read one of the run's JSON files.

    Raises:
        DataError: missing, or not what this version writes.
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


def write_table(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def write_split(path: Path, split: Split, root: Path) -> None:
    """Write split.csv: the index's columns with paths from `root`, and the part."""
    rows: list[tuple[object, ...]] = []
    for part in PARTS:
        for study in getattr(split, part):
            image = os.path.relpath(study.path, root)
            mask = "" if study.mask is None else os.path.relpath(study.mask, root)
            boxes = json.dumps(study.boxes) if study.boxes else ""
            known = (study.group, study.source, study.centre, study.body_part)
            rows.append((image, study.label, *known, boxes, mask, part))
    known = ("group", "source", "centre", "body_part")
    write_table(path, ("path", "label", *known, "boxes", "mask", "part"), rows)


def read_split(path: Path, root: Path) -> Split:
    """Read split.csv back.

    Raises:
        DataError: missing, damaged, or an image that is no longer under `root`.
    """
    parts: dict[str, list[ImageRecord]] = {part: [] for part in PARTS}
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                study = ImageRecord(
                    path=root / row["path"],
                    label=row["label"],
                    group=row["group"],
                    boxes=parse_boxes(row["boxes"], f"{path}, column boxes"),
                    mask=root / row["mask"] if row["mask"] else None,
                    source=row["source"],
                    centre=row["centre"],
                    body_part=row["body_part"],
                )
                if not study.path.is_file():
                    raise DataError(
                        f"{path}: {row['path']} is not under {root}; give the folder it is in now"
                    )
                parts[row["part"]].append(study)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a split that `orthoedge train` wrote") from error
    for part in PARTS:
        if not parts[part]:
            raise DataError(f"{path}: no image is in part {part}")
    return Split(*(tuple(parts[part]) for part in PARTS))
