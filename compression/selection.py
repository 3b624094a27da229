"""The Pareto front of the candidates, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence

from orthoedge.compression.gate import Check
from orthoedge.compression.report.schema import CandidateRecord
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.settings import plain


def pareto_front(candidates: Sequence[CandidateRecord]) -> list[CandidateRecord]:
    """Candidates that no other one beats in both accuracy and p50, the fastest first.

    Of several that are equal in both, the one with the smallest file represents all.
    """
    front: list[CandidateRecord] = []
    for candidate in sorted(candidates, key=_fastest_first):
        if not front or candidate.accuracy > front[-1].accuracy:
            front.append(candidate)
    return front


def choose(
    candidates: Sequence[CandidateRecord],
    budget_ms: float,
    teacher_macro_f1: float,
    max_drop: float,
) -> CandidateRecord:
    """Choose one candidate by the rule of the recipe's `compress.budget_ms`.

    `budget_ms` is the largest p50, 0 for none; `teacher_macro_f1` is of the candidates' validation
    split; `max_drop` is the gate's limit on the teacher's macro-F1 minus the candidate's.

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
        return min(within, key=_most_accurate_first)
    good = [
        c  # by the gate's own comparison, which tolerates rounding
        for c in candidates
        if Check("int8", "macro-F1 drop", teacher_macro_f1 - c.macro_f1, max_drop, True).passed
    ]
    return min(good, key=_fastest_first) if good else min(candidates, key=_most_accurate_first)


# The file, the name and the cut make a choice independent of the order of measurement.
def _fastest_first(c: CandidateRecord) -> tuple[float, float, int, str, float]:
    return c.p50_ms, -c.accuracy, c.bytes, c.student, c.pruned


def _most_accurate_first(c: CandidateRecord) -> tuple[float, float, int, str, float]:
    return -c.accuracy, c.p50_ms, c.bytes, c.student, c.pruned
