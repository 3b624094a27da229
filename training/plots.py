"""The two pictures of a run: its curves and its confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from orthoedge.runtime.files import write_atomic
from orthoedge.training.run import Epoch

matplotlib.use("Agg")


def write_curves(path: Path, epochs: Sequence[Epoch], best: int) -> None:
    """Loss and scores over the epochs, the best epoch marked."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, score = figure.subplots(1, 2)
    x = [e.epoch for e in epochs]
    marker = "o" if len(x) < 30 else ""
    for axis, lines in (
        (loss, (("train", "train_loss"), ("validation", "val_loss"))),
        (
            score,
            (
                ("train accuracy", "train_accuracy"),
                ("validation accuracy", "val_accuracy"),
                ("validation macro-F1", "val_macro_f1"),
            ),
        ),
    ):
        for label, field in lines:
            axis.plot(x, [getattr(e, field) for e in epochs], marker=marker, ms=3, label=label)
        axis.axvline(best, color="0.6", ls=":", label=f"best epoch ({best})")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    loss.set_ylabel("cross-entropy")
    score.set_ylim(0, 1)
    _save(figure, path)


def write_confusion(path: Path, table: npt.NDArray[np.int64], labels: Sequence[str]) -> None:
    """Confusion matrix (C, C): counts, shaded by the share of the true class."""
    side = 2.6 + 0.8 * len(labels)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{count}\n{share[row, column]:.0%}"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomic(path, buffer.getvalue())
