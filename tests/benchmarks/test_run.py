"""A whole run on a bundle of two convolutions: every part is real, and each takes a moment."""

import shlex
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from orthoedge.benchmarks.claims import evaluate, unmeasured
from orthoedge.benchmarks.machine import describe_machine
from orthoedge.benchmarks.metrics.labelled_data import LabelledSet, prepare
from orthoedge.benchmarks.run import alternate, measure
from orthoedge.benchmarks.run_settings import PLANS, ReferenceModel, RunSettings
from orthoedge.benchmarks.schema import Report, ScalingCurve, Skipped
from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES

CURVE = ScalingCurve(
    name="preprocess",
    by="pixels",
    unit="ms",
    points=((1, 1), (2, 2)),
    exponent=None,
    explanation="here",
)


@pytest.fixture(autouse=True)
def grown(monkeypatch):
    """Curves take longer than all else, and have tests of their own."""

    def parts(*given):
        yield [CURVE], [Skipped(name=f"scaling: {given[1]} {given[2]}", reason="a stand-in")]

    monkeypatch.setattr("orthoedge.benchmarks.run.scaling_curves", parts)


@pytest.fixture
def setting(small_bundle, moment):
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 256, (60 + i, 50), dtype=np.uint8) for i in range(6))
    labels = small_bundle.manifest.labels * 2
    groups = tuple(map(str, range(6)))
    labelled = LabelledSet("six images of noise", images, labels, ((),) * 6, groups)
    return RunSettings(
        machine=describe_machine(),
        mode="quick",
        plan=moment._replace(processes=2),
        command="orthoedge benchmark",
        targets=("portable", "jetson"),
        threads=1,
        baseline=False,
        isa_limit="",
        images=images,
        data="six images of noise",
        radiograph=min(PHANTOM_SAMPLES.glob("*.png")),
        prepared=prepare(small_bundle, labelled),
        ensemble=ReferenceModel(small_bundle.model("fp32"), "itself", trained=True),
    )


@pytest.mark.slow
def test_every_part_is_in_the_report_and_what_cannot_run_is_a_row(small_bundle, setting):
    kept, said = [], []
    report, gallery = measure(small_bundle, setting, kept.append, said.append)
    assert report.complete
    assert report.reference == "portable int8 engine"
    names = {row.name for row in report.candidates}
    students = {"portable int8", "portable int8 engine", "portable fp32", "portable fp32 engine"}
    assert names == students | {"ensemble portable"}
    assert (report.settings.processes, report.settings.rounds) == (2, 4)
    ratios = {row.name: row.ratio for row in report.candidates}
    assert ratios[report.reference].low == ratios[report.reference].high == 1
    assert {stage.target for stage in report.stages} == {"portable"}
    assert [scenario.name for scenario in report.scenarios] == [
        "SingleStream",
        "MultiStream",
        "Offline",
    ]
    judged = {row.precision: row for row in report.accuracy}
    assert judged["fp32"].agreement.value == 1  # the reference is the very model
    assert [row.precision for row in report.footprint] == ["int8"]
    whats = {row.name: row.description for row in report.candidates}
    assert whats["ensemble portable"].endswith("; itself")
    assert report.scaling == (CURVE,)
    skipped = {row.name: row.reason for row in report.skipped}
    assert skipped["scaling: portable int8"] == "a stand-in"
    assert {"jetson int8", "jetson fp32", "ensemble jetson", "benchmark_app"} <= set(skipped)
    assert "tensorrt" in skipped["jetson int8"]
    assert len(gallery) == 6
    assert not any(report.complete for report in kept)
    assert kept[-1] == msgspec.structs.replace(
        report, complete=False, background_load=kept[-1].background_load
    )
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert "timing: process 2 of 2" in said


def test_the_timing_is_spread_over_the_run():
    now, done = [0], []

    def steps(name, count, seconds):
        for number in range(count):
            now[0] += seconds
            done.append(f"{name}{number}")
            yield

    timing, others = steps("t", 3, 10), steps("o", 7, 4)
    # The second knows enough after two steps of the first.
    taken = list(alternate(timing, others, lambda: len(done) > 1, lambda: now[0]))
    assert done == ["t0", "t1", "o0", "o1", "o2", "t2", "o3", "o4", "o5", "o6"]
    assert len(taken) == len(done)


def test_an_interrupted_run_keeps_what_it_measured(small_bundle, setting):
    kept = []

    def interrupt(report):
        kept.append(report)
        raise KeyboardInterrupt

    report, _ = measure(small_bundle, setting, interrupt, lambda _: None)
    assert not report.complete
    assert report.settings.processes == 1
    assert report.candidates == kept[0].candidates
    assert len(report.candidates) == 5
    assert report.stages == ()


def test_a_target_of_which_nothing_runs_leaves_a_report_of_reasons(small_bundle, setting):
    nothing = replace(
        setting,
        targets=("jetson",),
        prepared=Skipped(name="accuracy", reason="no labels"),
        ensemble=Skipped(name="ensemble", reason="not asked for"),
    )
    report, _ = measure(small_bundle, nothing, lambda _: None, lambda _: None)
    assert report.complete
    assert report.candidates == ()
    assert {row.name for row in report.skipped} >= {
        "jetson int8",
        "accuracy",
        "ensemble",
        "benchmark_app",
    }


def test_a_longer_mode_measures_no_less():
    for shorter, longer in zip(PLANS.values(), list(PLANS.values())[1:], strict=False):
        assert all(a <= b for a, b in zip(shorter, longer, strict=True))


@pytest.mark.slow
def test_the_claims_parts_are_measured_on_x86(small_bundle, setting, monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("pydicom")
    monkeypatch.setattr("orthoedge.benchmarks.run._MAP_FILES", 4)
    monkeypatch.setattr("orthoedge.benchmarks.run.FOLDER_FILES", 2)
    program = "print('ready', flush=True)\nwhile input() == '': print({}, flush=True)"
    external = {
        name: shlex.join([sys.executable, "-c", program.format(milliseconds)])
        for name, milliseconds in (("theirs", 2000), ("theirs-bare", 1500))
    }
    reduced = replace(
        setting,
        targets=("x86",),
        plan=setting.plan._replace(folder_processes=1),
        parts=frozenset({"timing", "footprint", "folder"}),
        external=external | {"gone": f"{sys.executable} -c \"raise SystemExit('no licence')\""},
    )
    report, _ = measure(small_bundle, reduced, lambda _: None, lambda _: None)
    figures = {comparison.name: comparison for comparison in report.comparisons}
    assert set(figures) == {
        *("minimal_pipeline", "saliency_map", "dicom", "onnxruntime_by_hand"),
        *("external theirs", "external theirs-bare", "external theirs overhead"),
        *("folder_bound", "folder_jobs"),
    }
    assert figures["external theirs"].numerator_ms == 2000
    assert figures["external theirs overhead"].denominator_ms == 500
    assert figures["external theirs overhead"].figure.value < 0
    for comparison in figures.values():
        assert comparison.figure.low <= comparison.figure.value <= comparison.figure.high
        assert comparison.numerator_ms > 0
    (reason,) = (skip.reason for skip in report.skipped if skip.name == "external gone")
    assert reason == "external program gone: ended with status 1: no licence"
    results = {result.claim.name: result.figure for result in evaluate(report)}
    assert {name for name, figure in results.items() if figure is None} == {"baseline"}
    assert unmeasured(report, ["baseline", "dicom"], list(reduced.external)) == [
        "baseline",
        "external gone",
    ]
