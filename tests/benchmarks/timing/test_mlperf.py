"""MLPerf's scenarios: what is sent, when it counts as due, and which figure is quoted."""

import numpy as np
import pytest

from orthoedge.benchmarks.baselines.folder_throughput import sample
from orthoedge.benchmarks.timing.latency import quantiles, timer_ns
from orthoedge.benchmarks.timing.mlperf import (
    NAMES,
    ScenarioRun,
    predictors,
    run_scenario,
    scenario_record,
)
from orthoedge.benchmarks.timing.mlperf_early_stopping import discardable, estimate, least_queries
from orthoedge.runtime.errors import InputError
from orthoedge.targets import EngineOptions, open_pipeline

MS = 1_000_000


class FakeTime:
    """A clock that stands still but for what is asked of it."""

    def __init__(self, image_ms=10.0, reading_ns=0):
        self.now, self.image_ms, self.reading_ns = 0, image_ms, reading_ns
        self.asked = []

    def clock(self):
        self.now += self.reading_ns
        return self.now

    def ask(self, query):
        self.asked.append(list(query))
        self.now += round(len(query) * self.image_ms * MS)


# Numbers of MLPerf's published result logs, such as "Processed at least 662 queries (1179125).
# Would discard 11539 highest latency queries" of the 99th percentile: t - 1 are discarded.
@pytest.mark.parametrize(
    ("queries", "share", "slow"),
    [(64, 0.90, 1), (63, 0.90, 0), (662, 0.99, 1), (1_179_125, 0.99, 11_540)],
)
def test_early_stopping_discards_as_many_as_mlperf(queries, share, slow):
    assert max(discardable(queries, share), 0) == slow


def test_the_estimate_needs_as_many_queries_as_mlperf_says_and_lies_above_the_percentile():
    assert [least_queries(share) for share in (0.90, 0.99)] == [64, 662]
    assert discardable(10, 0.9) == -1
    latencies = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert estimate(latencies[:63], 0.9) is None
    # 77 of 1,000 may be too slow: the 77th highest stands for the 90th percentile.
    assert estimate(latencies, 0.9) == 1000 - discardable(1000, 0.9) > np.percentile(latencies, 90)


def test_single_stream_runs_for_its_duration_after_a_warm_up_of_its_own():
    time = FakeTime()
    ran = run_scenario("SingleStream", time.ask, range(5), "quick", _clock=time.clock)
    assert ran.seconds == 1.0
    np.testing.assert_allclose(ran.latencies_ms, 10)
    assert len(time.asked) == 100 + 10
    assert {len(query) for query in time.asked} == {1}
    assert {query[0] for query in time.asked} == set(range(5))


def test_multi_stream_sends_eight_at_once_and_a_seed_decides_which():
    asked = []
    for seed in (1, 1, 2):
        time = FakeTime()
        ran = run_scenario("MultiStream", time.ask, range(9), "quick", seed=seed, _clock=time.clock)
        np.testing.assert_allclose(ran.latencies_ms, 80)
        assert {len(query) for query in time.asked} == {8}
        asked.append(time.asked)
    assert asked[0] == asked[1] != asked[2]


def test_a_query_is_due_when_the_one_before_it_ended_so_no_stall_is_left_out():
    time = FakeTime(reading_ns=3 * MS)  # whatever lies between two queries
    ran = run_scenario("SingleStream", time.ask, [0], "quick", _clock=time.clock)
    np.testing.assert_allclose(ran.latencies_ms, 13)
    assert ran.latencies_ms.sum() / 1e3 == pytest.approx(ran.seconds)


def test_offline_sends_all_at_once_and_enough_to_fill_its_time():
    time = FakeTime()
    ran = run_scenario("Offline", time.ask, range(50), "quick", _clock=time.clock)
    assert ran.images_per_query == len(time.asked[-1]) == 110  # a tenth more than a second's
    record = scenario_record(ran, "x86", "int8")
    assert record.latency is None
    assert record.queries == 1
    assert record.images_per_s == pytest.approx(100)
    assert record.quoted == "100 images/s"


def test_full_keeps_the_rules_and_a_shortened_run_says_which_it_did_not():
    for name, count in (("SingleStream", 64), ("MultiStream", 662), ("Offline", 1)):
        time = FakeTime(image_ms=10_000)  # so slow that the count takes longer than the duration
        full = scenario_record(
            run_scenario(name, time.ask, [0], "full", _clock=time.clock), "x86", "fp32"
        )
        assert (full.queries, full.valid, full.violations) == (count, True, "")
        time = FakeTime()
        short = scenario_record(
            run_scenario(name, time.ask, [0], "quick", _clock=time.clock), "x86", "fp32"
        )
        assert not short.valid
        assert "s of 600" in short.violations
    assert full.images_per_query == 24_576
    assert "110 images of 24576" in short.violations


def test_what_is_quoted_is_mlperfs_estimate_where_there_are_enough_queries():
    slow_end = np.concatenate([np.full(900, 1.0), np.full(100, 2.0)])
    ran = ScenarioRun("SingleStream", 1, 600.0, slow_end)
    record = scenario_record(ran, "x86", "int8")
    assert record.quoted == "p90 2 ms"
    assert record.latency.p50 == 1.0
    assert record.valid
    few = scenario_record(ScenarioRun("MultiStream", 8, 600.0, np.full(100, 3.0)), "x86", "int8")
    assert few.quoted == "p99 3 ms, too few queries for MLPerf's estimate"
    assert few.violations == "100 queries of 662"


def test_no_percentile_is_told_that_the_samples_cannot_tell():
    samples = np.random.default_rng(0).permutation(np.arange(1000.0))
    found = quantiles(samples)
    assert (found.count, found.p50, found.curve[100]) == (1000, 499.5, 999.0)
    assert found.p90 < found.p99 < found.p999
    few = quantiles(samples[:99])
    assert (few.p99, few.p999, quantiles(samples[:999]).p999) == (None, None, None)
    with pytest.raises(ValueError, match="got \\(0,\\)"):
        quantiles(np.array([]))


def test_the_clock_costs_what_two_readings_lie_apart():
    assert timer_ns(FakeTime(reading_ns=37).clock) == 37


def test_a_pipeline_answers_the_queries_of_every_scenario(small_bundle):
    pipeline = open_pipeline(small_bundle, target="portable", engine=EngineOptions(threads=1))
    ask = predictors(pipeline, workers=2)
    for name in NAMES:
        ask[name]([sample(96)] * 8)
    for name in NAMES:
        with pytest.raises(InputError):
            ask[name]([np.zeros((3, 4, 5), np.uint8)])
    with pytest.raises(ValueError, match="at least one input"):
        run_scenario("Offline", ask["Offline"], [], "quick")
