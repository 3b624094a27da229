"""The gate: limits on what a compressed network may lose against its teacher, per precision."""

from __future__ import annotations

from dataclasses import dataclass

from orthoedge.runtime.bundles.manifest import Metrics
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.settings import plain
from orthoedge.training.recipe import GateLimits

_ROUNDING = 1e-9  # 0.95 - 0.945 is a drop of 0.005 and a little more


@dataclass(frozen=True)
class Check:
    """One limit of the gate with the measured value."""

    precision: Precision
    name: str
    measured: float
    limit: float
    at_most: bool
    """The measured value must be at most the limit; else at least."""

    @property
    def passed(self) -> bool:
        """True if the limit is kept; NaN never passes."""
        if self.at_most:
            return self.measured <= self.limit + _ROUNDING
        return self.measured >= self.limit - _ROUNDING

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "pass" if self.passed else "FAIL"
        compared = f"{self.measured:.4f} {sign} {plain(self.limit)}"
        return f"{verdict}  {self.precision}  {self.name} {compared}"


def gate(
    limits: GateLimits,
    teacher: Metrics,
    student: Metrics,
    precision: Precision,
    engine_rmse: float,
    decision_flips: int,
) -> list[Check]:
    """Check one precision of the student against the float32 teacher on the same test images.

    `engine_rmse` is the largest between two engines on this file: RMSE of the logits over their
    standard deviation. `decision_flips` counts decisions that another engine changed though no
    value was near a threshold (`compression/evaluation/engine_agreement.py`).
    """

    def check(name: str, measured: float, limit: float, at_most: bool = True) -> Check:
        return Check(precision, name, measured, limit, at_most)

    checks = [check("macro-F1 drop", teacher.macro_f1 - student.macro_f1, limits.max_macro_f1_drop)]
    for label, limit in limits.max_recall_drop.items():
        drop = teacher.recall[label] - student.recall[label]
        checks.append(check(f"{label} recall drop", drop, limit))
    if teacher.pointing_game is not None and student.pointing_game is not None:
        drop = teacher.pointing_game - student.pointing_game
        checks.append(check("pointing-game drop", drop, limits.max_pointing_drop))
    return [
        *checks,
        check("ECE", student.expected_calibration_error, limits.max_ece),
        check("teacher agreement", student.teacher_agreement, limits.min_teacher_agreement, False),
        check("saliency cosine", student.saliency_cosine, limits.min_teacher_cosine, False),
        check("logit RMSE between engines", engine_rmse, limits.max_engine_rmse),
        check("decisions changed between engines", decision_flips, limits.max_engine_flips),
    ]
