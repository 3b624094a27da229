"""evaluation.json: what a run is worth, with its uncertainty."""

from __future__ import annotations

import msgspec

from orthoedge.benchmarks.metrics.bootstrap_scores import ReliabilityBin
from orthoedge.benchmarks.schema import Interval
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit
from orthoedge.training.evaluation.fusion_rules import Fusion

SCHEMA = 1
JSON, MARKDOWN = "evaluation.json", "evaluation.md"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ClassScores(_Record, frozen=True):
    """One class against the rest; None where a score has no meaning on these images."""

    support: int
    """Images of the class."""
    precision: Interval | None
    """Share of the answers of this class that are right; None: it was never the answer."""
    recall: Interval | None
    """Sensitivity: share of its images that were found."""
    specificity: Interval | None
    """Share of the other images that were not taken for it."""
    f1: Interval | None
    """Harmonic mean of precision and recall."""
    auc: Interval | None
    """Area under the one-vs-rest ROC curve."""


class MapScore(_Record, frozen=True):
    """How the true class's maps agree with the marked lesions."""

    images: int
    """With such a mark."""
    share: Interval
    """Mean over them."""
    by_chance: float
    """What a map would reach that knows nothing: a random peak, or an even map."""


class EvaluationReport(_Record, frozen=True):
    """evaluation.json. Every interval is 95 %, by percentile bootstrap over groups."""

    schema: int
    command: str
    """What wrote it."""
    recipe: str
    """Name of the run's recipe."""
    labels: tuple[str, ...]
    """In the order of `confusion`."""
    list_sha256: str
    """Identity of the images, as in a run's report.json."""
    images: int
    """Evaluated."""
    groups: int
    """Patients or examinations that they come from."""
    sources: dict[str, int]
    """Images per collection."""
    crop: int
    """Side in pixels of the crops around the lesions that were evaluated; 0 = whole images."""
    seen: int
    """Images that the run was trained or chosen on; 0 unless that was asked for."""
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
    """Before temperature. Of resamples it tends to be larger, so its interval leans upwards."""
    classes: dict[str, ClassScores]
    """Per label."""
    confusion: tuple[tuple[int, ...], ...]
    """Row: true class, column: predicted class."""
    reliability: tuple[ReliabilityBin, ...]
    pointing_game: MapScore | None
    """Share of maps that peak in a box."""
    energy_in_mask: MapScore | None
    """Mean share of the map's sum inside the lesion's mask."""
    energy_in_box: MapScore | None
    """Mean share of the map's sum inside the lesion's boxes."""
    fusion: tuple[float, ...]
    """Learned weight of each branch."""
    fusions: tuple[Fusion, ...]
    """Ways to put the branches' answers together; empty for a single branch."""
    shortcuts: ShortcutAudit | None
    """What a classifier that sees no anatomy reaches on the same set."""
