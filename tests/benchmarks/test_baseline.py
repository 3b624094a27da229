"""The stages against a saved baseline: planted changes, and what pytest-benchmark really saves."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from orthoedge.benchmarks.baseline import changes, read_runs, to_text
from orthoedge.runtime.errors import DataError

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "pytest", "benchmarks/bench_runtime.py", "-o", "addopts=", "-q"]
RUN += ["-o", "python_functions=bench_*", "-p", "no:cacheprovider"]
# A process that takes part in a run of several would measure nothing.
ALONE = {name: value for name, value in os.environ.items() if "XDIST" not in name}


def stage(name, median, *, least=None, spread=0.02):
    stats = {"median": median, "q1": median * (1 - spread), "q3": median * (1 + spread)}
    return {"name": name, "stats": stats | {"min": least or median * 0.95}}


def saved(path, *stages, cpu="one"):
    processor = {"brand_raw": cpu, "count": 2, "hz_actual": [os.getpid(), 0]}
    machine = {"python_version": "3.11", "cpu": processor}
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode({"machine_info": machine, "benchmarks": stages}))
    saved.time += 10
    os.utime(path, (saved.time, saved.time))


saved.time = 1e9


def test_a_planted_change_is_told_as_a_ratio_and_noise_is_not(tmp_path):
    kind = tmp_path / "Linux"
    names = ("same", "much", "spread", "burst", "less")
    saved(kind / "0001_baseline.json", *(stage(name, 1e-3) for name in names), stage("old", 1))
    saved(
        kind / "0002_abc.json",
        stage("same", 1.05e-3),
        stage("much", 1.25e-3),
        stage("spread", 1.25e-3, spread=0.3),  # its middle half overlaps the baseline's
        stage("burst", 1.5e-3, least=0.96e-3),  # undisturbed it is as quick as before
        stage("less", 0.5e-3),
        stage("new", 1),
    )
    before, now = read_runs(tmp_path)
    found = {change.name: change for change in changes(before, now)}
    verdicts = {name: change.verdict for name, change in found.items()}
    expected = {"much": "slower", "spread": "", "burst": "", "same": "", "less": "faster"}
    assert verdicts == expected
    assert found["much"].ratio == pytest.approx(1.25)
    text = to_text(before, now)
    assert "old: not run now" in text
    assert "new: not in the baseline" in text
    assert text.endswith("1 of 5 stages are slower than the baseline")


def test_the_last_baseline_counts_and_only_that_of_this_machine(tmp_path):
    kind = tmp_path / "Linux"
    with pytest.raises(DataError, match="no baseline"):
        read_runs(tmp_path)
    saved(kind / "0001_baseline.json", stage("a", 1))
    with pytest.raises(DataError, match="no baseline"):  # a run is no baseline of itself
        read_runs(tmp_path)
    saved(kind / "0002_baseline.json", stage("a", 2))
    saved(tmp_path / "Other" / "0009_baseline.json", stage("a", 9))
    saved(kind / "0003_x.json", stage("a", 3))
    before, now = read_runs(tmp_path)
    assert [run.benchmarks[0].stats.median for run in (before, now)] == [2, 3]
    saved(kind / "0004_x.json", stage("a", 3), cpu="two")
    with pytest.raises(DataError, match="another processor's"):
        read_runs(tmp_path)
    saved(kind / "0005_x.json")
    (kind / "0005_x.json").write_text("{}")
    with pytest.raises(DataError, match="no run of pytest-benchmark"):
        read_runs(tmp_path)


def test_what_pytest_benchmark_keeps_is_what_is_read(tmp_path):
    quick = ["-k", "bench_look or bench_to_json", "--benchmark-max-time=0.05"]
    for name in ("baseline", "again"):
        keep = [f"--benchmark-storage={tmp_path}", f"--benchmark-save={name}"]
        subprocess.run([*RUN, *quick, *keep], cwd=ROOT, env=ALONE, check=True, capture_output=True)
    command = [sys.executable, "-m", "orthoedge.benchmarks.baseline", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "bench_look" in done.stdout
    assert "of 2 stages are slower than the baseline" in done.stdout
    missing = subprocess.run(
        [*command[:-1], str(tmp_path / "none")], capture_output=True, text=True
    )
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1


@pytest.mark.slow
def test_every_stage_can_be_benchmarked():
    done = subprocess.run(
        [*RUN, "--benchmark-disable"],
        cwd=ROOT,
        env=ALONE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
