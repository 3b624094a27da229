"""Outlines of a classifier that has a decoder of masks, on a labelled set."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.masks.data import MaskedDataset
from orthoedge.training.recipe import Recipe
from orthoedge.training.segmentation.markdown import report_lines
from orthoedge.training.segmentation.predictions import outline
from orthoedge.training.segmentation.report import write_report

OUTLINES = "outlines"
"""Folder of the outlines' report in a run folder, and in that of an evaluation."""


def dataset_of(recipe: Recipe) -> type[RadiographDataset]:
    """What the images of a run with this recipe were read into, so that their lists agree."""
    has_mask = recipe.mask.stride or recipe.region is not None
    return MaskedDataset if has_mask else RadiographDataset


def evaluate_masks(
    network: nn.Module | None,
    data: RadiographDataset,
    recipe: Recipe,
    folder: Path,
    command: str,
    seen: int = 0,
) -> list[str]:
    """Write the report of a network's outlines into `folder`, and return its headline.

    Args:
        network: gives logits of pixels, see `Outliner`; left in eval mode. None: of a classifier
            without a mask, for which nothing is written, and the headline is empty.
        data: images; those of which it is not known where the lesion is are left out, and without
            any other nothing is written either.
        recipe: of the run.
        folder: of the report.
        command: the command line, for the reader.
        seen: number of images that the run was trained or chosen on.
    """
    if network is None or not isinstance(data, MaskedDataset):
        return []
    known = data.known()
    if not len(known):
        return []
    outlines = outline(network, known)
    return report_lines(write_report(folder / OUTLINES, outlines, known, recipe, command, seen))
