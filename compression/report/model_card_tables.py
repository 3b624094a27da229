"""The tables of figures in a model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orthoedge.runtime.bundles.manifest import Manifest, Metrics
from orthoedge.runtime.engine import PRECISIONS

_UNMARKED = "not measured: no image has a lesion box"
_CLOSENESS: tuple[tuple[str, Callable[[Metrics], str]], ...] = (
    ("images with the teacher's label", lambda m: f"{m.teacher_agreement:.1%}"),
    ("correlation of the logits", lambda m: f"{m.logit_correlation:.3f}"),
    ("divergence of the probabilities, in nats", lambda m: f"{m.teacher_divergence:.3f}"),
    ("cosine of the saliency maps", lambda m: f"{m.saliency_cosine:.3f}"),
)


def scores_table(manifest: Manifest) -> str:
    """What teacher and student reach on the test part, with intervals."""
    columns = {"teacher fp32": manifest.lineage.teacher_metrics}
    columns |= {f"student {p}": manifest.metrics[p] for p in PRECISIONS}
    found = columns.values()
    promised = manifest.calibration["int8"].conformal_coverage
    held = f"conformal set holds the true label; {promised:.0%} is meant"
    rows = [(words, *(cell(m, key) for m in found)) for key, words in _scores(manifest)]
    rows.append((held, *(f"{m.coverage:.1%}" for m in found)))
    rows.append(("labels in the conformal set, mean", *(f"{m.set_size:.2f}" for m in found)))
    rows.append(("images", *(str(m.images) for m in found)))
    return table(("", *columns), rows)


def changes_table(manifest: Manifest) -> str:
    """The student's scores less the teacher's, in points."""
    teacher, student = manifest.lineage.teacher_metrics, manifest.metrics
    rows = [
        (words, *(_change(student[p], teacher, key) for p in PRECISIONS))
        for key, words in _scores(manifest)
    ]
    return table(("", *PRECISIONS), rows)


def closeness_table(manifest: Manifest) -> str:
    """How near the student's answers and maps are to the teacher's, image by image."""
    student = manifest.metrics
    rows = [(words, *(shown(student[p]) for p in PRECISIONS)) for words, shown in _CLOSENESS]
    return table(("", *PRECISIONS), rows)


def thresholds_table(manifest: Manifest) -> str:
    """The numbers that turn logits into a decision."""
    parts = [manifest.calibration[p] for p in PRECISIONS]
    rows = [
        ("temperature", [c.temperature for c in parts]),
        ("conformal bar, 1 - quantile", [1 - c.conformal_quantile for c in parts]),
    ]
    for label in manifest.labels:
        rows.append((f"operating point, {label}", [c.operating_points[label] for c in parts]))
    distances = [c.out_of_distribution.threshold for c in parts]
    rows.append(("out-of-distribution threshold", distances))
    shown = [(words, *(f"{value:.4f}" for value in values)) for words, values in rows]
    return table(("", *PRECISIONS), shown)


def cell(metrics: Metrics, key: str) -> str:
    """A score with its interval, or why there is none; `key` as in `Metrics.intervals`."""
    value = _value(metrics, key)
    if value is None:
        return _UNMARKED
    share = key not in ("macro_f1", "expected_calibration_error")
    shown = f"{value:.1%}" if share else f"{value:.3f}"
    if key not in metrics.intervals:
        return shown
    low, high = metrics.intervals[key]
    bounds = f"{100 * low:.1f}, {100 * high:.1f}" if share else f"{low:.3f}, {high:.3f}"
    return f"{shown} [{bounds}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    ruler = ["---"] * len(header)
    lines = [[one.replace("|", "\\|") for one in line] for line in (header, ruler, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scores(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """The scores that have intervals: their names there, and in words."""
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
        return _UNMARKED
    points = round(100 * (after - before), 1) or 0.0  # a change of nothing is never -0.0
    return f"{points:+.1f}"
