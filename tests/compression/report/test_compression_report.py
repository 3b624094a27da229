"""What a compression writes about itself."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.compression.evaluation.engine_agreement import EngineAgreement
from orthoedge.compression.gate import Check
from orthoedge.compression.report import write_report
from orthoedge.compression.report.markdown import markdown
from orthoedge.compression.report.placing import place_names
from orthoedge.compression.report.plots import write_front, write_trace
from orthoedge.compression.report.schema import (
    Candidate,
    CompressionReport,
    PruneStep,
    Retreat,
    Stage,
)
from orthoedge.runtime.bundles.manifest import Metrics

STUDENTS = {"mobilenetv4_conv_small": (0.48, 0.938), "lcnet_100": (0.41, 0.915)}


def candidate(student, step, share, p50, accuracy):
    return Candidate(
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
        kept=kept,
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
        bystanders=0.02,
        retreat=Retreat(
            layers=("conv_stem",),
            rmse_before=0.21,
            rmse_after=0.04,
            macro_f1_before=0.91,
            macro_f1_after=0.93,
            p50_before=0.4,
            p50_after=0.43,
        ),
        agreement=(
            EngineAgreement(
                engine="onnxruntime", images=1000, logit_rmse=0.011, label_changes=1, flips=0
            ),
            EngineAgreement(
                engine="openvino AVX2_VNNI", images=0, logit_rmse=0.0, label_changes=0, flips=0,
                skipped="this processor has no AVX2_VNNI",
            ),
        ),
        gate=(
            Check("int8", "macro-F1 drop", 0.004, 0.005, at_most=True),
            Check("int8", "saliency cosine", 0.93, 0.9, at_most=False),
        ),
        bundle="out/bundle",
    )  # fmt: skip


def test_the_report_reads_back_and_its_words_hold_every_record(report, tmp_path):
    write_report(tmp_path / "new" / "folder", report)
    folder = tmp_path / "new" / "folder"
    names = {"report.json", "report.md", "front.png", "trace.png"}
    assert {path.name for path in folder.iterdir()} == names
    again = msgspec.json.decode((folder / "report.json").read_bytes(), type=CompressionReport)
    assert again == report
    words = (folder / "report.md").read_text("utf-8")
    for line in (
        "**The gate passed: 2 checks; the bundle is out/bundle.**",
        "mobilenetv4_conv_small, 30.0 % of its channels cut, in int8, beside the teacher",
        "macro-F1 0.924 against 0.932; 1.15 MB against 1.15 MB; p50 0.410 ms against 8.200 ms, "
        "20.0 times faster",
        "say nothing about patients",
        "| saliency cosine | int8 | 0.9300 | ≥ 0.9 | pass |",
        "| teacher | fp32 | 94.2 % [93.2, 95.2] | 0.932 | 87.6 % | 90.0 % | 0.012 |",
        "| + INT8 | int8 | 93.4 % [92.4, 94.4] | 0.924 | 87.6 % | – | 0.012 |",
        "| + pruning | fp32 | 3.8 % (114) | 0.9800 | 0.0300 | 0.930 | 1.15 MB | 78.00 M | 1.10 M "
        "| 0.620 ms | – |",
        "1 layer(s) went back to float, the most sensitive first: `conv_stem`.",
        "| mobilenetv4_conv_small (chosen) | 30.0 % | 93.2 % [91.6, 94.7] | 0.928 "
        "| 0.408 ms [0.400, 0.420] | 0.84 MB | 78.00 M | 1.10 M | yes |",
        "| lcnet_100 | 30.0 % | 150.00 M → 78.00 M | 0.410 → 0.418 ms | 1.020 [0.780, 1.040] "
        "| no | – | – |",
        "| onnxruntime | 1000 | 0.0110 | 1 | 0 |",
        "| openvino AVX2_VNNI | not run: this processor has no AVX2_VNNI | – | – | – |",
    ):
        assert line in words


def test_a_failed_gate_is_the_first_thing_said(report):
    failing = Check("int8", "ECE", float("nan"), 0.02, at_most=True)
    failed = msgspec.structs.replace(report, gate=(*report.gate, failing), bundle=None)
    words = markdown(failed)
    verdict = "**The gate failed: 1 of 3 checks; no bundle was written.**"
    assert words.startswith(f"# Compression of orthovision\n\n{verdict}")
    assert "| ECE | int8 | nan | ≤ 0.02 | **FAIL** |" in words


def test_what_was_not_reached_is_left_out_and_an_earlier_picture_removed(report, tmp_path):
    write_report(tmp_path, report)
    empty = {"trace": (), "stages": (), "retreat": None, "agreement": (), "gate": ()}
    begun = msgspec.structs.replace(report, data="radiographs", bundle=None, **empty)
    write_report(tmp_path, begun)
    assert {p.name for p in tmp_path.iterdir()} == {"report.json", "report.md", "front.png"}
    words = (tmp_path / "report.md").read_text("utf-8")
    assert "**The gate was not reached; no bundle was written.**" in words
    assert [line for line in words.splitlines() if line.startswith("## ")] == ["## Candidates"]
    assert "phantom" not in words


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
    assert not same(write_front, report, replace(report, candidates=none_chosen))
    all_kept = tuple(replace(step, kept=True) for step in report.trace)
    assert not same(write_trace, report, replace(report, trace=all_kept))
    # One candidate, right on every image, and a budget so far away that it is only named.
    alone = replace(report.candidates[0], accuracy=1.0, accuracy_low=1.0, accuracy_high=1.0)
    awkward = replace(report, candidates=(alone,), trace=(), budget_ms=50.0)
    assert not same(write_front, awkward, replace(awkward, budget_ms=60.0))


def overlap(first, second):
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    return (high - low > 1e-6).all()  # two that touch do not overlap


def test_names_in_a_crowd_cover_neither_another_name_nor_the_edge():
    rng = np.random.default_rng(0)
    frame = np.array([0, 0, 700, 450.0])
    centres = rng.uniform(0.4, 0.6, (15, 2)) * frame[2:]
    centres[1] = centres[0]  # two candidates can be measured alike
    centres[2] = 3, 3  # in the corner
    radii = rng.uniform(5, 15, 15)
    sizes = np.tile([45.0, 13.0], (15, 1))
    half = np.array([1, 60])
    bars = np.hstack([centres - half, centres + half])
    boxes = place_names(centres, radii, sizes, bars, frame)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], sizes)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= frame[2:]).all()
    pairs = [(i, j) for i in range(15) for j in range(i)]
    assert not [pair for pair in pairs if overlap(*boxes[list(pair)])]


def test_a_name_with_room_stands_right_beside_its_point():
    frame = np.array([0, 0, 700, 450.0])
    centre, radius, size = np.array([[350.0, 200.0]]), np.array([10.0]), np.array([[45.0, 13.0]])
    box = place_names(centre, radius, size, np.empty((0, 4)), frame)[0]
    nearest = np.clip(centre[0], box[:2], box[2:])
    assert 10 <= np.hypot(*(nearest - centre[0])) < 16


@pytest.mark.parametrize(
    ("bystanders", "words"),
    [(0.02, "0.02 cores busy meanwhile."), (0.4, "not to be quoted"), (None, "in one run.")],
)
def test_times_taken_beside_other_work_say_so(report, bystanders, words):
    assert words in markdown(msgspec.structs.replace(report, bystanders=bystanders))
