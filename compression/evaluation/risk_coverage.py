"""Risk-coverage curve: accuracy of the reported findings over the share that is reported.

`python -m orthoedge.compression.evaluation.risk_coverage DATA PICTURE [BUNDLE]` draws it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Floats, calibration_errors
from orthoedge.runtime.pipeline import Finding
from orthoedge.training.data.index import ImageRecord, read_index

Flags = npt.NDArray[np.bool_]
_DRAWS = 200  # labels drawn per image


def accuracy_by_coverage(confidence: Floats, right: Flags) -> Floats:
    """Accuracy of the 1, 2, ... N most confident predictions, (N,).

    El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, JMLR 11 (2010).
    """
    order = np.argsort(-confidence, kind="stable")
    accuracy: Floats = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    return accuracy


def draw(path: Path, confidence: Floats, right: Flags, reported: Flags) -> None:
    """Draw the curve, the operating point of `report`, and the ideal and random curves."""
    from matplotlib.figure import Figure

    from orthoedge.training.evaluation.plots import COLOURS, save

    share = np.arange(1, len(right) + 1) / len(right)
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axis = figure.subplots()
    best = accuracy_by_coverage(right.astype(np.float64), right)
    axis.plot(share, best, ":", color=COLOURS[2], label="ideal: errors are the least confident")
    curve = accuracy_by_coverage(confidence, right)
    axis.plot(share, curve, color=COLOURS[0], label="most confident predictions, by probability")
    axis.axhline(right.mean(), color="0.5", ls="--", label="random selection")
    point = reported.mean(), right[reported].mean()
    axis.plot(*point, "o", color=COLOURS[1], ms=9, label="decision: report")
    axis.annotate(
        f"{point[0]:.1%} reported,\n{point[1]:.1%} correct",
        point,
        (-12, -6),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    low = min(right.mean(), point[1])
    axis.set_ylim(low - 0.25 * (1 - low), 1 + 0.05 * (1 - low))
    axis.set_xlim(0, 1.01)
    axis.set_xlabel("share of images reported (coverage)")
    axis.set_ylabel("accuracy among them")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower left")
    save(figure, path, colours=64)


def summary(records: list[ImageRecord], findings: list[Finding]) -> str:
    """Accuracy per decision, coverage of the label sets, and calibration within each source."""
    lines = []
    pairs = list(zip(records, findings, strict=True))
    for decision in ("report", "refer", "reject"):
        own = [r.label == finding.label for r, finding in pairs if finding.decision == decision]
        accuracy = f"{np.mean(own):.1%} correct" if own else "none"
        lines.append(f"{decision}: {len(own) / len(pairs):.1%} of {len(pairs)}, {accuracy}")
    covered = np.mean([r.label in finding.verdict.label_set for r, finding in pairs])
    lines.append(f"label sets that contain the true label: {covered:.1%}")
    for source in sorted({record.source for record in records if record.source}):
        part = [(record, finding) for record, finding in pairs if record.source == source]
        lines.append(f"{source}: {_source_line(part)}")
    return "\n".join(lines)


def _source_line(pairs: list[tuple[ImageRecord, Finding]]) -> str:
    """Coverage and calibration error of one source's images.

    The error of few images is above 0 for a perfect classifier as well, so what that one would
    have is said beside it: the mean over labels drawn from the probabilities.
    """
    labels = list(pairs[0][1].probabilities)
    probabilities = np.array([list(finding.probabilities.values()) for _, finding in pairs])
    truth = np.array([labels.index(record.label) for record, _ in pairs])
    predicted, ones = probabilities.argmax(1), np.ones((1, len(pairs)))
    error = float(calibration_errors(probabilities, predicted, truth, ones)[0])
    rng = np.random.default_rng(0)
    drawn = (probabilities.cumsum(1) < rng.random((_DRAWS, len(pairs), 1))).sum(2)
    drawn = np.minimum(drawn, len(labels) - 1)  # a sum may fall short of 1
    perfect = [calibration_errors(probabilities, predicted, row, ones)[0] for row in drawn]
    rejected = np.mean([finding.decision == "reject" for _, finding in pairs])
    covered = np.mean([record.label in finding.verdict.label_set for record, finding in pairs])
    least = [1 - finding.thresholds.conformal_quantile for _, finding in pairs]
    true = probabilities[np.arange(len(pairs)), truth]
    conformal = np.mean((true >= least) | (predicted == truth))
    return (
        f"{len(pairs)} images, {rejected:.1%} rejected, label sets {covered:.1%}, "
        f"without alert labels {conformal:.1%}, calibration error {error:.3f} "
        f"({np.mean(perfect):.3f} if perfect)"
    )


def main(data: str, picture: str, bundle: str | None = None) -> None:
    """Run a bundle's INT8 model on a data set, print the summary, draw the curve.

    Args:
        data: folder or CSV file of labelled radiographs.
        picture: file to write.
        bundle: as for `open_pipeline`.
    """
    from orthoedge.targets import open_pipeline

    records = read_index(Path(data))
    pipeline = open_pipeline(bundle, precision="int8")
    findings = [pipeline(record.path) for record in records]
    confidence = np.array([finding.probabilities[finding.label] for finding in findings])
    right = np.array([r.label == f.label for r, f in zip(records, findings, strict=True)])
    draw(Path(picture), confidence, right, np.array([f.decision == "report" for f in findings]))
    print(summary(records, findings))


if __name__ == "__main__":
    main(*sys.argv[1:])
