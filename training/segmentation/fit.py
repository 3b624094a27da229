"""Training of the segmentation stage, for the loop in `training/loop`, and its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from lightning_fabric import Fabric

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training import run_folder as folder
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.splits import Splits
from orthoedge.training.evaluation.plots import write_curves
from orthoedge.training.loop.task import Finished, Task, TrainedEpoch
from orthoedge.training.loop.train import train
from orthoedge.training.model.hub import WeightsFile, weights_files
from orthoedge.training.model.unet import UNet
from orthoedge.training.model.weights import WeightsReport
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe, Segmentation
from orthoedge.training.segmentation.data import OutlinedDataset, outlined
from orthoedge.training.segmentation.froc import RATES
from orthoedge.training.segmentation.markdown import report_lines
from orthoedge.training.segmentation.network import build_unet, load_unet_weights
from orthoedge.training.segmentation.predictions import Outlines, Scores, outline, score
from orthoedge.training.segmentation.report import write_report
from orthoedge.training.segmentation.schema import (
    SegmentationEpoch,
    SegmentationMetrics,
    SegmentationReport,
)
from orthoedge.training.segmentation.step import SegmentationStepper

CURVES = {
    "train Dice": "train_dice",
    "validation Dice": "val_dice",
    "validation Dice of lesions": "val_lesion_dice",
    "validation, clean": "val_clean",
}


def fit_segmentation(
    recipe: Recipe,
    records: Sequence[ImageRecord],
    out: Path,
    weights: Sequence[Path] = (),
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
    cache: Path | None = None,
) -> SegmentationMetrics:
    """Train the segmentation stage of a recipe, and write a run folder.

    Images of which it is not known where the lesion is, since they have no mask, are left out.

    Args:
        recipe: every setting; the stage's own take the place of the classifier's, see
            `stage_recipe`.
        records: the whole set; divided by patient.
        out: as in `train`, like all that follow.
        weights: safetensors to start from: a segmentation run's model, or an encoder's.
        resume: continue the run in `out`.
        progress: bars or lines.
        data: the folder that the paths of split.csv start from.
        cache: folder that keeps preprocessed images.

    Returns:
        The best epoch's metrics on the test split.

    Raises:
        DataError: as `train`; or no image has a mask.
        ConfigError: as `train`; or the recipe has no segmentation stage.
    """
    task = SegmentationTask(recipe)
    known = outlined(records)
    if not any(record.mask is not None for record in known):
        raise DataError("no image has a mask; segmentation learns from the index's column mask")
    if left := len(records) - len(known):
        log_progress(f"left out {left} of {len(records)} images: a lesion without a mask")
    return train(task, known, out, weights, resume, progress, data, cache)


def stage_recipe(recipe: Recipe) -> Recipe:
    """Recipe whose settings of network and steps are those of the segmentation stage.

    Frozen stages and mixup belong to the classifier alone.

    Raises:
        ConfigError: it has no such stage.
    """
    stage = stage_of(recipe)
    return msgspec.structs.replace(
        recipe,
        preprocess=msgspec.structs.replace(recipe.preprocess, size=stage.size),
        batch=stage.batch,
        epochs=stage.epochs,
        lr=stage.lr,
        backbone_lr=stage.encoder_lr,
        frozen_stages=0,
        mixup=0.0,
    )


def stage_of(recipe: Recipe) -> Segmentation:
    """Segmentation stage of a recipe.

    Raises:
        ConfigError: it has none.
    """
    if recipe.segmentation is None:
        raise ConfigError(f"{recipe.name}: the recipe has no table segmentation")
    return recipe.segmentation


class SegmentationTask(Task[UNet, OutlinedDataset, SegmentationEpoch, SegmentationMetrics]):
    """Learn outlines of lesions.

    Args:
        recipe: with a segmentation stage.

    Raises:
        ConfigError: it has none.
    """

    dataset = OutlinedDataset
    epoch = SegmentationEpoch

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(stage_recipe(recipe))
        self._stage = stage_of(recipe)

    def build(self) -> UNet:
        """Build the network; see `Task`."""
        return build_unet(self._stage)

    def weights(self, given: Sequence[Path]) -> tuple[WeightsFile, ...]:
        """Find the files behind `--weights`; see `Task`."""
        return weights_files(given, (self._stage.encoder,))

    def load(self, network: UNet, file: WeightsFile) -> WeightsReport:
        """Load the tensors of a file; see `Task`."""
        return load_unet_weights(network, file)

    def audit(self, out: Path, records: Sequence[ImageRecord], resumed: bool) -> None:
        """Log how many images have a lesion."""
        lesions = sum(record.mask is not None for record in records)
        log_progress(f"{lesions} of {len(records)} images have a mask, the others no lesion")

    def stepper(
        self, network: UNet, fabric: Fabric, train: OutlinedDataset, steps: int
    ) -> SegmentationStepper:
        """Set up the training of a network; see `Task`."""
        return SegmentationStepper(self.recipe, self._stage.miss_weight, network, fabric, steps)

    def validate(
        self, network: UNet, val: OutlinedDataset, trained: TrainedEpoch
    ) -> SegmentationEpoch:
        """Measure an epoch on the validation split; see `Task`."""
        return epoch_of(score(network, val, self._stage.miss_weight), val, trained)

    def finish(
        self, run: Finished[UNet, OutlinedDataset, SegmentationEpoch]
    ) -> SegmentationMetrics:
        """Outline the test split, and write curves and report."""
        outlines = outline(run.network, run.test)
        write_curves(run.out / "curves.png", run.epochs, run.best, CURVES, "outline loss")
        place = run.out / folder.EVALUATION
        report = write_report(place, outlines, run.test, self.recipe, run.command)
        for line in report_lines(report):
            log_progress(line)
        log_progress(f"test: best epoch {run.best} -> {run.out}")
        return _metrics(report, outlines, run)


def epoch_of(scores: Scores, val: OutlinedDataset, trained: TrainedEpoch) -> SegmentationEpoch:
    """Line of log.csv for an epoch with these scores on the validation split."""
    present = np.unique(val.labels)
    by_label = [float(scores.dice[val.labels == number].mean()) for number in present]
    lesion, clean = scores.dice[scores.has_lesion], scores.dice[~scores.has_lesion]
    return SegmentationEpoch(
        epoch=trained.number,
        train_loss=trained.loss,
        train_dice=trained.score,
        val_loss=float(scores.loss.mean()),
        val_dice=float(np.mean(by_label)),
        val_lesion_dice=float(lesion.mean()) if len(lesion) else 0.0,
        val_clean=float(clean.mean()) if len(clean) else 1.0,
        lr=trained.lr,
        seconds=trained.seconds,
        images_per_second=trained.images_per_second,
    )


def _metrics(
    report: SegmentationReport,
    outlines: Outlines,
    run: Finished[UNet, OutlinedDataset, SegmentationEpoch],
) -> SegmentationMetrics:
    healthy = ~outlines.has_lesion
    clean = float((~outlines.is_outlined[healthy]).mean()) if healthy.any() else None
    whole = [row for row in report.overlaps if not row.source]
    rate = RATES.index(0.5)
    return SegmentationMetrics(
        images=report.images,
        dice={row.label: row.dice.value for row in whole},
        iou={row.label: row.iou.value for row in whole},
        clean=clean,
        sensitivity={
            row.source: row.sensitivity[rate].value for row in report.lesions if not row.label
        },
        val_dice=run.epochs[run.best - 1].val_dice,
        best_epoch=run.best,
        epochs=len(run.epochs),
    )


@dataclass(frozen=True)
class SegmentationRun:
    """A finished run of the segmentation stage, read back."""

    path: Path
    """The run folder."""
    recipe: Recipe
    """Of the stage, see `stage_recipe`."""
    model: UNet
    """In eval mode, with the best weights, on the CPU."""
    splits: Splits
    info: folder.RunInfo
    metrics: SegmentationMetrics


def load_segmentation(run: Path, data: Path | None = None) -> SegmentationRun:
    """Read a finished run of the segmentation stage.

    Args:
        run: a run folder.
        data: the folder of the data set, if it has moved since training.

    Raises:
        DataError: not a run folder, an unfinished run, a run of a classifier, a damaged file, or a
            missing image.
    """
    recipe = folder.read_finished_recipe(run)
    if recipe.segmentation is None:
        raise DataError(f"{run}: the run of a classifier, not of the segmentation stage")
    model = build_unet(recipe.segmentation)
    folder.load_model(run, model)
    info = folder.read_record(run / folder.REPORT, folder.RunInfo)
    splits = folder.read_splits(run / folder.SPLIT, data or Path(info.data))
    metrics = folder.read_record(run / folder.METRICS, SegmentationMetrics)
    return SegmentationRun(run, recipe, model.eval(), splits, info, metrics)
