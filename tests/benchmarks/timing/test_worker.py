"""Fresh processes: they open for real, keep what they measured, and say what failed."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest

from orthoedge.benchmarks.timing.candidates import CandidateInfo, LoadedCandidate, candidate_specs
from orthoedge.benchmarks.timing.results import (
    candidates_of,
    comparisons_of,
    reference_of,
    skipped_of,
)
from orthoedge.benchmarks.timing.worker import (
    Job,
    WorkerResult,
    WorkerSamples,
    call_counts,
    read_samples,
    run_worker,
    work,
    write_images,
)
from orthoedge.runtime.errors import EngineError


@pytest.fixture
def job(small_bundle, tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (60 + i, 50), dtype=np.uint8) for i in range(3)]
    write_images(images, tmp_path / "images.npz")
    return Job(
        number=0,
        bundle=str(small_bundle.path),
        specs=candidate_specs(small_bundle, ("portable", "jetson"), ensemble=False, baseline=False),
        images=str(tmp_path / "images.npz"),
        ensemble="",
        folder=str(tmp_path),
        threads=1,
        warmup=1,
        seconds=0,
        rounds=3,
        long_call_interval=4,
        energy_s=0,
        seed=0,
        samples=str(tmp_path / "samples.npz"),
        parent=os.getpid(),
    )


def test_a_process_times_the_same_rounds_of_each_and_says_what_it_lacks(job, tmp_path):
    run_worker(job, tmp_path)
    timed = read_samples(tmp_path / "samples.npz")
    assert set(timed.samples) == {
        "portable int8",
        "portable int8 engine",
        "portable fp32",
        "portable fp32 engine",
    }
    for samples in timed.samples.values():
        assert samples.shape[0] == 3
        assert not np.isnan(samples[0]).any()
        # On a busy machine a call may count as long; such rounds leave it out, and say so by NaN.
        assert (np.nan_to_num(samples, nan=1) > 0).all()
    engines = {(about.engine, about.threads) for about in timed.result.loaded}
    assert engines == {("onnxruntime", 1)}
    assert {one.name for one in timed.result.skipped} == {"jetson int8", "jetson fp32"}


def test_a_process_that_fails_is_one_line(job, tmp_path):
    broken = msgspec.structs.replace(job, bundle=str(tmp_path / "absent"))
    with pytest.raises(
        EngineError, match=r"a worker process of the benchmark failed: .*no such bundle"
    ):
        run_worker(broken, tmp_path)
    assert read_samples(tmp_path / "samples.npz") is None


def test_a_process_that_is_killed_leaves_what_it_had(job, tmp_path):
    endless = msgspec.structs.replace(job, seconds=600)
    file = tmp_path / "job.json"
    file.write_bytes(msgspec.json.encode(endless))
    process = subprocess.Popen(
        [sys.executable, "-m", "orthoedge.benchmarks.timing.worker", str(file)]
    )
    until = time.monotonic() + 60
    while not (tmp_path / "samples.npz").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rounds = {len(samples) for samples in read_samples(tmp_path / "samples.npz").samples.values()}
    assert len(rounds) == 1
    assert rounds.pop() >= 1


def test_a_process_whose_parent_has_ended_stops(job, tmp_path):
    calls = []
    about = CandidateInfo(
        name="a",
        description="",
        scope="model",
        target="",
        engine="",
        version="",
        precision="",
        isa="",
        threads=1,
    )
    result = WorkerResult(loaded=(about,), skipped=[], energy_mj={})
    endless = msgspec.structs.replace(job, seconds=600)
    work(endless, [LoadedCandidate(about, calls.append)], result, orphaned=lambda: len(calls) > 100)
    assert not (tmp_path / "samples.npz").exists()


@pytest.mark.parametrize(
    ("call_ms", "warmup_calls", "calls"), [(0.01, 16, 16), (1.0, 5, 15), (10, 1, 2), (300, 0, 1)]
)
def test_a_candidates_share_of_a_round_is_about_as_long_whatever_the_call(
    call_ms, warmup_calls, calls
):
    counts = call_counts(call_ms)
    assert (counts.warmup_calls, counts.calls) == (warmup_calls, calls)


def left(number, factors, skipped=()):
    """What a process leaves whose candidates take so many times a drifting millisecond."""
    drift = np.random.default_rng(number).uniform(1, 2, (20, 1))
    abouts = tuple(
        CandidateInfo(
            name=n,
            description="",
            scope="model",
            target="",
            engine="",
            version="",
            precision="",
            isa="",
            threads=1,
        )
        for n in factors
    )
    result = WorkerResult(loaded=abouts, skipped=list(skipped), energy_mj={})
    return WorkerSamples(result, {name: factor * drift for name, factor in factors.items()})


def test_rows_are_ratios_over_the_processes_that_have_both():
    found = [left(0, {"ours": 1, "slow": 3}), left(1, {"ours": 1}), left(2, {"ours": 1, "slow": 3})]
    rows = {row.name: row for row in candidates_of(found, "ours")}
    assert rows["ours"].latency.count == 60
    assert rows["slow"].latency.count == 40
    assert rows["slow"].ratio.value == pytest.approx(3)
    assert rows["slow"].ratio.high == pytest.approx(3)


def test_the_reference_is_the_first_that_ran_where_the_preferred_did_not():
    found = [left(0, {"first": 1, "second": 1})]
    assert reference_of(found, "second") == "second"
    assert reference_of(found, "x86 int8 engine") == "first"
    assert reference_of([], "x86 int8 engine") == ""
    assert skipped_of(found) == ()


def test_comparisons_are_made_in_the_rounds_that_have_both():
    workers = [left(number, {"x86 int8": 2, "minimal pipeline": 1.6}) for number in range(3)]
    workers[1].samples["minimal pipeline"][::4] = np.nan
    (comparison,) = comparisons_of(workers, "x86 int8")
    assert comparison.name == "minimal_pipeline"
    assert comparison.figure.value == pytest.approx(1.25)
    assert comparison.figure.low == pytest.approx(1.25)
    assert (comparison.numerator, comparison.denominator) == ("x86 int8", "minimal pipeline")


def test_an_external_program_is_compared_with_the_pipeline_and_by_what_it_adds():
    factors = {"x86 int8": 2, "minimal inference": 1, "external a": 9, "external a-bare": 2}
    comparisons = comparisons_of([left(number, factors) for number in range(3)], "x86 int8")
    figures = {comparison.name: comparison for comparison in comparisons}
    assert figures["external a"].figure.value == pytest.approx(4.5)
    overhead = figures["external a overhead"]
    assert overhead.unit == "ms"
    assert overhead.numerator_ms * 7 == pytest.approx(overhead.denominator_ms)
    assert overhead.figure.high < 0
    assert "external a-bare overhead" not in figures
