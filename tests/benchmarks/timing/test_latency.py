import time
from itertools import count

import numpy as np
import pytest

from orthoedge.benchmarks.timing import worker as module
from orthoedge.benchmarks.timing.latency import (
    CallCounts,
    Timings,
    interleaved,
    ratio,
    ratio_over_processes,
    run_rounds,
)


@pytest.mark.parametrize(("warmup_calls", "calls_of_a_round"), [(0, "ABC"), (1, "AABBCC")])
def test_candidates_take_turns_and_warmup_is_not_timed(warmup_calls, calls_of_a_round):
    calls = []
    ticks = count(0, 1_000_000)
    timings = interleaved(
        {name: lambda name=name: calls.append(name) for name in "ABC"},
        rounds=3,
        warmup=2,
        warmup_calls=warmup_calls,
        _clock=lambda: next(ticks),
    )
    assert "".join(calls) == "ABC" * 2 + calls_of_a_round * 3
    assert list(timings) == ["A", "B", "C"]
    for each in timings.values():
        np.testing.assert_array_equal(each.samples_ms, [1.0, 1.0, 1.0])


def test_a_sample_is_the_time_of_its_own_call_in_milliseconds():
    now = 0

    def advance(milliseconds):
        nonlocal now
        now += int(milliseconds * 1e6)

    lasting = iter([100, 90, 1, 80, 2, 70, 3])  # warm-up; then settling and timed in turn
    timings = interleaved(
        {"slow": lambda: advance(next(lasting)), "fast": lambda: advance(0.5)},
        rounds=3,
        warmup=1,
        _clock=lambda: now,
    )
    np.testing.assert_array_equal(timings["slow"].samples_ms, [1, 2, 3])
    np.testing.assert_array_equal(timings["fast"].samples_ms, [0.5, 0.5, 0.5])


@pytest.mark.parametrize(("rounds", "warmup", "warmup_calls"), [(0, 0, 0), (1, -1, 0), (1, 0, -1)])
def test_no_rounds_are_refused(rounds, warmup, warmup_calls):
    with pytest.raises(ValueError, match="rounds >= 1"):
        interleaved({"a": lambda: None}, rounds=rounds, warmup=warmup, warmup_calls=warmup_calls)


def test_percentiles_are_those_of_the_samples_whatever_their_order():
    samples = np.random.default_rng(1).permutation(np.arange(101.0))
    timings = Timings(samples)
    assert (timings.p50, timings.p90, timings.p99) == (50.0, 90.0, 99.0)


def test_a_constant_ratio_has_an_interval_of_no_width():
    second = Timings(np.random.default_rng(2).uniform(1, 9, 40))
    found = ratio(Timings(3 * second.samples_ms), second)
    assert found.p50 == pytest.approx(3)
    assert found.low == pytest.approx(3)
    assert found.high == pytest.approx(3)


def test_pairing_removes_drift_that_both_candidates_went_through():
    drift = np.random.default_rng(3).uniform(1, 5, 200)
    noise = np.random.default_rng(4).uniform(0.99, 1.01, 200)
    first, second = Timings(2 * drift * noise), Timings(drift)
    paired = ratio(first, second)
    shuffled = ratio(first, Timings(np.random.default_rng(5).permutation(drift)))
    assert paired.low < 2 < paired.high
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 3


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says():
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(100):
        first = Timings(2 * rng.lognormal(0, 0.2, 60))
        second = Timings(rng.lognormal(0, 0.2, 60))
        found = ratio(first, second, resamples=300)
        hits += found.low <= 2 <= found.high
    # 95 of 100 expected; 5 standard deviations of a binomial below that is 84.
    assert hits >= 84


def test_samples_of_different_runs_are_refused():
    with pytest.raises(ValueError, match="same rounds"):
        ratio(Timings(np.ones(3)), Timings(np.ones(4)))


def test_a_turn_settles_on_the_radiograph_that_it_times_first():
    seen = {"a": [], "b": []}
    turns = {"a": CallCounts(warmup_calls=2, calls=1), "b": CallCounts(warmup_calls=0, calls=3)}
    samples = run_rounds({n: c.append for n, c in seen.items()}, turns, rounds=2, first=7)
    assert seen == {"a": [7, 7, 7, 8, 8, 8], "b": [7, 8, 9, 8, 9, 10]}
    assert {name: times.shape for name, times in samples.items()} == {"a": (2, 1), "b": (2, 3)}


def processes(rng, count, ratio):
    """Times of two candidates: processes differ by 3 %, rounds by 10 % that both go through."""
    first, second = [], []
    for _ in range(count):
        drift = rng.lognormal(0, 0.1, (20, 1))
        second.append(drift * rng.lognormal(0, 0.02, (20, 4)))
        first.append(ratio * rng.lognormal(0, 0.03) * drift * rng.lognormal(0, 0.02, (20, 4)))
    return first, second


@pytest.mark.parametrize("count", [4, 10])
def test_the_interval_over_processes_covers_the_true_ratio_as_often_as_it_says(count):
    rng = np.random.default_rng(8)
    intervals = [ratio_over_processes(*processes(rng, count, 2), resamples=100) for _ in range(100)]
    # 95 of 100 expected; 5 standard deviations of a binomial below that is 84.
    assert sum(found.low <= 2 <= found.high for found in intervals) >= 84
    # Rounds alone would say far less than processes that differ by 3 % do.
    widths = [found.high / found.low - 1 for found in intervals]
    assert 0.02 < np.median(widths) < 0.16


def test_the_interval_over_processes_knows_a_tenth_from_nothing():
    rng = np.random.default_rng(9)
    found = ratio_over_processes(*processes(rng, 10, 1.1))
    assert found.low > 1


def test_processes_of_different_rounds_are_refused():
    for first, second in [([], []), ([np.ones((2, 1))], [np.ones((3, 1))])]:
        with pytest.raises(ValueError, match="same rounds"):
            ratio_over_processes(first, second)


def test_orders_change_and_slow_calls_have_a_turn_in_every_fourth_round(monkeypatch):
    def spy(candidates, turns, **settings):
        orders.append("".join(candidates))
        return run_rounds(candidates, turns, **settings)

    orders = []
    monkeypatch.setattr(module, "run_rounds", spy)
    # Past 40 ms, which makes a call slow, by any clock.
    calls = {"s": lambda _: time.sleep(0.05), "a": lambda _: None, "b": lambda _: None}
    *_, samples = module.interleave(calls, warmup=1, rounds=9, seconds=0, long_call_interval=4)
    had = {name: (~np.isnan(times[:, 0])).nonzero()[0].tolist() for name, times in samples.items()}
    assert had == {"s": [0, 4, 8], "a": list(range(9)), "b": list(range(9))}
    assert {order.replace("s", "") for order in orders[1:]} == {"ab", "ba"}
