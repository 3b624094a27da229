"""Radiographs with saliency maps: some of each class, right and wrong, and the worst misses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Stroke

from orthoedge.benchmarks.metrics.bootstrap_scores import Predictions
from orthoedge.runtime.overlay.overlay import draw_heat_map
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.evaluation.plots import save
from orthoedge.training.evaluation.predictions import Evaluation

_RIGHT, _WRONG = 2, 2  # tiles of a class
_MISSES = 4, 5  # rows and columns
_SHORT = {"tumor-benign": "benign", "tumor-malignant": "malignant"}
_SIDE = 112  # pixels of a tile
_DRAWN = 256  # pixels at which it is drawn, so that the outline is thin after shrinking


def write_gallery(
    path: Path,
    evaluation: Evaluation,
    predictions: Predictions,
    data: RadiographDataset,
    labels: tuple[str, ...],
    seed: int,
) -> None:
    """Draw random right and wrong predictions of each class.

    Every tile is the network's input under the map of the predicted class, with the lesion's boxes
    in white.
    """
    rng = np.random.default_rng(seed)
    columns = _RIGHT + _WRONG
    height = len(labels) * (_SIDE + 24) / 100 + 0.25
    figure = Figure(figsize=(columns * (_SIDE + 12) / 100 + 0.3, height))
    axes = figure.subplots(len(labels), columns, squeeze=False)
    edges = {"left": 0.045, "right": 0.995, "top": 1 - 0.45 / height, "bottom": 0.03 / height}
    figure.subplots_adjust(**edges, wspace=0.1, hspace=0.2)
    right = predictions.predicted == predictions.truth
    for number, label in enumerate(labels):
        here = predictions.truth == number
        chosen = _draw(rng, here & right, _RIGHT) + _draw(rng, here & ~right, _WRONG)
        axes[number, 0].set_ylabel(label, fontsize=8)
        for axis, index in zip(axes[number], chosen, strict=True):
            axis.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0), aspect="equal")
            for spine in axis.spines.values():
                spine.set_visible(False)
            if index is None:
                axis.text(0.5, 0.5, "no such\nimage", ha="center", va="center", fontsize=7)
                continue
            _tile(axis, evaluation, data, index)
            predicted = int(predictions.predicted[index])
            probability = predictions.probabilities[index, predicted]
            axis.set_title(f"→ {labels[predicted]} {probability:.2f}", fontsize=7, pad=3)
    for title, first, last in (("right", 0, _RIGHT - 1), ("wrong", _RIGHT, columns - 1)):
        x = (axes[0, first].get_position().x0 + axes[0, last].get_position().x1) / 2
        figure.text(x, 1 - 0.2 / height, f"{title} predictions", ha="center", fontsize=9)
    save(figure, path, colours=40)


def write_misses(
    path: Path,
    evaluation: Evaluation,
    predictions: Predictions,
    data: RadiographDataset,
    labels: tuple[str, ...],
) -> None:
    """Draw the images whose true label has the least probability, the worst first.

    Every tile is as in `write_gallery`; its title says what is true and what was predicted.
    """
    likelihood = predictions.probabilities[np.arange(len(data)), predictions.truth]
    wrong = np.flatnonzero(predictions.predicted != predictions.truth)
    worst = wrong[np.argsort(likelihood[wrong], kind="stable")]
    size = _MISSES[1] * (_SIDE + 12) / 100, _MISSES[0] * (_SIDE + 30) / 100 + 0.1
    figure = Figure(figsize=size)
    axes = figure.subplots(*_MISSES, squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.95, bottom=0.01, wspace=0.08, hspace=0.25)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, worst.tolist(), strict=False):
        _tile(axis, evaluation, data, index)
        predicted = int(predictions.predicted[index])
        probability = predictions.probabilities[index, predicted]
        true, shown = (_SHORT.get(labels[n], labels[n]) for n in (data.labels[index], predicted))
        axis.set_title(f"{true}\n→ {shown} {probability:.2f}", fontsize=6.5, pad=2)
    if not len(wrong):
        axes[0, 0].text(0.5, 0.5, "none", ha="center", va="center")
    save(figure, path, colours=64)


def _draw(rng: np.random.Generator, among: npt.NDArray[np.bool_], count: int) -> list[int | None]:
    """Draw up to `count` indices at random, filled up with None."""
    some: list[int | None] = rng.permutation(np.flatnonzero(among))[:count].tolist()
    return some + [None] * (count - len(some))


def _tile(axis: Axes, evaluation: Evaluation, data: RadiographDataset, index: int) -> None:
    image = cv2.resize(data.images[index], (_DRAWN, _DRAWN), interpolation=cv2.INTER_AREA)
    picture = draw_heat_map(image.astype(np.uint8, copy=False), evaluation.predicted_map[index])
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    axis.imshow(small[..., ::-1], extent=(0, 1, 1, 0), interpolation="none")
    for x0, y0, x1, y1 in data.boxes[index]:
        box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="white", lw=1)
        box.set_path_effects([Stroke(linewidth=2.2, foreground="black"), Stroke(linewidth=1)])
        axis.add_patch(box)
