"""Compute and write the report of outlines: evaluation.json, evaluation.md and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import (
    RESAMPLES,
    Array,
    interval,
    mean_intervals,
    resamples,
)
from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.atomic_files import together, write_atomic
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import write_record
from orthoedge.training.segmentation import schema
from orthoedge.training.segmentation.data import OutlinedDataset
from orthoedge.training.segmentation.froc import RATES, FreeResponse
from orthoedge.training.segmentation.markdown import markdown
from orthoedge.training.segmentation.pictures import write_froc, write_typical, write_worst
from orthoedge.training.segmentation.predictions import Outlines
from orthoedge.training.segmentation.schema import (
    CleanScore,
    LesionScores,
    OverlapScores,
    SegmentationReport,
)

Chosen = npt.NDArray[np.bool_]


def write_report(
    folder: Path,
    outlines: Outlines,
    data: OutlinedDataset,
    recipe: Recipe,
    command: str,
    seen: int = 0,
) -> SegmentationReport:
    """Write the pictures, evaluation.md and, last, evaluation.json.

    Args:
        folder: created if missing; a full disk leaves it unchanged.
        outlines: of the network on `data`.
        data: the images.
        recipe: of the run.
        command: the command line, for the reader.
        seen: number of images that the network was trained or chosen on.
    """
    sources = Counter(record.source for record in data.records)
    report = SegmentationReport(
        schema=schema.SCHEMA,
        command=command,
        recipe=recipe.name,
        labels=recipe.labels,
        list_sha256=data.list_sha256,
        images=len(data),
        groups=len({record.patient_id for record in data.records}),
        sources=dict(sorted(sources.items())),
        size=outlines.size,
        seen=seen,
        resamples=RESAMPLES,
        seed=recipe.seed,
        overlaps=tuple(_overlaps(outlines, data, recipe.seed)),
        clean=tuple(_clean(outlines, data, recipe.seed)),
        lesions=tuple(_lesions(outlines, data, recipe.seed)),
    )
    with together(folder, schema.JSON) as new:
        write_froc(new / "froc.png", free_responses(outlines, data))
        write_typical(new / "typical.png", outlines, data)
        write_worst(new / "worst.png", outlines, data)
        write_atomic(new / schema.MARKDOWN, markdown(report).encode())
        write_record(new / schema.JSON, report)
    return report


def free_responses(outlines: Outlines, data: OutlinedDataset) -> dict[str, FreeResponse]:
    """Marks within each collection that has a lesion, by its name."""
    responses = {}
    for source, own in _sources(data).items():
        if (own & outlines.has_lesion).any():
            images = np.flatnonzero(own)
            marks = [outlines.marks[index] for index in images]
            responses[source] = FreeResponse(marks, np.ones(len(images), bool))
    return responses


def _sources(data: OutlinedDataset) -> dict[str, Chosen]:
    names = np.array([record.source for record in data.records])
    return {str(name): names == name for name in sorted(set(names.tolist()))}


def _means(
    values: Array, chosen: Chosen, data: OutlinedDataset, seed: int
) -> tuple[Interval | None, ...]:
    """Means of (M, N) over the chosen images, with intervals."""
    images = np.flatnonzero(chosen)
    groups = [data.records[index].patient_id for index in images]
    return mean_intervals(values[:, images], groups, data.labels[images], seed)


def _overlaps(outlines: Outlines, data: OutlinedDataset, seed: int) -> Iterator[OverlapScores]:
    every = np.ones(len(data), bool)
    sources = _sources(data)
    parts = {"": every} | (sources if len(sources) > 1 else {})
    touched = (outlines.overlaps[0] > 0).astype(np.float64)
    values = np.vstack((touched, outlines.overlaps))
    for source, own in parts.items():
        for number, label in enumerate(data.label_names):
            chosen = own & outlines.has_lesion & (data.labels == number)
            if not chosen.any():
                continue
            found, dice, iou, distance, hausdorff = _means(values, chosen, data, seed)
            assert found is not None
            assert dice is not None
            assert iou is not None
            yield OverlapScores(
                source=source,
                label=label,
                images=int(chosen.sum()),
                found=found,
                dice=dice,
                iou=iou,
                surface_distance=distance,
                hausdorff_95=hausdorff,
            )


def _clean(outlines: Outlines, data: OutlinedDataset, seed: int) -> Iterator[CleanScore]:
    clean = (~outlines.is_outlined).astype(np.float64)[None]
    for source, own in _sources(data).items():
        chosen = own & ~outlines.has_lesion
        if chosen.any():
            (share,) = _means(clean, chosen, data, seed)
            assert share is not None
            yield CleanScore(source=source, images=int(chosen.sum()), clean=share)


def _lesions(outlines: Outlines, data: OutlinedDataset, seed: int) -> Iterator[LesionScores]:
    for source, own in _sources(data).items():
        images = np.flatnonzero(own)
        marks = [outlines.marks[index] for index in images]
        labels = data.labels[images]
        groups = [data.records[index].patient_id for index in images]
        weights = list(resamples(groups, labels, seed))
        present = np.flatnonzero(np.bincount(labels[outlines.has_lesion[images]]))
        kinds = [("", np.ones(len(images), bool))] if len(present) else []
        if len(present) > 1:
            kinds += [(data.label_names[number], labels == number) for number in present]
        for label, counted in kinds:
            response = FreeResponse(marks, counted)
            (point,) = response.sensitivity(RATES, np.ones((1, len(images))))
            drawn = np.concatenate([response.sensitivity(RATES, w) for w in weights])
            intervals = [interval(float(p), drawn[:, k]) for k, p in enumerate(point)]
            yield LesionScores(
                source=source,
                label=label,
                images=len(images),
                lesions=response.lesions,
                rates=RATES,
                sensitivity=tuple(known for known in intervals if known is not None),
            )
