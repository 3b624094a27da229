import msgspec
import pytest

from orthoedge.benchmarks.schema import Missing
from orthoedge.benchmarks.thresholds import NAMES, failures, parse
from orthoedge.runtime.errors import ConfigError
from tests.helpers.report_example import example


def found(*texts, report=None):
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
    ],
)
def test_a_condition_that_holds_is_a_line_with_the_value(holds, does_not):
    assert found(does_not) == []
    (line,) = found(holds, does_not)
    assert line.startswith(f"--fail-if {holds.strip()}: ")
    assert " has " in line


def test_without_a_prefix_it_is_the_reference_that_is_judged():
    assert found("p50_ms>1.6") == []
    (line,) = found("x86.fp32.p50_ms>1.6")
    assert "x86 fp32 has 2.19" in line
    worth = example().accuracy[3].macro_f1
    assert f"has {worth.value:.4g} ({worth.low:.4g} to" in found("portable.fp32.macro_f1<1")[0]


def test_every_name_is_measured_where_all_is():
    report = example()
    energy = tuple(msgspec.structs.replace(one, energy_mj=3.0) for one in report.candidates)
    thousand = tuple(
        msgspec.structs.replace(one, latency=msgspec.structs.replace(one.latency, p999=9.0))
        for one in energy
    )
    report = msgspec.structs.replace(report, candidates=thousand)
    for name in NAMES:
        (line,) = found(f"{name}>=0", report=report)
        assert "has" in line, line


@pytest.mark.parametrize("text", ["energy_mj>1", "p999_ms>1", "jetson.int8.p50_ms>1"])
def test_what_was_not_measured_fails(text):
    (line,) = found(text)
    assert "cannot be checked, not measured" in line


def test_a_target_that_the_report_never_heard_of_is_an_error():
    with pytest.raises(ConfigError, match=r"has x86\.int8, x86\.fp32, portable\.int8"):
        found("x86.fp16.p50_ms>1")
    report = example(missing=(Missing(what="x86 fp16", why="no"),))
    with pytest.raises(ConfigError, match="jetson"):
        found("jetson.int8.p50_ms>1", report=report)


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
