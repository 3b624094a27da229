"""evaluation.json: the scores of a run, with their uncertainty."""

from __future__ import annotations

import msgspec

from orthoedge.benchmarks.metrics.bootstrap_scores import ReliabilityBin
from orthoedge.benchmarks.schema import Interval
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit
from orthoedge.training.evaluation.network_audit import NetworkAudit
from orthoedge.training.run_folder import Record

SCHEMA = 2
JSON, MARKDOWN = "evaluation.json", "evaluation.md"


class ClassScores(Record, frozen=True):
    """One class against the rest; None where a score is undefined on these images."""

    support: int
    """Images of the class."""
    precision: Interval | None
    """Share of the predictions of this class that are right; None: it was never predicted."""
    recall: Interval | None
    """Sensitivity: share of its images that were recognised."""
    specificity: Interval | None
    """Share of the other images that were not predicted as it."""
    f1: Interval | None
    """Harmonic mean of precision and recall."""
    auc: Interval | None
    """Area under the one-vs-rest ROC curve."""


class MapScore(Record, frozen=True):
    """Agreement of the true class's maps with the marked lesions."""

    images: int
    """Images with such a mark."""
    share: Interval
    """Mean over these images."""
    by_chance: float
    """Expected share of an uninformed map: a random peak, or an even map."""


class Answer(Record, frozen=True):
    """Answer to one question within one collection, or within a subgroup of it."""

    source: str
    """The collection."""
    part: str
    """`site`, `body part`, `age` or `sex` and its value; empty for the whole collection."""
    question: str
    """Such as `fracture`: against non-affected bones; `malignancy`: against benign tumours."""
    positives: int
    """Images that have it."""
    negatives: int
    """Images that do not."""
    groups: int
    """Patients of both."""
    auc: Interval
    """Area under the ROC curve."""
    sensitivity: Interval
    """At the threshold with at least 90 % specificity on these images."""
    specificity: Interval
    """At the threshold with at least 90 % sensitivity on these images."""


class Pointing(Record, frozen=True):
    """Pointing game of one label's images in one collection."""

    images: int
    """With lesion boxes."""
    share: Interval
    """Of maps whose peak cell touches a box."""


class SourceScores(Record, frozen=True):
    """Confidence and maps within one collection."""

    source: str
    """The collection."""
    images: int
    """Evaluated."""
    calibration_error: Interval
    """Expected calibration error over all labels, without a temperature."""
    pointing: dict[str, Pointing]
    """Per label that has lesion boxes."""
    mask_pointing: dict[str, Pointing] = msgspec.field(default_factory=dict)
    """The same of the highest place of the lesion mask, with the reach of a cell of the map; empty
    without a mask."""


class Fusion(Record, frozen=True):
    """Scores of one rule, compared with the learned fusion."""

    rule: str
    """Name of the rule that combines the branches."""
    accuracy: Interval
    """Share of correct labels."""
    macro_f1: Interval
    """Unweighted mean of the classes' F1."""
    accuracy_gain: Interval | None
    """Accuracy minus the learned fusion's, on the same resamples; None for the learned fusion."""
    macro_f1_gain: Interval | None
    """The same for macro-F1."""
    changed: int
    """Images with a prediction different from the learned fusion's."""
    auc: Interval | None = None
    """Mean AUC within the collections; None where the recipe has no `source_labels`."""
    auc_gain: Interval | None = None
    """The same minus the learned fusion's; None for the learned fusion too."""


class EvaluationReport(Record, frozen=True):
    """evaluation.json. Every interval is 95 %, by percentile bootstrap over groups (patients)."""

    schema: int
    command: str
    """Command line that wrote it."""
    recipe: str
    """Name of the run's recipe."""
    labels: tuple[str, ...]
    """In the order of `confusion`."""
    list_sha256: str
    """Identity of the images, as in a run's report.json."""
    images: int
    """Evaluated."""
    groups: int
    """Patients or examinations of the images."""
    sources: dict[str, int]
    """Images per collection."""
    crop: int
    """Side in pixels of the crops around the lesions that were evaluated; 0 = whole images."""
    seen: int
    """Images that the run was trained or chosen on; 0 without --allow-seen."""
    resamples: int
    """Of the bootstrap."""
    seed: int
    """Of the bootstrap and of the gallery."""
    accuracy: Interval
    balanced_accuracy: Interval | None
    """Mean recall of the classes."""
    macro_f1: Interval
    macro_auc: Interval | None
    """Mean of the classes' AUC."""
    loss: Interval
    """Cross-entropy."""
    expected_calibration_error: Interval
    """Before temperature. It tends to be larger on resamples, so its interval leans upwards."""
    classes: dict[str, ClassScores]
    """Per label."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: true class, column: predicted class."""
    reliability: tuple[ReliabilityBin, ...]
    pointing_game: MapScore | None
    """Share of maps whose peak cell touches a box of the lesion.

    A peak is no more precise than its cell, which replaces the usual tolerance of 15 pixels.
    """
    energy_in_mask: MapScore | None
    """Mean share of the map's sum inside the lesion's mask."""
    energy_in_box: MapScore | None
    """Mean share of the map's sum inside the lesion's boxes."""
    fusion: tuple[float, ...]
    """Learned weight of each branch."""
    fusions: tuple[Fusion, ...]
    """Rules that combine the branches; empty for a single branch."""
    shortcuts: ShortcutAudit | None
    """Shortcut audit of the same set."""
    source_scores: tuple[SourceScores, ...] = ()
    """Per collection; empty in reports of schema 1."""
    answers: tuple[Answer, ...] = ()
    """Within each collection: of all its images first, then by site, body part, age and sex."""
    network_audit: NetworkAudit | None = None
    """None in reports of schema 1, and for crops."""
