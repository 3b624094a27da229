"""The report of a compression: its record, its text and its plots."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import pytest

from orthoedge.benchmarks.schema import Interval
from orthoedge.compression.evaluation.engine_agreement import EngineConsistency
from orthoedge.compression.evaluation.flips import Flips
from orthoedge.compression.gate import Check
from orthoedge.compression.report import write_report
from orthoedge.compression.report.markdown import markdown
from orthoedge.compression.report.plots import write_pareto_front, write_trace
from orthoedge.compression.report.schema import (
    SCHEMA,
    CandidateRecord,
    CompressionReport,
    FloatFallback,
    PruneStep,
    Stage,
)
from orthoedge.runtime.bundles.manifest import Metrics

STUDENTS = {"mobilenetv4_conv_small": (0.48, 0.938), "lcnet_100": (0.41, 0.915)}


def candidate(student, step, share, p50, accuracy):
    return CandidateRecord(
        student=student,
        pruned=share,
        step=step,
        macs=78_000_000,
        parameters=1_100_000,
        bytes=int(1_200_000 * (1 - share)),
        p50_ms=p50,
        p50_low=0.98 * p50,
        p50_high=1.03 * p50,
        images=900,
        accuracy=accuracy,
        accuracy_low=accuracy - 0.016,
        accuracy_high=accuracy + 0.015,
        macro_f1=accuracy - 0.004,
        chosen=False,
    )


def cut(student, p50, kept):
    score = 0.92 if kept else None
    return PruneStep(
        student=student,
        share=0.3,
        macs_before=150_000_000,
        macs=78_000_000,
        p50_before=p50,
        p50_after=0.8 * p50 if kept else 1.02 * p50,
        ratio=0.8 if kept else 1.02,
        ratio_low=0.78,
        ratio_high=1.04,
        accepted=kept,
        accuracy=score,
        macro_f1=score,
    )


def stage(name, precision, accuracy, p50, speedup, pointing=0.9):
    metrics = Metrics(
        images=3000,
        accuracy=accuracy,
        macro_f1=accuracy - 0.01,
        recall={"fracture": 0.9, "tumor-malignant": 0.876},
        expected_calibration_error=0.0123,
        pointing_game=pointing,
        coverage=0.95,
        set_size=1.1,
        teacher_agreement=0.962,
        logit_correlation=0.98,
        teacher_divergence=0.03,
        saliency_cosine=0.93,
        intervals={"accuracy": (accuracy - 0.01, accuracy + 0.01)},
    )
    return Stage(
        name=name,
        precision=precision,
        metrics=metrics,
        bytes=1_150_000,
        macs=78_000_000,
        parameters=1_100_000,
        p50_ms=p50,
        speedup=speedup,
        flips=(
            flips(None, 3000, 90, 108 if name == "+ INT8" else 90, (-0.0151, 0.0032)),
            flips("fracture", 700, 12, 9, (-0.011, 0.019)),
        ),
    )


def flips(label, images, negative, positive, interval):
    return Flips(
        label=label, images=images, negative=negative, positive=positive, interval=interval
    )


def consistency(engine, images=0, logit_rmse=0.0, label_changes=0, skipped=""):
    return EngineConsistency(
        engine=engine,
        images=images,
        logit_rmse=logit_rmse,
        label_changes=label_changes,
        decision_flips=0,
        near_log_odds=None if skipped else 0.12,
        near_ood_score=None if skipped else 0.021,
        skipped=skipped,
    )


@pytest.fixture
def report():
    candidates = [
        candidate(student, step, share, p50 * (1 - 0.5 * share), accuracy - 0.02 * share)
        for student, (p50, accuracy) in STUDENTS.items()
        for step, share in enumerate((0.0, 0.3))
    ]
    candidates[1] = msgspec.structs.replace(candidates[1], chosen=True)
    return CompressionReport(
        schema=SCHEMA,
        recipe="orthovision",
        target="x86",
        threads=2,
        machine="A Processor, 2 cores",
        teacher=("efficientnet_b0", "rexnet_100"),
        alert_labels=("tumor-malignant",),
        data="phantoms",
        budget_ms=0.5,
        candidates=tuple(candidates),
        trace=(cut("mobilenetv4_conv_small", 0.48, True), cut("lcnet_100", 0.41, False)),
        stages=(
            stage("teacher", "fp32", 0.942, 8.2, 1.0),
            stage("+ pruning", "fp32", 0.936, 0.62, None),
            stage("+ INT8", "int8", 0.934, 0.41, 20.0, pointing=None),
        ),
        background_load=0.02,
        float_fallback=FloatFallback(
            layers=("conv_stem",),
            rmse_before=0.21,
            rmse_after=0.04,
            macro_f1_before=0.91,
            macro_f1_after=0.93,
            p50_before=0.4,
            p50_after=0.43,
        ),
        engine_consistency=(
            consistency("onnxruntime", images=1000, logit_rmse=0.011, label_changes=1),
            consistency("openvino AVX2_VNNI", skipped="this processor has no AVX2_VNNI"),
        ),
        gate=(
            Check("int8", "macro-F1 drop", 0.004, 0.005, at_most=True),
            Check("int8", "saliency cosine", 0.93, 0.9, at_most=False),
            Check("int8", "net flips", 0.02, 0.01, True, "", (-0.01, 0.05)),
        ),
        bundle="out/bundle",
    )


def test_the_report_reads_back_and_its_text_holds_every_record(report, tmp_path):
    write_report(tmp_path / "new" / "folder", report)
    folder = tmp_path / "new" / "folder"
    names = {"report.json", "report.md", "front.png", "trace.png"}
    assert {path.name for path in folder.iterdir()} == names
    again = msgspec.json.decode((folder / "report.json").read_bytes(), type=CompressionReport)
    assert again == report
    text = (folder / "report.md").read_text("utf-8")
    for line in (
        "**The gate passed: 3 checks; the bundle is out/bundle.**",
        "mobilenetv4_conv_small, 30.0% of its channels cut, in int8",
        "macro-F1 0.924 against 0.932; 1.15 MB against 1.15 MB; p50 0.410 ms against 8.200 ms, "
        "20.0 times faster",
        "phantoms",
        "| saliency cosine | int8 | 0.9300 | ≥ 0.9 | pass |",
        "| net flips | int8 | 0.0200 [-0.0100, 0.0500] | ≤ 0.01 | pass |",
        "| stage | precision | all | fracture |",
        "| + INT8 | int8 | 90 − 108 of 3000: -0.6 % [-1.5, +0.3] "
        "| 12 − 9 of 700: +0.4 % [-1.1, +1.9] |",
        "at most 0.12 in log-odds (3.0% at a probability of 50 %), and 0.021 in units of the "
        "out-of-distribution threshold.",
        "| teacher | fp32 | 94.2% [93.2, 95.2] | 0.932 | 87.6% | 90.0% | 0.012 |",
        "| + INT8 | int8 | 93.4% [92.4, 94.4] | 0.924 | 87.6% | – | 0.012 |",
        "| + pruning | fp32 | 3.8% (114) | 0.9800 | 0.0300 | 0.930 | 1.15 MB | 78.00 M | 1.10 M "
        "| 0.620 ms | – |",
        "`conv_stem`",
        "0.2100 to 0.0400",
        "| mobilenetv4_conv_small (chosen) | 30.0% | 93.2% [91.6, 94.7] | 0.928 "
        "| 0.408 ms [0.400, 0.420] | 0.84 MB | 78.00 M | 1.10 M | yes |",
        "| lcnet_100 | 30.0% | 150.00 M → 78.00 M | 0.410 → 0.418 ms | 1.020 [0.780, 1.040] "
        "| no | – | – |",
        "| onnxruntime | 1000 | 0.0110 | 1 | 0 |",
        "| openvino AVX2_VNNI | not run: this processor has no AVX2_VNNI | – | – | – |",
    ):
        assert line in text


def test_a_failed_gate_comes_first(report):
    failing = Check("int8", "ECE", float("nan"), 0.02, at_most=True)
    failed = msgspec.structs.replace(report, gate=(*report.gate, failing), bundle=None)
    text = markdown(failed)
    verdict = "**The gate failed: 1 of 4 checks; no bundle was written.**"
    assert text.startswith(f"# Compression of orthovision\n\n{verdict}")
    assert "| ECE | int8 | nan | ≤ 0.02 | **FAIL** |" in text
    assert "Exceeded limits" not in text  # of an old report, which names no setting


def test_a_refusal_says_what_would_have_to_change(report):
    setting = "compress.gate.int8.max_recall_drop.tumor-malignant"
    lost = Check("int8", "tumor-malignant recall drop", 0.061, 0.03, True, setting)
    text = markdown(msgspec.structs.replace(report, gate=(*report.gate, lost), bundle=None))
    assert "### Exceeded limits" in text
    assert f"`--set {setting}=0.061` would accept that of 100 images of tumor-malignant" in text
    assert "`candidate/`; they are no bundle" in text
    assert "Exceeded limits" not in markdown(report)


@pytest.mark.parametrize("name", ["phantom-bundle", "search"])
def test_a_report_from_before_is_read(name):
    folder = Path(__file__).parents[3] / "docs" / "bundles" / name
    old = msgspec.json.decode((folder / "report.json").read_bytes(), type=CompressionReport)
    assert "teacher agreement" in {check.name for check in old.gate}
    text = markdown(old)
    assert "## Flips" not in text
    assert "in log-odds" not in text


@pytest.mark.slow
def test_what_was_not_reached_is_left_out_and_an_earlier_picture_removed(report, tmp_path):
    write_report(tmp_path, report)
    empty = {
        "trace": (),
        "stages": (),
        "float_fallback": None,
        "engine_consistency": (),
        "gate": (),
    }
    begun = msgspec.structs.replace(report, data="radiographs", bundle=None, **empty)
    write_report(tmp_path, begun)
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "report.md", "front.png"}
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "**The gate was not reached; no bundle was written.**" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Candidates"]
    assert "phantom" not in text


@pytest.mark.slow
def test_each_picture_changes_with_what_it_shows(report, tmp_path):
    replace = msgspec.structs.replace

    def picture(write, shown):
        write(tmp_path / "picture.png", shown)
        drawn = cv2.imread(str(tmp_path / "picture.png"))
        assert drawn.shape[1] == 800
        return drawn

    def same(write, first, second):
        one, other = picture(write, first), picture(write, second)
        return one.shape == other.shape and (one == other).all()

    none_chosen = tuple(replace(c, chosen=False) for c in report.candidates)
    assert not same(write_pareto_front, report, replace(report, candidates=none_chosen))
    all_accepted = tuple(replace(step, accepted=True) for step in report.trace)
    assert not same(write_trace, report, replace(report, trace=all_accepted))
    # One candidate, right on every image, and a budget so far away that it is only named.
    alone = replace(report.candidates[0], accuracy=1.0, accuracy_low=1.0, accuracy_high=1.0)
    awkward = replace(report, candidates=(alone,), trace=(), budget_ms=50.0)
    assert not same(write_pareto_front, awkward, replace(awkward, budget_ms=60.0))


def test_where_collections_differ_the_front_is_of_the_auc_within_them(report, tmp_path):
    for candidate in report.candidates:
        assert f"{candidate.accuracy:.1%}" in markdown(report)
    ranked = tuple(
        msgspec.structs.replace(c, auc=Interval(value=0.1 * n + 0.5, low=0.4, high=0.97))
        for n, c in enumerate(report.candidates)
    )
    shown = msgspec.structs.replace(report, candidates=ranked)
    text = markdown(shown)
    assert "| student | channels cut | AUC within the collections |" in text
    assert "0.600 [0.400, 0.970]" in text
    write_pareto_front(tmp_path / "front.png", shown)
    write_pareto_front(tmp_path / "accuracy.png", report)
    pictures = [cv2.imread(str(tmp_path / f"{name}.png")) for name in ("front", "accuracy")]
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()
    record = msgspec.json.decode(msgspec.json.encode(shown), type=CompressionReport)
    assert record.candidates == ranked


@pytest.mark.parametrize(
    ("load", "words"),
    [(0.02, "0.02 cores busy."), (0.4, "do not quote times"), (None, "in one run.")],
)
def test_a_load_of_other_processes_is_stated(report, load, words):
    assert words in markdown(msgspec.structs.replace(report, background_load=load))
