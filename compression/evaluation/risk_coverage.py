"""How right is what is reported, against how much is reported: the risk-coverage curve.

`python -m orthoedge.compression.evaluation.risk_coverage DATA PICTURE` draws it for the embedded
bundle.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.classification import Floats
from orthoedge.runtime.pipeline import Finding, Pipeline
from orthoedge.training.data.index import ImageRecord, read_index

Flags = npt.NDArray[np.bool_]


def accuracy_by_coverage(confidence: Floats, right: Flags) -> Floats:
    """Accuracy of the 1, 2, ... N surest answers, (N,).

    El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, JMLR 11 (2010).
    """
    order = np.argsort(-confidence, kind="stable")
    kept: Floats = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    return kept


def draw(path: Path, confidence: Floats, right: Flags, reported: Flags) -> None:
    """Draw the curve, what the decision makes of the same answers, and the two extremes."""
    from matplotlib.figure import Figure

    from orthoedge.training.evaluation.plots import COLOURS, save

    share = np.arange(1, len(right) + 1) / len(right)
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axis = figure.subplots()
    best = accuracy_by_coverage(right.astype(np.float64), right)
    axis.plot(share, best, ":", color=COLOURS[2], label="if every error were the least sure")
    axis.plot(
        share,
        accuracy_by_coverage(confidence, right),
        color=COLOURS[0],
        label="the surest answers, by probability",
    )
    axis.axhline(right.mean(), color="0.5", ls="--", label="answers kept at random")
    place = reported.mean(), right[reported].mean()
    axis.plot(*place, "o", color=COLOURS[1], ms=9, label="decision: report")
    axis.annotate(
        f"{place[0]:.1%} reported,\n{place[1]:.1%} right",
        place,
        (-12, -6),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    low = min(right.mean(), place[1])
    axis.set_ylim(low - 0.25 * (1 - low), 1 + 0.05 * (1 - low))
    axis.set_xlim(0, 1.01)
    axis.set_xlabel("share of images that is reported (coverage)")
    axis.set_ylabel("share of right answers among them")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower left")
    save(figure, path, colours=64)


def summary(studies: list[ImageRecord], findings: list[Finding]) -> str:
    """What each decision was worth, and how often the set of labels held the true one."""
    lines = []
    pairs = list(zip(studies, findings, strict=True))
    for said in ("report", "refer", "reject"):
        own = [study.label == finding.label for study, finding in pairs if finding.decision == said]
        accuracy = f"{np.mean(own):.1%} right" if own else "none"
        lines.append(f"{said}: {len(own) / len(pairs):.1%} of {len(pairs)}, {accuracy}")
    covered = np.mean([study.label in finding.verdict.label_set for study, finding in pairs])
    return "\n".join([*lines, f"sets of labels hold the true one: {covered:.1%}"])


def find(pipeline: Pipeline, studies: list[ImageRecord]) -> list[Finding]:
    """Findings of all studies."""
    return [pipeline(study.path) for study in studies]


def main(data: str, picture: str) -> None:
    """Judge a data set with the embedded bundle's INT8 model, print the shares, draw the curve."""
    from orthoedge.targets import open_pipeline

    studies = read_index(Path(data))
    findings = find(open_pipeline(precision="int8"), studies)
    confidence = np.array([finding.probabilities[finding.label] for finding in findings])
    right = np.array([s.label == f.label for s, f in zip(studies, findings, strict=True)])
    draw(Path(picture), confidence, right, np.array([f.decision == "report" for f in findings]))
    print(summary(studies, findings))


if __name__ == "__main__":
    main(*sys.argv[1:])
