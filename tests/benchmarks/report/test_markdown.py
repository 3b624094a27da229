import msgspec
import pytest

from orthoedge.benchmarks.report.formatting import cautions, figure, headline
from orthoedge.benchmarks.report.markdown import to_markdown
from orthoedge.benchmarks.schema import Skipped
from tests.helpers.report_example import example, settings


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.0004567, "0.00046"),
        (0.05, "0.050"),
        (0.969, "0.969"),
        (1.5, "1.50"),
        (16.84, "16.8"),
        (99.97, "100"),
        (25300.4, "25,300"),
        (-2.5, "-2.50"),
    ],
)
def test_a_figure_has_three_digits_and_no_exponent(value, written):
    assert figure(value) == written


def test_latency_and_accuracy_stand_in_one_row_and_every_row_is_whole():
    report = example()
    lines = to_markdown(report).splitlines()
    row = next(line for line in lines if line.startswith("| x86 int8 |"))
    pipeline, accuracy = report.candidates[1], report.accuracy[0]
    for value in (pipeline.latency.p50, pipeline.latency.p90):
        assert f"| {value:.2f} |" in row
    assert f"| {accuracy.macro_f1.value:.3f} (" in row
    assert "cannot tell" in row
    columns = 0
    for line in lines:
        if line.startswith("|"):
            columns = columns or line.count("|")
            assert line.count("|") == columns
        else:
            columns = 0


def test_a_column_that_nothing_is_known_of_is_left_out():
    report = example()
    assert "mJ" not in to_markdown(report)
    first = msgspec.structs.replace(report.candidates[0], energy_mj=3.25)
    report = msgspec.structs.replace(report, candidates=(first, *report.candidates[1:]))
    assert "| 3.25 |" in to_markdown(report)


def test_what_was_not_measured_says_why_and_cannot_break_its_table():
    text = to_markdown(example(skipped=(Skipped(name="jetson", reason="no | such\nthing"),)))
    assert "| jetson | no \\| such thing |" in text


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("holds", "it holds 99 %"),
        ("does not hold", "it does not hold 99 %"),
        ("cannot tell", "cannot tell whether it is 99 %"),
        (None, "no trained ensemble"),
    ],
)
def test_the_headline_says_the_verdict_and_how_much_faster(verdict, words):
    report = example()
    judged = msgspec.structs.replace(report.accuracy[0], holds_99=verdict)
    line = headline(msgspec.structs.replace(report, accuracy=(judged,)))
    assert words in line
    quicker = report.candidates[10].ratio.value / report.candidates[1].ratio.value
    assert f", {quicker:.0f} (" in line
    assert ") times as fast as the PyTorch baseline" in line
    without = tuple(one for one in report.candidates if one.name != "baseline")
    assert "baseline" not in headline(msgspec.structs.replace(report, candidates=without))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"complete": False}, "interrupted"),
        ({"background_load": 0.4}, "Other programs kept 0.400 cores busy"),
        ({"settings": settings(mode="quick", labelled="")}, "quick run"),
        ({"settings": settings(isa_limit="AVX2", labelled="")}, "latency of no product"),
        ({"settings": settings(isa_limit="SSE41", labelled="")}, "latency of no product"),
        ({"settings": settings(labelled="30 phantoms")}, "nothing about patients"),
    ],
)
def test_a_run_that_is_less_than_it_seems_says_so(changes, words):
    plain = example(settings=settings(labelled="600 radiographs"))
    assert cautions(plain) == []
    less = msgspec.structs.replace(plain, **changes)
    (found,) = cautions(less)
    assert words in found
    assert f"- {found}" in to_markdown(less)
