import msgspec
import pytest

from orthoedge.benchmarks.schema import Skipped
from orthoedge.benchmarks.thresholds import ALIASES, failures, parse
from orthoedge.runtime.errors import ConfigError
from tests.helpers.report_example import example


def lines_of(*texts, report=None):
    return failures(report or example(), [parse(text) for text in texts])


@pytest.mark.parametrize(
    ("holds", "does_not"),
    [
        ("p90_ms>1", "p90_ms>2"),
        ("engine_p50_ms<1", "engine_p50_ms<0.5"),
        ("ratio>1.2", "ratio>3"),
        ("macro_f1<0.99", "macro_f1<0.93"),
        ("alert_recall <= .97", "alert_recall<.9"),
        ("portable.int8.p50_ms >= 4", "portable.int8.p50_ms>=6"),
        ("x86.fp32.single_stream_p90_ms>1.2", "x86.fp32.single_stream_p90_ms>9"),
        ("offline_images_per_s<1e3", "offline_images_per_s<8e2"),
        ("cold_start_ms>500", "cold_start_ms>700"),
        ("bundle_mb>3.5", "bundle_mb>4"),
        ("multi_stream_p99_ms>+9", "multi_stream_p99_ms<-1"),
        ("candidates[x86 int8].latency.p90>1", "candidates[x86 int8].latency.p90>2"),
        ("accuracy[x86 int8].alert_recall<=.97", "accuracy[x86 int8].alert_recall<.9"),
        ("comparisons[external ultralytics].figure<4", "comparisons[minimal_pipeline].figure>2"),
        ("stages[decision x86 int8].latency.p50>0", "stages[decision x86 int8].latency.p50>1"),
        ("scaling[predict FOLDER ms by files].exponent.low>0.9", "background_load>0.1"),
    ],
)
def test_a_condition_that_holds_is_a_line_with_the_value(holds, does_not):
    assert lines_of(does_not) == []
    (line,) = lines_of(holds, does_not)
    assert line.startswith(f"--fail-if {holds.strip()}: ")
    assert " has " in line


def test_without_a_prefix_it_is_the_reference_that_is_judged():
    assert lines_of("p50_ms>1.6") == []
    (line,) = lines_of("x86.fp32.p50_ms>1.6")
    assert "x86 fp32 has 2.19" in line
    worth = example().accuracy[3].macro_f1
    assert f"has {worth.value:.4g} ({worth.low:.4g} to" in lines_of("portable.fp32.macro_f1<1")[0]


def test_every_name_is_measured_where_all_is():
    report = example()
    energy = tuple(msgspec.structs.replace(one, energy_mj=3.0) for one in report.candidates)
    thousand = tuple(
        msgspec.structs.replace(one, latency=msgspec.structs.replace(one.latency, p999=9.0))
        for one in energy
    )
    report = msgspec.structs.replace(report, candidates=thousand)
    for name in ALIASES:
        (line,) = lines_of(f"{name}>=0", report=report)
        assert "has" in line, line


@pytest.mark.parametrize("text", ["energy_mj>1", "p999_ms>1", "jetson.int8.p50_ms>1"])
def test_what_was_not_measured_fails(text):
    (line,) = lines_of(text)
    assert "cannot be checked, not measured" in line


def test_a_target_that_the_report_never_heard_of_is_an_error():
    with pytest.raises(ConfigError, match=r"has x86\.int8, x86\.fp32, portable\.int8"):
        lines_of("x86.fp16.p50_ms>1")
    report = example(skipped=(Skipped(name="x86 fp16", reason="no"),))
    with pytest.raises(ConfigError, match="jetson"):
        lines_of("jetson.int8.p50_ms>1", report=report)


@pytest.mark.parametrize(
    "text",
    ["", "p90_ms", "p90_ms>", "p90_ms=2", "p90_ms>2ms", "x86.p90_ms>2", ">2", "a.b.c.p50_ms>1"],
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ConfigError, match="expected"):
        parse(text)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match="p95_ms is none of mean_ms, p50_ms"):
        parse("p95_ms>2")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("candidates[x86 int8].latency.p95", "p95 is none of count, mean, p50"),
        ("candidates.latency.p50", r"select an entry with candidates\[KEY\]"),
        ("settings[a].mode.x", "is not a number"),
        ("machine.cpu", "is not a number"),
        ("candidates[x86 int8]", "is not a number"),
    ],
)
def test_a_path_that_no_report_has_is_refused_before_anything_is_measured(path, message):
    with pytest.raises(ConfigError, match=message):
        parse(f"{path}>1")


def test_a_path_to_an_entry_that_is_not_there_cannot_be_checked():
    (line,) = lines_of("candidates[jetson int8].latency.p50>1")
    assert "cannot be checked, not measured" in line
