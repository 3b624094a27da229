"""Training of a classifier on the region that a finished U-Net outlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from orthoedge.runtime.errors import ConfigError
from orthoedge.training import run_folder as folder
from orthoedge.training.fit import ClassifierTask
from orthoedge.training.loop.train import train
from orthoedge.training.masks.data import MaskedDataset
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.hub import WeightsFile
from orthoedge.training.model.weights import WeightsReport, load_weights
from orthoedge.training.recipe import Recipe, RegionSettings
from orthoedge.training.run_folder import TrainingMetrics
from orthoedge.training.segmentation.fit import SegmentationRun, stage_of


def region_recipe(recipe: Recipe, run: SegmentationRun) -> Recipe:
    """Put the U-Net of a run in front of a recipe's classifier.

    The input becomes that of the U-Net, and the classifier is shown the region at the size that its
    input has in the recipe. The split is that of the U-Net, which has learned from its training
    images and would know those of another test split.

    Raises:
        ConfigError: the labels or the preprocessing differ, or a setting does not go with a region.
    """
    stage, given = stage_of(run.recipe), recipe.preprocess
    if run.recipe.labels != recipe.labels:
        got = f"{list(run.recipe.labels)} of the U-Net's run, {list(recipe.labels)} of the recipe"
        raise ConfigError(f"labels: {got}; they must agree")
    preprocess = run.recipe.preprocess
    if msgspec.structs.replace(given, size=preprocess.size) != preprocess:
        raise ConfigError("preprocess: differs from that of the U-Net's run in more than its size")
    region = RegionSettings(size=given.size, encoder=stage.encoder, decoder=stage.decoder)
    return msgspec.structs.replace(
        recipe,
        preprocess=preprocess,
        split=run.recipe.split,
        segmentation=None,
        region=region,
    )


def fit_region(
    run: SegmentationRun,
    recipe: Recipe,
    out: Path,
    weights: Sequence[Path] = (),
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
    cache: Path | None = None,
) -> TrainingMetrics:
    """Train the classifier of a region, and write a run folder of U-Net and classifier.

    The images are those of the U-Net's run: one with a lesion and without a mask is not among them.

    Args:
        run: a finished run of the segmentation stage; its U-Net stays as it is.
        recipe: of the classifier; see `region_recipe`.
        out: as in `train`, like all that follow.
        weights: safetensors that the classifier starts from.
        resume: continue the run in `out`.
        progress: bars or lines.
        data: the folder that the paths of split.csv start from.
        cache: folder that keeps preprocessed images.

    Returns:
        The best epoch's metrics on the test split.

    Raises:
        DataError: as `train`.
        ConfigError: as `train` and `region_recipe`.
    """
    splits = run.splits
    records = (*splits.train, *splits.val, *splits.test)
    task = RegionTask(region_recipe(recipe, run), run)
    return train(task, records, out, weights, resume, progress, data, cache, splits=splits)


class RegionTask(ClassifierTask):
    """Learn the labels from the region that a U-Net outlines.

    Args:
        recipe: with a region.
        run: of the U-Net.
    """

    dataset = MaskedDataset

    def __init__(self, recipe: Recipe, run: SegmentationRun) -> None:
        super().__init__(recipe)
        self._unet = WeightsFile(run.path / folder.MODEL)

    def weights(self, given: Sequence[Path]) -> tuple[WeightsFile, ...]:
        """Return the classifier's files and, last, the U-Net's; see `Task`."""
        return (*super().weights(given), self._unet)

    def load(self, network: Ensemble, file: WeightsFile) -> WeightsReport:
        """Load the tensors of a file; see `Task`."""
        if file is not self._unet:
            return load_weights(network, file)
        assert network.region is not None
        digest = folder.load_model(file.path.parent, network.region.unet)
        count = len(network.region.unet.state_dict())
        return WeightsReport(
            file=str(file.path),
            sha256=digest,
            into="the U-Net",
            loaded=count,
            wanted=count,
            missed=(),
            unused=(),
        )
