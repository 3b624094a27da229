"""Text of an evaluation: evaluation.md, and lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orthoedge.benchmarks.schema import Interval
from orthoedge.training.evaluation.fusion_rules import conclusion
from orthoedge.training.evaluation.network_audit import audit_lines
from orthoedge.training.evaluation.schema import Answer, EvaluationReport, MapScore, Pointing

_NONE = "–"
_ENOUGH = 20  # images of either side of the worst part


def report_lines(report: EvaluationReport) -> list[str]:
    """Headline scores, for a terminal."""
    shown = [
        f"{report.images} images: accuracy {plain(report.accuracy)}, balanced "
        f"{plain(report.balanced_accuracy)}, macro-F1 {plain(report.macro_f1)}",
        f"macro AUC {plain(report.macro_auc)}, ECE {plain(report.expected_calibration_error)}, "
        f"loss {plain(report.loss)}",
    ]
    for what, score in _maps(report):
        chance = f"(by chance {score.by_chance:.3f})"
        shown.append(f"{what} {plain(score.share)} on {score.images} images {chance}")
    for answer in report.answers:
        if not answer.part:
            shown.append(f"{answer.source or 'all'}: {answer.question} AUC {plain(answer.auc)}")
    if worst := _worst(report.answers):
        shown.append(
            f"lowest: {worst.source} {worst.part}, {worst.question} AUC {plain(worst.auc)}"
        )
    return shown


def markdown(report: EvaluationReport) -> str:
    """Render evaluation.md from the report."""
    confusion = [(label, *row) for label, row in zip(report.labels, report.confusion, strict=True)]
    blocks = [
        f"# Evaluation of {report.recipe}",
        origin(report.sources, f"{report.groups} groups", report.seen, report.crop),
        f"```\n{report.command}\n```",
        _headline(report),
        f"In brackets: 95 % intervals by percentile bootstrap, {report.resamples} resamples of "
        "whole groups. They say how far a figure moves with another draw of such images, not with "
        "another hospital or another training run. The calibration error of resamples tends to be "
        "larger than that of the images, so its interval leans upwards. A share of 0 or 100 % gets "
        "an interval without width, since no resample shows what no image did: of n images, up "
        "to about 3 / n of the opposite remain possible.",
        *_shortcuts(report),
        *_within_sources(report),
        *_network_audit(report),
        "## Classes",
        _classes(report),
        table(("true \\ predicted", *report.labels), confusion),
        "![Confusion matrix](confusion.png) ![ROC curves](roc.png)",
        "## Confidence",
        "The share of right predictions against their probability, before any temperature; on the "
        "dashed line the two agree.",
        "![Reliability diagram](reliability.png)",
        "## Maps",
        *_map_sentences(report),
        "![Radiographs with their maps](maps.png)",
        "The worst misses, by the probability of the true label:",
        "![The worst misses with their maps](misses.png)",
        *_fusions(report),
    ]
    return "\n\n".join(blocks) + "\n"


def origin(sources: Mapping[str, int], groups: str, seen: int, crop: int = 0) -> str:
    """Say which images were measured on, and what that takes from the figures.

    Args:
        sources: images of each source.
        groups: what is resampled, and how many, such as `104 groups`.
        seen: images that the run was trained or chosen on.
        crop: side of the crops around the lesions; 0: whole images.
    """
    counts = [f"{name or 'no source named'}: {n}" for name, n in sources.items()]
    sentences = [f"{sum(sources.values())} images of {groups} ({', '.join(counts)})."]
    if crop:
        sentences.append(f"Evaluated on crops of {crop} pixels around the lesions.")
    if seen:
        sentences.append(
            f"**{seen} of them were in the run's training or validation split: the figures "
            "are too good.**"
        )
    if set(sources) == {"phantom"}:
        sentences += ["All of them are rendered phantoms: the figures say nothing about patients."]
    return " ".join(sentences)


def _headline(report: EvaluationReport) -> str:
    rows = [
        ("accuracy", percent(report.accuracy), report.images),
        ("balanced accuracy (mean recall)", percent(report.balanced_accuracy), report.images),
        ("macro-F1", plain(report.macro_f1), report.images),
        ("macro AUC (one against the rest)", plain(report.macro_auc), report.images),
        ("expected calibration error", plain(report.expected_calibration_error), report.images),
        ("cross-entropy", plain(report.loss), report.images),
    ]
    for what, score in _maps(report):
        value = f"{percent(score.share)}; by chance {score.by_chance:.1%}"
        rows.append((what, value, score.images))
    return table(("", "value", "images"), rows)


def _shortcuts(report: EvaluationReport) -> list[str]:
    if report.shortcuts is None:
        return []
    return [
        "## What a classifier reaches without looking at anatomy",
        "Balanced accuracy of a classifier that sees only where an image comes from, its size, "
        f"border and exposure; the network reaches {percent(report.balanced_accuracy)}.",
        report.shortcuts.markdown(),
        "![Shortcut audit](shortcuts.png)",
    ]


def _within_sources(report: EvaluationReport) -> list[str]:
    if not report.answers:
        return []
    has_mask = any(scores.mask_pointing for scores in report.source_scores)
    heads = ["collection", "images", "calibration error", "pointing game"]
    if has_mask:
        heads[-1:] = ["pointing game of the map", "of the mask, with the same reach"]
    sources = [
        (
            scores.source or "no source named",
            scores.images,
            plain(scores.calibration_error),
            _pointing(scores.pointing),
            *([_pointing(scores.mask_pointing)] if has_mask else []),
        )
        for scores in report.source_scores
    ]
    worst = _worst(report.answers)
    lowest = (
        ""
        if worst is None
        else (
            f" Lowest of the parts with 20 images of either side: **{worst.source} {worst.part}, "
            f"{worst.question}, AUC {plain(worst.auc)}**."
        )
    )
    return [
        "## Within each collection",
        "Which collection an image comes from can tell its label, so figures over several say "
        "little. Here every question is asked within one: fractures and tumours against "
        "non-affected bones, malignant against benign tumours. Thresholds are those of the same "
        "images. A site, body part, age or sex needs ten images of either side." + lowest,
        answers_table(report.answers),
        table(heads, sources),
        "![Net benefit](net-benefit.png)",
    ]


def _pointing(scores: Mapping[str, Pointing]) -> str:
    shown = (f"{label} {percent(own.share)} of {own.images}" for label, own in scores.items())
    return "; ".join(shown) or _NONE


def answers_table(answers: Sequence[Answer]) -> str:
    """Table of answers with their intervals."""
    header = ("", "with", "without", "AUC", "sensitivity at 90 % specificity", "the reverse")
    rows = [
        (
            " ".join(filter(None, (answer.source, answer.part, answer.question))),
            answer.positives,
            answer.negatives,
            plain(answer.auc),
            percent(answer.sensitivity),
            percent(answer.specificity),
        )
        for answer in answers
    ]
    return table(header, rows)


def _network_audit(report: EvaluationReport) -> list[str]:
    audit = report.network_audit
    if audit is None:
        return []
    blocks = [
        "## What the network uses beside anatomy",
        f"Each change was made alone, to {audit.images} radiographs before preprocessing: the mean "
        "change of the true label's probability, and the share of labels that change.",
        table(("change", "probability", "labels"), audit_lines(audit)),
    ]
    if audit.probe is not None:
        blocks.append(
            f"Which of {', '.join(audit.probe.sources)} a non-affected bone comes from, told from "
            f"the network's features by a linear classifier on other patients: AUC "
            f"{plain(audit.probe.auc)} on {audit.probe.images} images. 0.5 is what a network has "
            "that looks at anatomy alone, where the collections hold the same anatomy."
        )
    return blocks


def _worst(answers: Sequence[Answer]) -> Answer | None:
    parts = [a for a in answers if a.part and min(a.positives, a.negatives) >= _ENOUGH]
    return min(parts, key=lambda answer: answer.auc.value, default=None)


def _classes(report: EvaluationReport) -> str:
    header = ("class", "images", "precision", "recall", "specificity", "F1", "AUC")
    rows = []
    for label, scores in report.classes.items():
        shares = map(percent, (scores.precision, scores.recall, scores.specificity))
        rows.append((label, scores.support, *shares, plain(scores.f1), plain(scores.auc)))
    return table(header, rows)


def _map_sentences(report: EvaluationReport) -> list[str]:
    method = (
        "The pointing game asks whether the map of the true class peaks in a cell that touches a "
        "lesion's box; energy is the share of that map's sum that lies inside the mask or the "
        "boxes. By chance: a peak anywhere, or an even map."
    )
    if report.pointing_game is None and report.energy_in_mask is None:
        method = "No lesion is marked in these images, so the maps are shown and not measured."
    return [
        method,
        "Below, randomly drawn predictions: rows are true classes, above each tile the "
        "predicted class and its probability. The colour is the map of the predicted class, its "
        "outline half of the maximum; white boxes are the marked lesions.",
    ]


def _fusions(report: EvaluationReport) -> list[str]:
    if not report.fusions:
        return []
    weights = " / ".join(f"{weight:.3f}" for weight in report.fusion)
    within = any(r.auc for r in report.fusions)
    header = ["rule", "accuracy", "macro-F1", "accuracy minus the learned", "changed predictions"]
    if within:
        header[3:4] = ["AUC within the collections", "AUC minus the learned, points"]
    rows = [
        (
            r.rule,
            percent(r.accuracy),
            plain(r.macro_f1),
            *((plain(r.auc), _points(r.auc_gain)) if within else (_points(r.accuracy_gain),)),
            r.changed,
        )
        for r in report.fusions
    ]
    return [
        "## Why the fusion is learned",
        "Rules that combine the branches of this run, on the same images. The learned weights "
        f"are {weights}. All branches were trained together, so a branch alone is a "
        "part of the whole, and may score lower than its backbone trained by itself.",
        table(header, rows),
        conclusion(report.fusions, report.images),
    ]


def _maps(report: EvaluationReport) -> list[tuple[str, MapScore]]:
    """Map scores that could be measured, by name."""
    scores = {
        "pointing game": report.pointing_game,
        "energy in the mask": report.energy_in_mask,
        "energy in the box": report.energy_in_box,
    }
    return [(what, score) for what, score in scores.items() if score is not None]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown table; the columns after the first are aligned right."""
    ruler = ["---", *["---:"] * (len(header) - 1)]
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, ruler, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(score: Interval | None) -> str:
    """Figure with its interval, such as `0.812 [0.790, 0.833]`."""
    return _NONE if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def percent(score: Interval | None) -> str:
    """Share with its interval, such as `81.2% [79.0, 83.3]`."""
    if score is None:
        return _NONE
    return f"{score.value:.1%} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _points(score: Interval | None) -> str:
    if score is None:
        return _NONE
    return f"{100 * score.value:+.1f} [{100 * score.low:+.1f}, {100 * score.high:+.1f}]"
