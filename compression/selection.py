"""The Pareto front of the candidates, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orthoedge.benchmarks.metrics.pareto import pareto_front
from orthoedge.compression.gate import Check
from orthoedge.compression.report.schema import CandidateRecord
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.settings import plain
from orthoedge.training.recipe import GateLimits


class TeacherScores(NamedTuple):
    """Of the teacher, on the validation split of the candidates."""

    macro_f1: float
    auc: float | None
    """Mean within the collections; None where the recipe has no `source_labels`."""


def candidate_front(candidates: Sequence[CandidateRecord]) -> list[CandidateRecord]:
    """Pareto front of p50 and quality; of equal candidates the smallest file represents all."""
    return pareto_front(
        sorted(candidates, key=_fastest_first), lambda c: (c.p50_ms, c.quality.value)
    )


def choose(
    candidates: Sequence[CandidateRecord],
    budget_ms: float,
    teacher: TeacherScores,
    limits: GateLimits,
) -> CandidateRecord:
    """Choose one candidate by the rule of the recipe's `compress.budget_ms`.

    `budget_ms` is the largest p50, 0 for none; `limits` are the gate's for INT8. Without a budget
    it is the fastest within their drops of macro-F1 and AUC, or else the best.

    Raises:
        ConfigError: no candidate is within the budget.
    """
    fastest = min(candidates, key=_fastest_first)
    if budget_ms > 0:
        within = [candidate for candidate in candidates if candidate.p50_ms <= budget_ms]
        if not within:
            raise ConfigError(
                f"compress.budget_ms: no candidate is within {plain(budget_ms)} ms; the fastest, "
                f"{fastest.student} with {fastest.pruned:.0%} of its channels cut, takes "
                f"{fastest.p50_ms:.3f} ms"
            )
        return min(within, key=_best_first)
    good = [c for c in candidates if _is_within(c, teacher, limits)]
    return min(good, key=_fastest_first) if good else min(candidates, key=_best_first)


def _is_within(c: CandidateRecord, teacher: TeacherScores, limits: GateLimits) -> bool:
    """By the gate's own comparison, which tolerates rounding."""
    drops = [(teacher.macro_f1 - c.macro_f1, limits.max_macro_f1_drop)]
    if teacher.auc is not None and c.auc is not None:
        drops.append((teacher.auc - c.auc.value, limits.max_auc_drop))
    return all(Check("int8", "drop", drop, limit, True).passed for drop, limit in drops)


# The file, the name and the cut make a choice independent of the order of measurement.
def _fastest_first(c: CandidateRecord) -> tuple[float, float, int, str, float]:
    return c.p50_ms, -c.quality.value, c.bytes, c.student, c.pruned


def _best_first(c: CandidateRecord) -> tuple[float, float, int, str, float]:
    return -c.quality.value, c.p50_ms, c.bytes, c.student, c.pruned
