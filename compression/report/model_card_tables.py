"""Tables of a model card, and the Markdown table itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orthoedge.runtime.bundles.manifest import Manifest, Metrics
from orthoedge.runtime.engine import PRECISIONS

_NO_BOXES = "not measured: no image has a lesion box"
_AGREEMENT: tuple[tuple[str, Callable[[Metrics], str]], ...] = (
    ("images with the teacher's label", lambda m: f"{m.teacher_agreement:.1%}"),
    ("correlation of the logits", lambda m: f"{m.logit_correlation:.3f}"),
    ("divergence of the probabilities, in nats", lambda m: f"{m.teacher_divergence:.3f}"),
    ("cosine of the saliency maps", lambda m: f"{m.saliency_cosine:.3f}"),
)


def scores_table(manifest: Manifest) -> str:
    """Scores of teacher and student on the test split, with intervals."""
    columns = {"teacher fp32": manifest.lineage.teacher_metrics}
    columns |= {f"student {p}": manifest.metrics[p] for p in PRECISIONS}
    metrics = columns.values()
    target = manifest.calibration["int8"].conformal_coverage
    coverage = f"conformal set contains the true label; target {target:.0%}"
    rows = [(name, *(score(m, key) for m in metrics)) for key, name in _scores(manifest)]
    rows.append((coverage, *(f"{m.coverage:.1%}" for m in metrics)))
    rows.append(("labels in the conformal set, mean", *(f"{m.set_size:.2f}" for m in metrics)))
    rows.append(("images", *(str(m.images) for m in metrics)))
    return table(("", *columns), rows)


def changes_table(manifest: Manifest) -> str:
    """The student's scores minus the teacher's, in points."""
    teacher, student = manifest.lineage.teacher_metrics, manifest.metrics
    rows = [
        (name, *(_change(student[p], teacher, key) for p in PRECISIONS))
        for key, name in _scores(manifest)
    ]
    return table(("", *PRECISIONS), rows)


def agreement_table(manifest: Manifest) -> str:
    """Agreement of the student's labels, logits and maps with the teacher's on the same images."""
    student = manifest.metrics
    rows = [(name, *(value(student[p]) for p in PRECISIONS)) for name, value in _AGREEMENT]
    return table(("", *PRECISIONS), rows)


def thresholds_table(manifest: Manifest) -> str:
    """The numbers that turn logits into a decision."""
    calibrations = [manifest.calibration[p] for p in PRECISIONS]
    rows = [
        ("temperature", [c.temperature for c in calibrations]),
        ("conformal threshold, 1 - quantile", [1 - c.conformal_quantile for c in calibrations]),
    ]
    for label in manifest.labels:
        rows.append(
            (f"operating point, {label}", [c.operating_points[label] for c in calibrations])
        )
    scores = [c.out_of_distribution.threshold for c in calibrations]
    rows.append(("out-of-distribution threshold", scores))
    return table(
        ("", *PRECISIONS), [(name, *(f"{v:.4f}" for v in values)) for name, values in rows]
    )


def score(metrics: Metrics, key: str, missing: str = _NO_BOXES) -> str:
    """Format a score with its interval, or `missing`; `key` as in `Metrics.intervals`."""
    value = _value(metrics, key)
    if value is None:
        return missing
    share = key not in ("macro_f1", "expected_calibration_error")
    text = f"{value:.1%}" if share else f"{value:.3f}"
    if key not in metrics.intervals:
        return text
    low, high = metrics.intervals[key]
    bounds = f"{100 * low:.1f}, {100 * high:.1f}" if share else f"{low:.3f}, {high:.3f}"
    return f"{text} [{bounds}]"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], align: str = "---") -> str:
    """Format a Markdown table; `align` is the ruler of all columns but the first."""
    ruler = ["---", *[align] * (len(header) - 1)]
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, ruler, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scores(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Scores that have intervals: key in `Metrics.intervals`, and name."""
    return (
        ("accuracy", "accuracy"),
        ("macro_f1", "macro-F1"),
        *((f"recall.{label}", f"recall, {label}") for label in manifest.labels),
        ("pointing_game", "pointing game"),
        ("expected_calibration_error", "expected calibration error"),
    )


def _value(metrics: Metrics, key: str) -> float | None:
    if key.startswith("recall."):
        return metrics.recall[key.removeprefix("recall.")]
    value: float | None = getattr(metrics, key)
    return value


def _change(student: Metrics, teacher: Metrics, key: str) -> str:
    after, before = _value(student, key), _value(teacher, key)
    if after is None or before is None:
        return _NO_BOXES
    points = round(100 * (after - before), 1) or 0.0  # never -0.0
    return f"{points:+.1f}"
