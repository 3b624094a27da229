"""evaluation.json, evaluation.md and the pictures: what a run is worth, with its uncertainty."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.benchmarks import metrics as measure
from orthoedge.runtime.files import write_atomic
from orthoedge.training.data.radiographs import Radiographs
from orthoedge.training.data.shortcuts import ShortcutAudit, write_shortcuts
from orthoedge.training.data.studies import list_sha256
from orthoedge.training.ensemble import Ensemble
from orthoedge.training.evaluation.evaluate import Evaluation
from orthoedge.training.evaluation.fusions import Fusion, compare_fusions
from orthoedge.training.evaluation.gallery import write_gallery
from orthoedge.training.evaluation.lesion_cover import (
    cover_of_boxes,
    energy_inside,
    read_cover,
    to_cells,
)
from orthoedge.training.evaluation.plots import write_confusion, write_reliability, write_roc
from orthoedge.training.evaluation.scores import (
    RESAMPLES,
    Answers,
    Array,
    Interval,
    ReliabilityBin,
    bootstrap,
    interval,
    reliability,
)
from orthoedge.training.recipe import Recipe

SCHEMA = 1
JSON, MARKDOWN = "evaluation.json", "evaluation.md"
_PER_CLASS = ("precision", "recall", "specificity", "f1", "auc")


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


def write_evaluation(
    folder: Path,
    judged: Evaluation,
    data: Radiographs,
    recipe: Recipe,
    network: Ensemble,
    audit: ShortcutAudit | None,
    command: str,
    seen: int = 0,
) -> EvaluationReport:
    """Write the pictures, evaluation.md and, last, evaluation.json.

    Args:
        folder: made where it does not exist; each file is written atomically.
        judged: what the network answers to `data`.
        data: the images, in the recipe's preprocessing or in crops of it.
        recipe: of the run.
        network: that answered.
        audit: of the set that `data` comes from.
        command: the command line, for the reader.
        seen: how many of the images the network was trained or chosen on.

    Raises:
        DataError: a lesion's mask is not an image.
    """
    from orthoedge.training.evaluation.text import markdown

    answers, chances = _answers(judged, data, recipe)
    groups = [study.group for study in data.studies]
    point, drawn = bootstrap(answers, groups, recipe.seed)

    def one(name: str) -> Interval | None:
        return interval(getattr(point, name)[0], getattr(drawn, name))

    def always(name: str) -> Interval:
        found = one(name)
        assert found is not None
        return found

    def of_class(name: str, number: int) -> Interval | None:
        return interval(getattr(point, name)[0, number], getattr(drawn, name)[:, number])

    def of_map(name: str, values: Array) -> MapScore | None:
        share = one(name)
        if share is None:
            return None
        return MapScore(images=int((~np.isnan(values)).sum()), share=share, by_chance=chances[name])

    sides = data.images.shape[1], recipe.preprocess.size
    report = EvaluationReport(
        schema=SCHEMA,
        command=command,
        recipe=recipe.name,
        labels=recipe.labels,
        list_sha256=list_sha256(data.studies),
        images=len(data),
        groups=len(set(groups)),
        sources=dict(sorted(Counter(study.source for study in data.studies).items())),
        crop=0 if sides[0] == sides[1] else sides[0],
        seen=seen,
        resamples=RESAMPLES,
        seed=recipe.seed,
        accuracy=always("accuracy"),
        balanced_accuracy=one("balanced_accuracy"),
        macro_f1=always("macro_f1"),
        macro_auc=one("macro_auc"),
        loss=always("loss"),
        expected_calibration_error=always("expected_calibration_error"),
        classes={
            label: ClassScores(
                support=int((answers.truth == number).sum()),
                **{name: of_class(name, number) for name in _PER_CLASS},
            )
            for number, label in enumerate(recipe.labels)
        },
        confusion=tuple(tuple(row) for row in judged.confusion.tolist()),
        reliability=reliability(answers),
        pointing_game=of_map("pointing_game", answers.pointed),
        energy_in_mask=of_map("energy_in_mask", answers.in_mask),
        energy_in_box=of_map("energy_in_box", answers.in_box),
        fusion=tuple(network.fusion().tolist()),
        fusions=compare_fusions(
            judged, network.names, recipe.fusion, answers.truth, groups, recipe.seed
        ),
        shortcuts=audit,
    )
    _write_pictures(folder, report, judged, answers, data)
    write_atomic(folder / MARKDOWN, markdown(report).encode())
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    write_atomic(folder / JSON, encoded + b"\n")
    return report


def _answers(
    judged: Evaluation, data: Radiographs, recipe: Recipe
) -> tuple[Answers, dict[str, float]]:
    """Each image's answer, and what maps that know nothing would score."""
    probabilities = measure.softmax(judged.logits)
    rows = np.arange(len(data))
    shape, size = judged.saliency_map.shape[1:], data.images.shape[1]
    pointed, in_mask, in_box = (np.full(len(data), np.nan) for _ in range(3))
    chances: dict[str, list[float]] = {
        name: [] for name in ("pointing_game", "energy_in_mask", "energy_in_box")
    }
    for index, (saliency, boxes) in enumerate(zip(judged.saliency_map, data.boxes, strict=True)):
        if boxes:
            cells = to_cells(cover_of_boxes(boxes, size), shape)
            pointed[index] = measure.points_at(saliency, boxes)
            in_box[index] = energy_inside(saliency, cells)
            chances["pointing_game"].append(float((cells > 0).mean()))
            chances["energy_in_box"].append(float(cells.mean()))
    if size == recipe.preprocess.size:  # where a crop lies, only its boxes know
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            covers = pool.map(lambda study: read_cover(study, recipe.preprocess), data.studies)
            for index, cover in enumerate(covers):
                if cover is not None:
                    cells = to_cells(cover, shape)
                    in_mask[index] = energy_inside(judged.saliency_map[index], cells)
                    chances["energy_in_mask"].append(float(cells.mean()))
    answers = Answers(
        truth=data.labels,
        predicted=judged.logits.argmax(1),
        probabilities=probabilities,
        # From the logits, as a probability that rounds to 0 has no logarithm.
        loss=np.logaddexp.reduce(judged.logits.astype(np.float64), axis=1)
        - judged.logits[rows, data.labels],
        pointed=pointed,
        in_mask=in_mask,
        in_box=in_box,
    )
    return answers, {name: float(np.mean(found or [0])) for name, found in chances.items()}


def _write_pictures(
    folder: Path,
    report: EvaluationReport,
    judged: Evaluation,
    answers: Answers,
    data: Radiographs,
) -> None:
    write_confusion(folder / "confusion.png", judged.confusion, report.labels)
    names = [
        label if one.auc is None else f"{label} {one.auc.value:.3f}"
        for label, one in report.classes.items()
    ]
    write_roc(folder / "roc.png", answers.truth, answers.probabilities, names)
    error = report.expected_calibration_error.value
    write_reliability(folder / "reliability.png", report.reliability, error)
    write_gallery(folder / "maps.png", judged, answers, data, report.labels, report.seed)
    if report.shortcuts is not None:
        write_shortcuts(folder / "shortcuts.png", report.shortcuts)
