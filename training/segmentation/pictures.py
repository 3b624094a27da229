"""Pictures of outlines on radiographs, and the FROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orthoedge.training.data.dataset import Pixels
from orthoedge.training.evaluation.plots import COLOURS, save
from orthoedge.training.segmentation.data import Mask, OutlinedDataset
from orthoedge.training.segmentation.froc import RATES, FreeResponse
from orthoedge.training.segmentation.predictions import Outlines

_COLUMNS = 6
_SIDE = 224  # pixels of a tile
_MASK, _OUTLINE = (255, 255, 255), (255, 140, 0)
_SHORT = {"tumor-benign": "benign", "tumor-malignant": "malignant"}


def write_typical(path: Path, outlines: Outlines, data: OutlinedDataset) -> None:
    """Draw images of each label with lesions at equal steps of their Dice, from low to high."""
    rows = {}
    for label, images in _with_lesion(outlines, data).items():
        order = images[np.argsort(outlines.overlaps[0, images], kind="stable")]
        steps = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * len(order)
        rows[label] = order[np.unique(steps.astype(int))]
    _write(path, rows, outlines, data)


def write_worst(path: Path, outlines: Outlines, data: OutlinedDataset) -> None:
    """Draw the images with the lowest Dice of each label, larger lesions first where it is equal.

    Of images without a lesion, those with the largest outlines.
    """
    rows = {}
    for label, images in _with_lesion(outlines, data).items():
        areas = [-int(data.mask(index).sum()) for index in images]
        rows[label] = images[np.lexsort((areas, outlines.overlaps[0, images]))][:_COLUMNS]
    wrong = np.flatnonzero(~outlines.has_lesion & outlines.is_outlined)
    areas = [-int(outlines.mask(int(index)).sum()) for index in wrong]
    rows["no lesion"] = wrong[np.argsort(areas, kind="stable")][:_COLUMNS]
    _write(path, rows, outlines, data)


def write_froc(path: Path, responses: Mapping[str, FreeResponse]) -> None:
    """Plot sensitivity per lesion against false alarms per image, one curve per collection."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axis = figure.subplots()
    most = 2 * RATES[-1]
    for number, (source, response) in enumerate(responses.items()):
        rates, sensitivity = response.curve()
        end = max(most, float(rates[-1]))
        axis.step(
            np.append(rates, end),
            np.append(sensitivity, sensitivity[-1]),
            where="post",
            color=COLOURS[number % len(COLOURS)],
            lw=1.8,
            label=f"{source or 'all'} ({response.lesions} lesions)",
        )
    axis.axvline(0.5, color="0.6", ls=":", lw=1)
    axis.set(xlim=(0, most), ylim=(0, 1.01))
    axis.set_xlabel("false alarms per image")
    axis.set_ylabel("sensitivity per lesion")
    axis.grid(alpha=0.3)
    if responses:
        axis.legend(fontsize=8, loc="lower right")
    save(figure, path)


def _with_lesion(outlines: Outlines, data: OutlinedDataset) -> dict[str, npt.NDArray[np.int64]]:
    """Indices of the images with a lesion, by label; labels without one are left out."""
    chosen = {
        label: np.flatnonzero(outlines.has_lesion & (data.labels == number))
        for number, label in enumerate(data.label_names)
    }
    return {label: images for label, images in chosen.items() if len(images)}


def _write(
    path: Path,
    rows: Mapping[str, npt.NDArray[np.int64]],
    outlines: Outlines,
    data: OutlinedDataset,
) -> None:
    height = max(1, len(rows)) * (_SIDE + 26) / 100
    figure = Figure(figsize=(_COLUMNS * (_SIDE + 8) / 100 + 0.3, height))
    axes = figure.subplots(max(1, len(rows)), _COLUMNS, squeeze=False)
    edges = {"left": 0.02, "right": 0.998, "top": 1 - 0.22 / height, "bottom": 0.03 / height}
    figure.subplots_adjust(**edges, wspace=0.03, hspace=0.11)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_visible(False)
    for row, (label, images) in zip(axes, rows.items(), strict=False):
        row[0].set_ylabel(_SHORT.get(label, label), fontsize=9)
        _fill(row, images.tolist(), outlines, data)
    save(figure, path)  # a palette has no room for the few orange pixels


def _fill(
    row: Sequence[Axes], images: Sequence[int], outlines: Outlines, data: OutlinedDataset
) -> None:
    if not images:
        row[0].text(0.5, 0.5, "none", ha="center", va="center")
    for axis, index in zip(row, images, strict=False):
        lesion, outline = data.mask(index), outlines.mask(index)
        axis.imshow(draw_outlines(data.images[index], lesion, outline), interpolation="none")
        value = outlines.overlaps[0, index]
        title = f"{value:.2f}" if outlines.has_lesion[index] else f"{outline.mean():.1%} outlined"
        axis.set_title(title, fontsize=8, pad=2)


def draw_outlines(image: Pixels, lesion: Mask, outline: Mask) -> Pixels:
    """Draw the mask of the lesion in white and an outline in orange.

    Args:
        image: uint8 (S, S).
        lesion: bool (S, S).
        outline: bool (S, S).

    Returns:
        RGB, uint8 (224, 224, 3).
    """
    picture = cv2.cvtColor(cv2.resize(image, (_SIDE, _SIDE)), cv2.COLOR_GRAY2RGB)
    for mask, colour in ((lesion, _MASK), (outline, _OUTLINE)):
        large = cv2.resize(mask.astype(np.uint8) * 255, (_SIDE, _SIDE)) >= 128
        lines, _ = cv2.findContours(
            large.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, lines, -1, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.drawContours(picture, lines, -1, colour, 1, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)
