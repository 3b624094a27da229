"""Training of a decoder of lesion masks on a finished run of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from lightning_fabric import Fabric

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training import run_folder as folder
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.evaluation.plots import write_curves
from orthoedge.training.loop.task import Finished, Task, TrainedEpoch
from orthoedge.training.loop.train import train
from orthoedge.training.masks.data import MaskedDataset, soft_masks
from orthoedge.training.masks.evaluate import evaluate_masks
from orthoedge.training.masks.network import Outliner
from orthoedge.training.masks.step import MaskStepper
from orthoedge.training.model.ensemble import Ensemble, build
from orthoedge.training.model.hub import WeightsFile
from orthoedge.training.model.weights import WeightsReport, load_weights
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run, TrainingMetrics
from orthoedge.training.segmentation.fit import CURVES, SegmentationRun, epoch_of
from orthoedge.training.segmentation.predictions import score
from orthoedge.training.segmentation.schema import SegmentationEpoch


def fit_masks(
    run: Run,
    recipe: Recipe,
    out: Path,
    teacher: SegmentationRun | None = None,
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
    cache: Path | None = None,
) -> TrainingMetrics:
    """Train a decoder of lesion masks on a classifier, and write a run folder of both.

    The classifier's weights, split and metrics stay as they are.

    Args:
        run: the classifier.
        recipe: its recipe, with the settings of the decoder.
        out: the new run folder.
        teacher: a U-Net whose outlines are learned too.
        resume: continue the run in `out`.
        progress: bars or lines.
        data: the folder that the paths of split.csv start from.
        cache: folder that keeps preprocessed images.

    Returns:
        The classifier's metrics.

    Raises:
        DataError: as `train`; or no image has a mask.
        ConfigError: as `train`; or the recipe has no decoder.
    """
    if not recipe.mask.stride:
        raise ConfigError("mask.stride: 0, so there is no decoder to train; give 8, say")
    splits = run.splits
    records = (*splits.train, *splits.val, *splits.test)
    if not any(record.mask is not None for record in splits.train):
        raise DataError("no training image has a mask; a decoder learns from the column mask")
    task = MaskTask(run, recipe, teacher)
    root = data or Path(run.info.data)
    return train(task, records, out, (), resume, progress, root, cache, splits=splits)


class MaskTask(Task[Ensemble, MaskedDataset, SegmentationEpoch, TrainingMetrics]):
    """Learn lesion masks on a classifier's features.

    Args:
        run: the classifier.
        recipe: its recipe, with the settings of the decoder.
        teacher: a U-Net whose outlines are learned too.
    """

    dataset = MaskedDataset
    epoch = SegmentationEpoch

    def __init__(self, run: Run, recipe: Recipe, teacher: SegmentationRun | None) -> None:
        settings = recipe.mask
        own = {"epochs": settings.epochs, "lr": settings.lr, "frozen_epochs": 0.0, "mixup": 0.0}
        super().__init__(msgspec.structs.replace(recipe, **own))
        self.recorded = recipe
        self._run, self._teacher = run, teacher

    def read(
        self, records: Sequence[ImageRecord], progress: bool, cache: Path | None
    ) -> MaskedDataset:
        """Read the images of a split; see `Task`. Training images are outlined by the U-Net."""
        data = super().read(records, progress, cache)
        if self._teacher is not None and records is self._run.splits.train:
            data.soft = soft_masks(self._teacher, data, self.recipe.preprocess, progress, cache)
            data.soft_weight = self.recipe.mask.soft_weight
        return data

    def build(self) -> Ensemble:
        """Build the network with its decoder; see `Task`."""
        return build(self.recipe)

    def weights(self, given: Sequence[Path]) -> tuple[WeightsFile, ...]:
        """Return the classifier's weights; see `Task`."""
        return (WeightsFile(self._run.folder / folder.MODEL),)

    def load(self, network: Ensemble, file: WeightsFile) -> WeightsReport:
        """Load the classifier's weights; see `Task`."""
        return load_weights(network, file)

    def audit(self, out: Path, records: Sequence[ImageRecord], resumed: bool) -> None:
        """Log how many images have a mask."""
        masks = sum(record.mask is not None for record in records)
        log_progress(f"{masks} of {len(records)} images have a mask")

    def stepper(
        self, network: Ensemble, fabric: Fabric, train: MaskedDataset, steps: int
    ) -> MaskStepper:
        """Set up the training of a decoder; see `Task`."""
        return MaskStepper(self.recipe, network, fabric, steps)

    def validate(
        self, network: Ensemble, val: MaskedDataset, trained: TrainedEpoch
    ) -> SegmentationEpoch:
        """Measure an epoch on the validation images whose outlines are known; see `Task`."""
        known = val.known()
        scores = score(Outliner(network), known, self.recipe.mask.miss_weight)
        return epoch_of(scores, known, trained)

    def finish(self, run: Finished[Ensemble, MaskedDataset, SegmentationEpoch]) -> TrainingMetrics:
        """Outline the test images, and write curves and report; the metrics are as they were."""
        write_curves(run.out / "curves.png", run.epochs, run.best, CURVES, "outline loss")
        network = Outliner(run.network)
        for line in evaluate_masks(network, run.test, self.recipe, run.out, run.command):
            log_progress(line)
        log_progress(f"test: best epoch {run.best} -> {run.out}")
        return self._run.metrics
