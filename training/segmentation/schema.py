"""Files of a segmentation run: lines of log.csv, metrics.json and evaluation.json."""

from __future__ import annotations

from orthoedge.benchmarks.schema import Interval
from orthoedge.training.run_folder import EpochRow, Record

SCHEMA = 1
JSON, MARKDOWN = "evaluation.json", "evaluation.md"


class SegmentationEpoch(EpochRow, frozen=True):
    """One line of log.csv. The Dice of an image without a lesion is 1 if nothing is outlined."""

    train_dice: float
    """Mean over the augmented images."""
    val_dice: float
    """Mean over the labels of the mean of their images; selects the best epoch."""
    val_lesion_dice: float
    """Mean over the images with a lesion."""
    val_clean: float
    """Share of the images without a lesion on which nothing is outlined."""

    @property
    def score(self) -> float:
        """Dice over all labels."""
        return self.val_dice

    def shown(self) -> str:
        """Return the Dice and its two sides."""
        return (
            f"Dice {self.val_dice:.3f} (lesions {self.val_lesion_dice:.3f}, "
            f"clean {self.val_clean:.3f})"
        )


class SegmentationMetrics(Record, frozen=True):
    """metrics.json: the best epoch on the test split, in float32."""

    images: int
    """Images of the test split."""
    dice: dict[str, float]
    """Mean over the images with a lesion, per label."""
    iou: dict[str, float]
    """The same of intersection over union."""
    clean: float | None
    """Share of the images without a lesion on which nothing is outlined; None: no such image."""
    sensitivity: dict[str, float]
    """Share of the lesions found at 0.5 false alarms per image, by source."""
    val_dice: float
    """Of the best epoch."""
    best_epoch: int
    """From 1."""
    epochs: int
    """Epochs run."""


class OverlapScores(Record, frozen=True):
    """Outlines of the images of one label in one collection that have a lesion."""

    source: str
    """The collection; empty: all of them."""
    label: str
    """The label; empty: all of them."""
    images: int
    """With a lesion in the network's input."""
    found: Interval
    """Share of these images whose outline touches a lesion."""
    dice: Interval
    """Mean over the images."""
    iou: Interval
    """Mean intersection over union."""
    surface_distance: Interval | None
    """Mean distance of the borders in pixels of the input, of images with an outline."""
    hausdorff_95: Interval | None
    """Mean of its 95th percentile, the same way."""


class CleanScore(Record, frozen=True):
    """Images of one collection that have no lesion."""

    source: str
    """The collection."""
    images: int
    """Without a lesion."""
    clean: Interval
    """Share of them on which nothing is outlined."""


class LesionScores(Record, frozen=True):
    """Sensitivity per lesion, see `froc`, within one collection."""

    source: str
    """The collection, whose images all count for the false alarms."""
    label: str
    """Of the lesions; empty: all of them."""
    images: int
    """Of the collection."""
    lesions: int
    """Connected regions of the masks."""
    rates: tuple[float, ...]
    """False alarms per image."""
    sensitivity: tuple[Interval, ...]
    """Share of the lesions found, at each rate."""


class SegmentationReport(Record, frozen=True):
    """evaluation.json. Every interval is 95 %, by percentile bootstrap over patients."""

    schema: int
    command: str
    """Command line that wrote it."""
    recipe: str
    """Name of the run's recipe."""
    labels: tuple[str, ...]
    """Of the recipe."""
    list_sha256: str
    """Identity of the images and masks, as in a run's report.json."""
    images: int
    """Evaluated."""
    groups: int
    """Patients of the images."""
    sources: dict[str, int]
    """Images per collection."""
    size: int
    """Side of the network's input, whose pixels distances are in."""
    seen: int
    """Images that the run was trained or chosen on; 0 without --allow-seen."""
    resamples: int
    """Of the bootstrap."""
    seed: int
    """Of the bootstrap."""
    overlaps: tuple[OverlapScores, ...]
    """Per label over all collections, then within each."""
    clean: tuple[CleanScore, ...]
    """Per collection."""
    lesions: tuple[LesionScores, ...]
    """Per collection, of all labels first."""
