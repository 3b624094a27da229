"""The gate: limits on what a compressed network may lose against its teacher, per precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orthoedge.compression.evaluation.flips import Flips
from orthoedge.compression.evaluation.ranking_losses import Loss
from orthoedge.runtime.bundles.manifest import Metrics
from orthoedge.runtime.engine import ModelKey
from orthoedge.runtime.settings import plain
from orthoedge.training.recipe import GateLimits

_ROUNDING = 1e-9  # 0.95 - 0.945 is a drop of 0.005 and a little more


@dataclass(frozen=True)
class Check:
    """One limit of the gate with the measured value."""

    precision: ModelKey
    name: str
    measured: float
    limit: float
    at_most: bool
    """The measured value must be at most the limit; else at least."""
    setting: str = ""
    """Key of the recipe that holds the limit, such as `compress.gate.int8.max_ece`."""
    interval: tuple[float, float] | None = None
    """95 % interval of a loss; where it reaches 0, chance explains the loss: passed."""

    @property
    def passed(self) -> bool:
        """True if the limit is kept; NaN never passes."""
        if not self.at_most:
            return self.measured >= self.limit - _ROUNDING
        by_chance = self.interval is not None and self.interval[0] <= _ROUNDING
        return by_chance or self.measured <= self.limit + _ROUNDING

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "pass" if self.passed else "FAIL"
        measured, limit = f"{self.measured:.4f}", plain(self.limit)
        if self.interval is not None:
            measured += " [{:.4f}, {:.4f}]".format(*self.interval)
            limit += " or within chance"
        return f"{verdict}  {self.precision}  {self.name} {measured} {sign} {limit}"


def gate(
    limits: GateLimits,
    teacher: Metrics,
    student: Metrics,
    flips: Sequence[Flips],
    auc: Sequence[Loss],
    alerts: Sequence[Loss],
    dice: Sequence[Loss],
    model: ModelKey,
    engine_rmse: float,
    decision_flips: int,
) -> list[Check]:
    """Check one model of the student against the float32 teacher on the same test images.

    `flips` are the student's against the teacher, `auc` its losses within each source, `alerts`
    those at the operating points of the alert labels, `dice` those of the lesion masks where both
    have them. `engine_rmse` is the largest between two
    engines on this file: RMSE of the logits over their standard deviation. `decision_flips` counts
    decisions that another engine changed though no value was near a threshold
    (`compression/evaluation/engine_agreement.py`).
    """

    def check(
        name: str,
        measured: float,
        key: str,
        at_most: bool = True,
        label: str = "",
        interval: tuple[float, float] | None = None,
    ) -> Check:
        limit = getattr(limits, key)
        setting = f"compress.gate.{'fp32' if model == 'fp32' else 'int8'}.{key}"
        if label:
            limit, setting = limit[label], f"{setting}.{label}"
        return Check(model, name, measured, limit, at_most, setting, interval)

    drop = teacher.macro_f1 - student.macro_f1
    checks = [check("macro-F1 drop", drop, "max_macro_f1_drop")]
    for label in limits.max_recall_drop:
        drop = teacher.recall[label] - student.recall[label]
        checks.append(check(f"{label} recall drop", drop, "max_recall_drop", label=label))
    for part in flips:
        if part.label is None or part.label in limits.max_recall_drop:
            name = "net flips" if part.label is None else f"{part.label} net flips"
            checks.append(check(name, part.net, "max_net_flips", interval=part.interval))
    for key, losses in (
        ("max_auc_drop", auc),
        ("max_alert_sensitivity_drop", alerts),
        ("max_dice_drop", dice),
    ):
        checks += [check(loss.name, loss.drop, key, interval=loss.interval) for loss in losses]
    if teacher.pointing_game is not None and student.pointing_game is not None:
        drop = teacher.pointing_game - student.pointing_game
        checks.append(check("pointing-game drop", drop, "max_pointing_drop"))
    return [
        *checks,
        check("ECE", student.expected_calibration_error, "max_ece"),
        check("saliency cosine", student.saliency_cosine, "min_teacher_cosine", at_most=False),
        check("logit RMSE between engines", engine_rmse, "max_engine_rmse"),
        check("decisions changed between engines", decision_flips, "max_engine_flips"),
    ]
