"""Compute and write the report of an evaluation: evaluation.json, evaluation.md and plots."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.benchmarks.metrics.bootstrap import RESAMPLES, Array, interval
from orthoedge.benchmarks.metrics.bootstrap_scores import Predictions, bootstrap, reliability
from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.atomic_files import together, write_atomic
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import list_sha256
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit, write_shortcuts
from orthoedge.training.evaluation import lesion_overlap, schema
from orthoedge.training.evaluation.by_source import ask_sources, score_sources
from orthoedge.training.evaluation.fusion_rules import compare_fusions
from orthoedge.training.evaluation.gallery import write_gallery, write_misses
from orthoedge.training.evaluation.markdown import markdown
from orthoedge.training.evaluation.network_audit import audit_network
from orthoedge.training.evaluation.plots import (
    write_confusion,
    write_net_benefit,
    write_reliability,
    write_roc,
)
from orthoedge.training.evaluation.predictions import Evaluation
from orthoedge.training.evaluation.schema import ClassScores, EvaluationReport, MapScore
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import write_record

_PER_CLASS = ("precision", "recall", "specificity", "f1", "auc")


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    data: RadiographDataset,
    recipe: Recipe,
    network: Ensemble,
    audit: ShortcutAudit | None,
    command: str,
    seen: int = 0,
) -> EvaluationReport:
    """Write the plots, evaluation.md and, last, evaluation.json.

    Args:
        folder: created if missing; a full disk leaves it unchanged.
        evaluation: outputs of the network on `data`.
        data: the images, in the recipe's preprocessing or in crops of it.
        recipe: of the run.
        network: that was evaluated.
        audit: shortcut audit of the set.
        command: the command line, for the reader.
        seen: number of images that the network was trained or chosen on.

    Raises:
        DataError: a lesion's mask is not an image.
    """
    predictions, chances = _predictions(evaluation, data, recipe)
    groups = [record.patient_id for record in data.records]
    point, drawn = bootstrap(predictions, groups, recipe.seed)

    def score(name: str) -> Interval | None:
        return interval(getattr(point, name)[0], getattr(drawn, name))

    def known(name: str) -> Interval:
        known_score = score(name)
        assert known_score is not None
        return known_score

    def of_class(name: str, number: int) -> Interval | None:
        return interval(getattr(point, name)[0, number], getattr(drawn, name)[:, number])

    def of_map(name: str, values: Array) -> MapScore | None:
        share, images = score(name), int((~np.isnan(values)).sum())
        if share is None:
            return None
        return MapScore(images=images, share=share, by_chance=chances[name])

    source_scores, answers = score_sources(
        evaluation.logits,
        predictions.pointed,
        data,
        recipe.seed,
        _mask_pointed(evaluation, data),
    )
    sides = data.images.shape[1], recipe.preprocess.size
    report = EvaluationReport(
        schema=schema.SCHEMA,
        command=command,
        recipe=recipe.name,
        labels=recipe.labels,
        list_sha256=list_sha256(data.records, data.digests),
        images=len(data),
        groups=len(set(groups)),
        sources=dict(sorted(Counter(record.source for record in data.records).items())),
        crop=0 if sides[0] == sides[1] else sides[0],
        seen=seen,
        resamples=RESAMPLES,
        seed=recipe.seed,
        accuracy=known("accuracy"),
        balanced_accuracy=score("balanced_accuracy"),
        macro_f1=known("macro_f1"),
        macro_auc=score("macro_auc"),
        loss=known("loss"),
        expected_calibration_error=known("expected_calibration_error"),
        classes={
            label: ClassScores(
                support=int((predictions.truth == number).sum()),
                **{name: of_class(name, number) for name in _PER_CLASS},
            )
            for number, label in enumerate(recipe.labels)
        },
        confusion=tuple(tuple(row) for row in evaluation.confusion.tolist()),
        reliability=reliability(predictions),
        pointing_game=of_map("pointing_game", predictions.pointed),
        energy_in_mask=of_map("energy_in_mask", predictions.in_mask),
        energy_in_box=of_map("energy_in_box", predictions.in_box),
        fusion=tuple(network.fusion().tolist()),
        fusions=compare_fusions(
            evaluation,
            network.names,
            recipe.fusion,
            predictions.truth,
            groups,
            recipe.seed,
            data if recipe.source_labels else None,
        ),
        shortcuts=audit,
        source_scores=source_scores,
        answers=answers,
        network_audit=None
        if recipe.augment.crop
        else audit_network(network, evaluation.features, data, recipe.preprocess, recipe.seed),
    )
    with together(folder, schema.JSON) as new:
        names = [
            label if scores.auc is None else f"{label} {scores.auc.value:.3f}"
            for label, scores in report.classes.items()
        ]
        write_confusion(new / "confusion.png", evaluation.confusion, recipe.labels)
        write_roc(new / "roc.png", predictions.truth, predictions.probabilities, names)
        error = report.expected_calibration_error.value
        write_reliability(new / "reliability.png", report.reliability, error)
        if asked := ask_sources(evaluation.logits, data):
            write_net_benefit(new / "net-benefit.png", asked)
        write_gallery(new / "maps.png", evaluation, predictions, data, recipe.labels, recipe.seed)
        write_misses(new / "misses.png", evaluation, predictions, data, recipe.labels)
        if audit is not None:
            write_shortcuts(new / "shortcuts.png", audit)
        write_atomic(new / schema.MARKDOWN, markdown(report).encode())
        write_record(new / schema.JSON, report)
    if audit is None:
        (folder / "shortcuts.png").unlink(missing_ok=True)
    return report


def _mask_pointed(evaluation: Evaluation, data: RadiographDataset) -> Array:
    """(N,) pointing game of the lesion mask, within the reach of a cell of the map; else NaN."""
    pointed = np.full(len(data), np.nan)
    if evaluation.mask_peaks is not None:
        reach = 1 / evaluation.saliency_map.shape[2]
        for index, boxes in enumerate(data.boxes):
            if boxes:
                pointed[index] = measure.near_box(evaluation.mask_peaks[index], boxes, reach)
    return pointed


def _predictions(
    evaluation: Evaluation, data: RadiographDataset, recipe: Recipe
) -> tuple[Predictions, dict[str, float]]:
    """Gather each image's prediction and map scores, and the expected scores of uninformed maps."""
    maps, size = evaluation.saliency_map, data.images.shape[1]
    pointed, in_mask, in_box = (np.full(len(data), np.nan) for _ in range(3))
    chances: dict[str, list[float]] = {
        name: [] for name in ("pointing_game", "energy_in_mask", "energy_in_box")
    }
    for index, boxes in enumerate(data.boxes):
        if boxes:
            cover = lesion_overlap.cover_of_boxes(boxes, size)
            cells = lesion_overlap.to_cells(cover, maps.shape[1:])
            pointed[index] = measure.points_at(maps[index], boxes)
            in_box[index] = lesion_overlap.energy_inside(maps[index], cells)
            chances["pointing_game"].append(float((cells > 0).mean()))
            chances["energy_in_box"].append(float(cells.mean()))
    if size == recipe.preprocess.size:  # masks need whole images
        geometry = data.records, data.shapes, data.placements, repeat(size)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for index, mask in enumerate(pool.map(lesion_overlap.read_cover, *geometry)):
                if mask is not None:
                    cells = lesion_overlap.to_cells(mask, maps.shape[1:])
                    in_mask[index] = lesion_overlap.energy_inside(maps[index], cells)
                    chances["energy_in_mask"].append(float(cells.mean()))
    predictions = Predictions(
        truth=data.labels,
        predicted=evaluation.logits.argmax(1),
        probabilities=measure.softmax(evaluation.logits),
        loss=-measure.log_softmax(evaluation.logits)[np.arange(len(data)), data.labels],
        pointed=pointed,
        in_mask=in_mask,
        in_box=in_box,
    )
    return predictions, {name: float(np.mean(shares or [0])) for name, shares in chances.items()}
