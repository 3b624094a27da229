"""Plots of a run: learning curves, confusion matrix, ROC curves and reliability diagram."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from orthoedge.benchmarks.metrics.bootstrap_scores import ReliabilityBin
from orthoedge.benchmarks.metrics.classification import Floats, Ints
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.training.evaluation.by_source import Asked
from orthoedge.training.run_folder import EpochRow

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # a label may hold a dollar sign

# Okabe and Ito's palette for colour-blind readers; line styles distinguish the curves as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")


def write_curves(
    path: Path, epochs: Sequence[EpochRow], best: int, scores: Mapping[str, str], loss_name: str
) -> None:
    """Plot loss and scores over the epochs, with the best epoch marked.

    Args:
        path: of the PNG.
        epochs: all of them.
        best: from 1.
        scores: field of the epochs by its name in the legend; one that is None is left out.
        loss_name: what the loss is.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, score = figure.subplots(1, 2)
    x = [e.epoch for e in epochs]
    marker = "o" if len(x) < 30 else ""
    for axis, label, field in (
        (loss, "train", "train_loss"),
        (loss, "validation", "val_loss"),
        *((score, label, field) for label, field in scores.items()),
    ):
        if all(getattr(e, field) is not None for e in epochs):
            axis.plot(x, [getattr(e, field) for e in epochs], marker=marker, ms=3, label=label)
    for axis in (loss, score):
        axis.axvline(best, color="0.6", ls=":", label=f"best epoch ({best})")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    loss.set_ylabel(loss_name)
    score.set_ylim(0, 1)
    save(figure, path)


def write_confusion(path: Path, table: npt.NDArray[np.int64], labels: Sequence[str]) -> None:
    """Plot the confusion matrix (C, C): counts, shaded by the share of the true class."""
    side = 2.6 + 0.8 * len(labels)
    figure = Figure(figsize=(side + 0.8, side - 0.4), layout="constrained")
    axis = figure.subplots()
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{count}\n{share[row, column]:.0%}"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel="predicted", ylabel="true")
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class")
    save(figure, path)


def write_roc(path: Path, truth: Ints, probabilities: Floats, names: Sequence[str]) -> None:
    """Plot the one-vs-rest ROC curve of each class that has positive and negative images.

    Args:
        path: of the PNG.
        truth: (N,) class indices.
        probabilities: (N, C).
        names: of the classes, for the legend.
    """
    from sklearn.metrics import roc_curve

    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(names):
        positive = truth == number
        if not 0 < positive.sum() < len(truth):
            continue
        false, true, _ = roc_curve(positive, probabilities[:, number])
        style = _STYLES[number // len(COLOURS) % 4 if len(names) > 7 else number % 4]
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(false, true, color=colour, ls=style, lw=1.8, label=name)
    axis.plot([0, 1], [0, 1], color="0.6", lw=1, label="chance")
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set_xlabel("false positive rate (1 - specificity)")
    axis.set_ylabel("true positive rate (sensitivity)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    save(figure, path)


def write_net_benefit(path: Path, asked: Sequence[Asked]) -> None:
    """Plot decision curves (Vickers & Elkin, Med Decis Making 26, 565-574, 2006).

    Net benefit at a threshold t: right alarms per image, minus false ones per image times the odds
    t / (1 - t), which say how many false alarms a found one is worth.
    """
    shown = max(1, len(asked))
    figure = Figure(figsize=(0.6 + 3.6 * shown, 3.4), layout="constrained")
    thresholds = np.linspace(0.01, 0.6, 60)
    for axis, own in zip(np.ravel(figure.subplots(1, shown)), asked, strict=True):
        odds, share = thresholds / (1 - thresholds), own.positive.mean()
        alarm = own.scores >= thresholds[:, None]
        right, false = (alarm & own.positive).mean(1), (alarm & ~own.positive).mean(1)
        axis.plot(thresholds, right - odds * false, color=COLOURS[0], lw=1.8, label="network")
        everyone = share - odds * (1 - share)
        axis.plot(thresholds, everyone, color="0.4", ls="--", lw=1, label="alarm for all")
        axis.axhline(0, color="0.4", lw=1, label="alarm for none")
        axis.set_ylim(-0.1 * share, 1.05 * share)
        axis.set_title(f"{own.source} {own.question}".strip(), fontsize=10)
        axis.set_xlabel("threshold probability")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("net benefit per image")
    figure.axes[0].legend(fontsize=8)
    save(figure, path)


def write_reliability(path: Path, bins: Sequence[ReliabilityBin], error: float) -> None:
    """Plot the share of right predictions against confidence, and the images per bin below."""
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    share, count = figure.subplots(2, 1, height_ratios=(3, 1.1), sharex=True)
    diagonal = {"color": "0.2", "lw": 1, "ls": "--", "zorder": 3}
    share.plot([0, 1], [0, 1], label="confidence = share right", **diagonal)
    bars = {"width": bins[0].high - bins[0].low, "edgecolor": "white"}
    filled = [b for b in bins if b.images]
    middle = [(b.low + b.high) / 2 for b in filled]
    right = [b.accuracy for b in filled]
    share.bar(middle, right, color=COLOURS[5], label="share right", **bars)
    dots = {"color": COLOURS[1], "ms": 4, "label": "mean confidence of the bin"}
    share.plot([b.confidence for b in filled], right, "o", **dots)
    share.set(ylim=(0, 1.02), ylabel="share of right predictions")
    share.set_title(f"expected calibration error {error:.3f}, {len(bins)} bins", fontsize=10)
    figure.legend(fontsize=8, loc="outside upper center", ncols=3)  # no corner is always free
    count.bar([(b.low + b.high) / 2 for b in bins], [b.images for b in bins], color="0.6", **bars)
    most = max(b.images for b in bins)
    for x, b in zip(middle, filled, strict=True):
        count.text(x, b.images + 0.03 * most, str(b.images), ha="center", fontsize=7)
    count.set(xlim=(0, 1), ylim=(0, 1.25 * most), ylabel="images")
    count.set_xlabel("confidence (probability of the predicted class)")
    for axis in (share, count):
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    save(figure, path)


def save(figure: Figure, path: Path, colours: int = 0) -> None:
    """Write a figure as PNG at 100 dots per inch; `colours` reduces it to a palette."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    if colours:
        picture = Image.open(buffer).convert("RGB")
        buffer = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    write_atomic(path, buffer.getvalue())
