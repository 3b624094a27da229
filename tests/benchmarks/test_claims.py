"""The published limits: each is held against the figure of a report, kept or missed."""

import msgspec
import pytest

from orthoedge.benchmarks.claims import CLAIMS, NAMES, Claim, Result, evaluate, to_markdown
from orthoedge.benchmarks.schema import Interval, Skipped
from orthoedge.benchmarks.thresholds import parse
from tests.helpers.report_example import example


@pytest.mark.parametrize(
    ("direction", "limit", "verdict"),
    [
        ("at most", 2.0, "kept, limit inside the interval"),
        ("at most", 2.5, "kept"),
        ("at most", 1.5, "MISSED"),
        ("at least", 1.5, "kept"),
        ("at least", 2.2, "MISSED, limit inside the interval"),
        ("at least", 2.5, "MISSED"),
        ("at most", None, "–"),
    ],
)
def test_a_limit_is_kept_or_missed_by_the_median(direction, limit, verdict):
    claim = Claim("dicom", "comparisons[dicom].figure", limit, direction, "×", "timing")
    figure = Interval(value=2.0, low=1.7, high=2.3)
    assert Result(claim, figure).verdict == verdict
    assert Result(claim, None).verdict == "not measured"


def test_every_path_is_one_of_the_report():
    for claim in CLAIMS:
        parse(f"{claim.path}>0")


def test_each_claim_has_its_figure_and_interval_from_the_report():
    report = example()
    figures = {result.claim.name: result.figure for result in evaluate(report)}
    footprint = report.footprint[0]
    assert figures["minimal_pipeline"] == report.comparisons[0].figure
    assert figures["external ultralytics"] == report.comparisons[1].figure
    assert figures["start"] == footprint.cold_start_ms.p50_interval
    assert figures["memory"] == footprint.cold_peak_rss_mb
    assert figures["import"] == footprint.import_ms
    assert figures["dicom"] is None
    assert [result.claim.name for result in evaluate(report, ["start", "dicom"])] == [
        "dicom",
        "start",
    ]
    assert set(NAMES) - {"external"} <= set(figures)


def test_the_table_has_a_row_for_each_claim_and_the_reason_of_what_is_missing():
    report = example(skipped=(Skipped(name="dicom", reason="pydicom is not installed"),))
    results = evaluate(report)
    table = to_markdown(report, results)
    assert table.count("\n| ") == len(results) + 2
    line = next(line for line in table.splitlines() if line.startswith("| external ultralytics"))
    assert "3.4 (3.35 to 3.45) ×" in line
    assert "≥ 4 ×" in line
    assert "MISSED" in line
    assert "- dicom: not measured. pydicom is not installed" in table


@pytest.mark.parametrize(("cores", "busy"), [(0.0, False), (0.5, True), (None, False)])
def test_figures_of_a_busy_machine_are_not_to_be_quoted(cores, busy):
    report = msgspec.structs.replace(example(), background_load=cores)
    assert ("do not quote" in to_markdown(report, evaluate(report))) is busy
