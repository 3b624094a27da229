"""The gate: what a compressed network may lose against its teacher, per precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthoedge.benchmarks.metrics import cosine
from orthoedge.runtime.engine import Outputs, Precision
from orthoedge.runtime.manifest import Metrics
from orthoedge.training.recipe import GateLimits


@dataclass(frozen=True)
class Check:
    """One line of the gate."""

    precision: Precision
    name: str
    measured: float
    limit: float
    at_most: bool
    """The measured value must be at most the limit; else at least."""

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a value that is not a number never passes."""
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {self.precision}  {self.name} {self.measured:.4f} {sign} {self.limit:g}"


def gate(
    settings: GateLimits,
    alert_labels: tuple[str, ...],
    teacher: Metrics,
    student: Metrics,
    precision: Precision,
    saliency_cosine: float,
) -> list[Check]:
    """Compare one precision of the student with the float32 teacher on the same test images."""

    def check(name: str, measured: float, limit: float, at_most: bool = True) -> Check:
        return Check(precision, name, measured, limit, at_most)

    checks = [
        check("macro-F1 drop", teacher.macro_f1 - student.macro_f1, settings.max_macro_f1_drop),
        check("ECE", student.expected_calibration_error, settings.max_ece),
        check("saliency cosine", saliency_cosine, settings.min_teacher_cosine, False),
    ]
    for label in alert_labels:
        drop = teacher.recall[label] - student.recall[label]
        checks.append(check(f"{label} recall drop", drop, settings.max_alert_recall_drop))
    if teacher.pointing_game is not None and student.pointing_game is not None:
        drop = teacher.pointing_game - student.pointing_game
        checks.append(check("pointing-game drop", drop, settings.max_pointing_drop))
    return checks


def saliency_cosine(student: Outputs, teacher: Outputs) -> float:
    """Mean cosine between the two networks' maps of the teacher's label."""
    rows = np.arange(len(teacher.logits))
    top = teacher.logits.argmax(axis=1)
    if student.saliency_map.shape != teacher.saliency_map.shape:
        return float("nan")
    return float(cosine(student.saliency_map[rows, top], teacher.saliency_map[rows, top]).mean())
