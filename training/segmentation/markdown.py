"""Text of an evaluation of outlines: evaluation.md, and lines for the terminal."""

from __future__ import annotations

from orthoedge.benchmarks.schema import Interval
from orthoedge.training.evaluation.markdown import origin, percent, plain, table
from orthoedge.training.segmentation.froc import RATES
from orthoedge.training.segmentation.schema import LesionScores, OverlapScores, SegmentationReport

_RATE = RATES.index(0.5)


def report_lines(report: SegmentationReport) -> list[str]:
    """Headline scores, for a terminal."""
    shown = []
    for row in report.overlaps:
        shown.append(
            f"{_name(row.source, row.label)}: Dice {plain(row.dice)}, IoU {plain(row.iou)}, found "
            f"{plain(row.found)} on {row.images} images"
        )
    for clean in report.clean:
        name = _name(clean.source, "no lesion")
        shown.append(f"{name}: nothing outlined {plain(clean.clean)} on {clean.images} images")
    for lesions in report.lesions:
        shown.append(
            f"{_name(lesions.source, lesions.label or 'all lesions')}: sensitivity at 0.5 false "
            f"alarms per image {plain(lesions.sensitivity[_RATE])} of {lesions.lesions} lesions"
        )
    return shown


def markdown(report: SegmentationReport) -> str:
    """Render evaluation.md from the report."""
    rates = [f"at {rate:g}" for rate in RATES]
    blocks = [
        f"# Outlines of {report.recipe}",
        origin(report.sources, f"{report.groups} patients", report.seen),
        f"```\n{report.command}\n```",
        f"In brackets: 95 % intervals by percentile bootstrap, {report.resamples} resamples of "
        "whole patients. They say how far a figure moves with another draw of such images, not "
        "with another hospital or another training run.",
        "## Overlap",
        "An outline is where the network's probability is 0.5 or more. Means over the images with "
        "a lesion; an image on which nothing is outlined counts with a Dice of 0. Distances "
        "between the borders, and their 95th percentile, are in pixels of the network's input, "
        f"whose longer side is {report.size}; images without an outline have none and are left "
        "out. `found` is the share of the images whose outline touches a lesion.",
        table(
            ("", "images", "Dice", "IoU", "found", "border distance", "95th percentile"),
            [_overlap_row(row) for row in report.overlaps],
        ),
        "Images without a lesion on which nothing is outlined:",
        table(
            ("", "images", "clean"),
            [(row.source or "all", row.images, percent(row.clean)) for row in report.clean],
        ),
        "## Sensitivity per lesion",
        "Share of the lesions that a connected region of the mask hits, at a threshold that gives "
        "so many false alarms per image of the collection, images without a lesion included "
        "(Chakraborty, Med. Phys. 16, 561-568, 1989). A hit: the intersection is a tenth of the "
        "union or more. Thresholds are those of the same images.",
        table(("", "lesions", *rates), [_lesion_row(row) for row in report.lesions]),
        "![FROC curves](froc.png)",
        "## Pictures",
        "White: the mask. Orange: the outline. Above each tile its Dice. The rows show labels, the "
        "columns images at equal steps of the Dice, from low to high:",
        "![Typical outlines](typical.png)",
        "The lowest Dice of each label and, for images without a lesion, the largest outlines:",
        "![The worst outlines](worst.png)",
    ]
    return "\n\n".join(blocks) + "\n"


def _name(source: str, label: str) -> str:
    return " ".join(filter(None, (source or "all", label)))


def _overlap_row(row: OverlapScores) -> tuple[object, ...]:
    overlap = plain(row.dice), plain(row.iou), percent(row.found)
    distances = _pixels(row.surface_distance), _pixels(row.hausdorff_95)
    return (_name(row.source, row.label), row.images, *overlap, *distances)


def _lesion_row(row: LesionScores) -> tuple[object, ...]:
    shares = map(percent, row.sensitivity)
    return (_name(row.source, row.label or "all lesions"), row.lesions, *shares)


def _pixels(score: Interval | None) -> str:
    return "–" if score is None else f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"
