"""The Pareto front of the candidates, and the choice of one."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from orthoedge.benchmarks.schema import Interval
from orthoedge.compression.report.schema import CandidateRecord
from orthoedge.compression.selection import TeacherScores, candidate_front, choose
from orthoedge.runtime.errors import ConfigError
from orthoedge.training.recipe_file import load_recipe


def candidate(p50, accuracy, macro_f1=0.9, student="net", size=1_000_000, pruned=0.0, auc=None):
    return CandidateRecord(
        student=student,
        pruned=pruned,
        step=0,
        macs=1,
        parameters=1,
        bytes=size,
        p50_ms=p50,
        p50_low=p50,
        p50_high=p50,
        images=100,
        accuracy=accuracy,
        accuracy_low=accuracy,
        accuracy_high=accuracy,
        macro_f1=macro_f1,
        chosen=False,
        auc=auc and Interval(value=auc, low=auc, high=auc),
    )


def chosen(candidates, budget_ms, macro_f1, max_drop, auc=None, max_auc_drop=0.0):
    limits = load_recipe("tiny").compress.gate.int8
    limits = replace(limits, max_macro_f1_drop=max_drop, max_auc_drop=max_auc_drop)
    return choose(candidates, budget_ms, TeacherScores(macro_f1, auc), limits)


def test_the_front_is_what_nothing_beats_whatever_the_order():
    rng = random.Random(0)
    for _ in range(200):  # a coarse grid, so that ties are frequent
        candidates = [
            candidate(rng.randint(1, 5), rng.randint(1, 5), student=str(number), size=number // 2)
            for number in range(rng.randint(1, 12))
        ]
        front = candidate_front(candidates)
        best = {
            (c.p50_ms, c.accuracy)
            for c in candidates
            if not any(
                o.p50_ms <= c.p50_ms
                and o.accuracy >= c.accuracy
                and (o.p50_ms, o.accuracy) != (c.p50_ms, c.accuracy)
                for o in candidates
            )
        }
        assert [(c.p50_ms, c.accuracy) for c in front] == sorted(best)
        for member in front:  # of equals, the smallest file
            equals = [
                c for c in candidates if (c.p50_ms, c.accuracy) == (member.p50_ms, member.accuracy)
            ]
            assert member.bytes == min(c.bytes for c in equals)
        assert candidate_front(rng.sample(candidates, len(candidates))) == front


def test_with_a_budget_the_most_accurate_within_it_is_taken():
    slow, edge, fast = candidate(0.9, 0.95), candidate(0.5, 0.93), candidate(0.3, 0.91)
    candidates = [slow, edge, fast]
    assert chosen(candidates, 0.5, 0.99, 0.0) is edge  # the teacher's macro-F1 has no say
    assert chosen(candidates, 0.49, 0.0, 1.0) is fast
    assert chosen(candidates, 5, 0.0, 1.0) is slow
    quicker = candidate(0.4, 0.93)
    assert chosen([*candidates, quicker], 0.5, 0.9, 0.1) is quicker  # as accurate, and faster
    with pytest.raises(ConfigError, match=r"within 0\.2 ms; the fastest, .*takes 0\.300 ms"):
        chosen(candidates, 0.2, 0.9, 0.1)


def test_without_a_budget_the_fastest_within_the_gates_limit_is_taken_else_the_most_accurate():
    slow = candidate(0.9, 0.95, macro_f1=0.94)
    edge = candidate(0.5, 0.93, macro_f1=0.945)
    fast = candidate(0.3, 0.91, macro_f1=0.90)
    candidates = [slow, edge, fast]
    # 0.95 - 0.945 is a little more than 0.005 in floating point; the gate forgives it too.
    assert chosen(candidates, 0, 0.95, 0.005) is edge
    assert chosen(candidates, 0, 0.95, 0.05) is fast
    assert chosen(candidates, 0, 0.95, 0.001) is slow


def test_of_equal_candidates_the_order_of_measuring_takes_none():
    candidates = [
        candidate(0.5, 0.9, student=name, size=size) for name, size in [("b", 2), ("a", 2)]
    ]
    for order in (candidates, candidates[::-1]):
        assert chosen(order, 1, 0.9, 0.1).student == "a"
        assert chosen(order, 0, 0.9, 0.1).student == "a"


def test_where_collections_differ_the_auc_within_them_counts_and_not_the_pooled_accuracy():
    """A network that has learned the collection is right more often and ranks worse."""
    learned = candidate(0.3, 0.95, auc=0.61)
    honest = candidate(0.5, 0.80, auc=0.88)
    slower = candidate(0.9, 0.79, auc=0.87)
    candidates = [slower, learned, honest]
    assert candidate_front(candidates) == [learned, honest]
    assert chosen(candidates, 1, 0.9, 0.1, auc=0.88) is honest
    assert chosen(candidates, 0, 0.9, 0.1, auc=0.88, max_auc_drop=0.01) is honest
    assert chosen(candidates, 0, 0.9, 0.1, auc=0.88, max_auc_drop=0.3) is learned
    assert chosen(candidates, 0, 0.9, 0.1, auc=0.95, max_auc_drop=0.01) is honest
