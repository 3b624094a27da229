"""Tables of a model card, and the Markdown table itself."""

from __future__ import annotations

from collections.abc import Sequence

from orthoedge.runtime.bundles.manifest import Manifest, Metrics

_NO_BOXES = "not measured: no image has a lesion box"
_NO_MASK = "outlines nothing"


def scores_table(manifest: Manifest) -> str:
    """Scores of teacher and student on the test split, with intervals."""
    columns = {"teacher fp32": manifest.lineage.teacher_metrics}
    columns |= {f"student {key}": manifest.metrics[key] for key in manifest.calibrated}
    metrics = columns.values()
    target = manifest.calibration["int8"].conformal_coverage
    coverage = f"conformal set contains the true label; target {target:.0%}"
    rows = [
        *((name, *(score(m, key) for m in metrics)) for key, name in _scores(manifest)),
        (coverage, *(f"{m.coverage:.1%}" for m in metrics)),
        ("labels in the conformal set, mean", *(f"{m.set_size:.2f}" for m in metrics)),
        ("images", *(m.images for m in metrics)),
    ]
    return table(("", *columns), rows)


def changes_table(manifest: Manifest) -> str:
    """The student's scores minus the teacher's, in points."""
    teacher, student = manifest.lineage.teacher_metrics, manifest.metrics
    rows = [
        (name, *(_change(student[model], teacher, key) for model in manifest.calibrated))
        for key, name in _scores(manifest)
    ]
    return table(("", *manifest.calibrated), rows)


def agreement_table(manifest: Manifest) -> str:
    """Agreement of the student's labels, logits and maps with the teacher's on the same images."""
    student = [manifest.metrics[key] for key in manifest.calibrated]
    divergence = (f"{m.teacher_divergence:.3f}" for m in student)
    rows = [
        ("images with the teacher's label", *(f"{m.teacher_agreement:.1%}" for m in student)),
        ("correlation of the logits", *(f"{m.logit_correlation:.3f}" for m in student)),
        ("divergence of the probabilities, in nats", *divergence),
        ("cosine of the saliency maps", *(f"{m.saliency_cosine:.3f}" for m in student)),
    ]
    return table(("", *manifest.calibrated), rows)


def thresholds_table(manifest: Manifest) -> str:
    """The numbers that turn logits into a decision."""
    calibrations = [manifest.calibration[key] for key in manifest.calibrated]
    conformal = "conformal threshold, 1 - quantile"
    rows = [
        ("temperature", *(f"{c.temperature:.4f}" for c in calibrations)),
        (conformal, *(f"{1 - c.conformal_quantile:.4f}" for c in calibrations)),
    ]
    for label in manifest.labels:
        points = (f"{c.operating_points[label]:.4f}" for c in calibrations)
        rows.append((f"operating point, {label}", *points))
    scores = (f"{c.out_of_distribution.threshold:.4f}" for c in calibrations)
    rows.append(("out-of-distribution threshold", *scores))
    return table(("", *manifest.calibrated), rows)


def score(metrics: Metrics, key: str, missing: str = _NO_BOXES) -> str:
    """Format a score with its interval, or `missing`; `key` as in `Metrics.intervals`."""
    value = _value(metrics, key)
    if value is None:
        return _NO_MASK if key.startswith("dice.") else missing
    share = key not in ("macro_f1", "expected_calibration_error")
    text = f"{value:.1%}" if share else f"{value:.3f}"
    if key not in metrics.intervals:
        return text
    low, high = metrics.intervals[key]
    bounds = f"{100 * low:.1f}, {100 * high:.1f}" if share else f"{low:.3f}, {high:.3f}"
    return f"{text} [{bounds}]"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a Markdown table."""
    ruler = ["---"] * len(header)
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, ruler, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scores(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Scores that have intervals: key in `Metrics.intervals`, and name."""
    return (
        ("accuracy", "accuracy"),
        ("macro_f1", "macro-F1"),
        *((f"recall.{label}", f"recall, {label}") for label in manifest.labels),
        ("pointing_game", "pointing game"),
        *((f"dice.{label}", f"Dice of the masks, {label}") for label in _outlined(manifest)),
        ("expected_calibration_error", "expected calibration error"),
    )


def _outlined(manifest: Manifest) -> tuple[str, ...]:
    """Labels whose lesion masks were measured."""
    return tuple(label for label in manifest.labels if label in manifest.metrics["int8"].dice)


def _value(metrics: Metrics, key: str) -> float | None:
    if key.startswith("recall."):
        return metrics.recall[key.removeprefix("recall.")]
    if key.startswith("dice."):
        return metrics.dice.get(key.removeprefix("dice."))
    value: float | None = getattr(metrics, key)
    return value


def _change(student: Metrics, teacher: Metrics, key: str) -> str:
    after, before = _value(student, key), _value(teacher, key)
    if after is None or before is None:
        return _NO_MASK if key.startswith("dice.") else _NO_BOXES
    points = round(100 * (after - before), 1) or 0.0  # never -0.0
    return f"{points:+.1f}"
