import json
from pathlib import Path

import msgspec
import pytest

from orthoedge.benchmarks.regression import compare
from orthoedge.benchmarks.report.markdown import to_markdown
from orthoedge.benchmarks.schema import SCHEMA, read_report
from orthoedge.runtime.errors import DataError
from tests.helpers.report_example import REFERENCE, example, settings
from tests.helpers.report_example_parts import between

replace = msgspec.structs.replace
OLD = Path(__file__).parents[1] / "golden/frozen/old/benchmark-report-1.json"
PIPELINES = ("x86 int8", "x86 fp32", "portable int8", "portable fp32")


def again(seed, slower=None):
    """Another run: its own noise of the times, the same answers."""
    return example(slower, seed=seed, accuracy=example().accuracy)


def test_runs_of_the_same_do_not_differ():
    first = example()
    for seed in range(1, 15):
        found = compare(first, again(seed))
        assert not found.changed, found.lines
        assert found.lines[0] == "No difference."
        assert "11 ratios, a change of 4.18 % or more would have been detected" in found.lines[1]


def test_a_tenth_more_time_is_found_and_named():
    for seed in range(1, 8):
        found = compare(example(), again(seed, {"portable fp32": 1.1}))
        assert found.changed
        assert found.lines[0] == "Changed by more than noise: one figure."
        assert found.lines[1].startswith("portable fp32: ")
        assert "slower" in found.lines[1]
    back = compare(again(1, {"portable fp32": 1.1}), example())
    assert "faster" in back.lines[1]


def test_a_stage_that_moved_is_pointed_at():
    report = again(1, {"x86 int8": 1.1})
    stages = tuple(
        replace(one, latency=replace(one.latency, p50=2 * one.latency.p50))
        if (one.name, one.target, one.precision) == ("preprocess", "x86", "int8")
        else one
        for one in report.stages
    )
    line = compare(example(), replace(report, stages=stages)).lines[1]
    assert "(medians of stages: preprocess 0.210 to 0.420 ms)" in line


def test_a_slower_reference_is_not_taken_for_faster_others():
    lines = compare(example(), again(1, {REFERENCE: 1.1})).lines
    assert any(f"{REFERENCE} took 0.940 ms and now takes 1.03" in line for line in lines)
    names = [one.name for one in example().candidates if one.name != REFERENCE]
    both_ways = {name: 1.1 if number % 2 else 0.9 for number, name in enumerate(names)}
    for slower in ({"baseline": 1.1}, both_ways):
        lines = compare(example(), again(1, slower)).lines
        assert lines[0].startswith("Changed")
        assert not any("took" in line for line in lines)


def test_a_change_within_the_intervals_is_noise():
    assert not compare(example(), example({"x86 int8": 1.03})).changed


def test_a_change_too_small_to_repeat_is_noise_however_narrow_the_intervals():
    def narrow(report):
        sharp = [replace(one, ratio=between(one.ratio.value, 1e-6)) for one in report.candidates]
        return replace(report, candidates=tuple(sharp))

    assert not compare(narrow(example()), narrow(example({"x86 int8": 1.015}))).changed
    assert compare(narrow(example()), narrow(example({"x86 int8": 1.03}))).changed


def test_one_bundle_on_the_same_images_has_no_noise_and_two_bundles_have():
    first = example()
    was = first.accuracy[0].macro_f1.value
    lower = replace(first.accuracy[0], macro_f1=between(was - 2e-3, 0.02))
    second = replace(first, accuracy=(lower, *first.accuracy[1:]))
    found = compare(first, second)
    assert found.changed
    assert f"x86 int8: macro_f1 {was:.3f}" in found.lines[1]
    other = compare(first, replace(second, bundle_sha256="0" * 64))
    assert not other.changed
    assert any(line.startswith("Different bundles") for line in other.lines)
    worse = replace(lower, alert_recall={"tumor-malignant": between(0.8, 0.03)})
    found = compare(first, replace(second, bundle_sha256="0" * 64, accuracy=(worse,)))
    assert "recall of tumor-malignant 0.961" in found.lines[1]


def test_accuracy_on_other_images_is_not_compared():
    bad = replace(example().accuracy[0], accuracy=between(0.5, 0.01))
    found = compare(example(), example(accuracy=(bad,), settings=settings(labelled="others")))
    assert not found.changed
    assert any(line.startswith("Accuracy is not compared") for line in found.lines)


def test_sizes_and_starts_are_compared():
    first = example()
    row = first.footprint[0]
    drifted = replace(row.cold_start_ms, p50=1.5 * row.cold_start_ms.p50)
    slow = replace(row, cold_start_ms=drifted, cold_start_ratio=between(7.3, 0.2))
    found = compare(first, replace(first, footprint=(replace(row, model_mb=0.9),)))
    assert found.lines[1] == "x86 int8: model 0.790 MB, now 0.900 MB"
    found = compare(first, replace(first, footprint=(slow,)))
    assert found.lines[1].startswith("x86 int8 cold start: 4.90 (4.70 to 5.10), now 7.30 (")
    assert found.lines[1].endswith("OpenCV (medians 590 and 885 ms)")
    few = replace(slow, cold_start_ms=replace(drifted, count=3))
    for noise in (few, replace(row, cold_start_ms=drifted)):  # times alone drift
        assert not compare(first, replace(first, footprint=(noise,))).changed
    older = replace(slow, cold_start_ratio=None)
    assert not compare(replace(first, footprint=(older,)), first).changed
    assert not compare(
        first, replace(first, footprint=(replace(row, cold_peak_rss_mb=between(153.0, 1.0)),))
    ).changed


def test_reports_of_other_things_are_refused():
    with pytest.raises(DataError, match="labels"):
        compare(example(), example(labels=("a", "b", "c", "d")))
    with pytest.raises(DataError, match="reference of the ratios: x86 int8 engine and baseline"):
        compare(example(), example(reference="baseline"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": settings(mode="quick")}, "mode standard and quick"),
        ({"settings": settings(threads=1)}, "threads 2 and 1"),
        ({"settings": settings(isa_limit="AVX2")}, "isa_limit none and AVX2"),
        ({"complete": False}, "second was interrupted"),
        ({"background_load": 0.7}, "other programs kept 0.70 cores busy"),
        ({"machine": replace(example().machine, cpu="B")}, "cpu A processor and B"),
        (
            {"machine": replace(example().machine, packages={"numpy": "0"})},
            "numpy",
        ),
        ({"candidates": example().candidates[:-1]}, "Only in the first: benchmark_app"),
    ],
)
def test_what_makes_a_comparison_doubtful_is_said(changes, words):
    found = compare(example(), example(**changes))
    assert not found.changed
    assert any(words in line for line in found.lines)


def test_a_report_reads_back_and_anything_else_is_refused(tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(msgspec.json.encode(example()))
    assert read_report(path) == example()
    path.write_bytes(msgspec.json.encode(example(schema="orthoedge-benchmark-0")))
    with pytest.raises(DataError, match="got orthoedge-benchmark-0"):
        read_report(path)
    path.write_text("{}")
    with pytest.raises(DataError, match=r"report\.json: not a benchmark's"):
        read_report(path)
    with pytest.raises(DataError, match="No such file"):
        read_report(tmp_path / "absent.json")


def test_a_report_of_the_previous_schema_is_read_with_the_same_figures():
    old = json.loads(OLD.read_text())
    report = read_report(OLD)
    assert report.schema == SCHEMA
    names = {"seeds": "baseline", "floor": "benchmark_app"}
    for was, now in zip(old["candidates"], report.candidates, strict=True):
        assert now.name == names.get(was["name"], was["name"])
        assert now.latency.p50 == was["latency"]["p50"]
        assert now.ratio.value == was["ratio"]["value"]
        assert (now.scope == "pipeline") == (was["name"] in ("seeds", *PIPELINES))
    assert report.background_load == old["others_cores"]
    assert report.footprint[0].cold_peak_rss_mb.value == old["footprint"][0]["peak_rss_mb"]
    assert [curve.name for curve in report.scaling] == [one["of"] for one in old["growth"]]
    assert {stage.name for stage in report.stages} >= {"image checks", "minimal inference"}
    assert [skip.reason for skip in report.skipped] == [one["why"] for one in old["missing"]]
    assert report.accuracy[0].macro_f1.value == old["accuracy"][0]["macro_f1"]["value"]
    assert not compare(report, report).changed
    page = to_markdown(report)
    assert f"{report.candidates[0].latency.p50:#.3g}" in page


def test_a_processor_quota_of_the_previous_schema_still_marks_the_report(tmp_path):
    old = json.loads(OLD.read_text())
    old["settings"] |= {"isa_cap": "AVX2", "cpu_quota": 0.5}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(old))
    assert read_report(path).settings.isa_limit == "AVX2 0.5 cores' time"
