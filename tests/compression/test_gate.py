"""The gate sees every loss, says which, and lets nothing unknown pass."""

import msgspec
import pytest

from orthoedge.compression.gate import Check, gate
from orthoedge.runtime.bundles.manifest import Metrics
from orthoedge.training.recipe import GateLimits

LIMITS = GateLimits(
    max_macro_f1_drop=0.005,
    max_recall_drop={"fracture": 0.01, "tumor": 0.005},
    max_pointing_drop=0.01,
    max_ece=0.02,
    min_teacher_agreement=0.97,
    min_teacher_cosine=0.9,
    max_engine_rmse=0.02,
    max_engine_flips=0,
)
TEACHER = Metrics(
    images=1000,
    accuracy=0.95,
    macro_f1=0.95,
    recall={"fracture": 0.96, "healthy": 0.95, "tumor": 0.95},
    expected_calibration_error=0.1,
    pointing_game=0.9,
    coverage=0.95,
    set_size=1.1,
    teacher_agreement=1.0,
    logit_correlation=1.0,
    teacher_divergence=0.0,
    saliency_cosine=1.0,
    intervals={},
)
# At every limit: a drop of exactly the limit is allowed, whatever the subtraction's rounding says.
STUDENT = msgspec.structs.replace(
    TEACHER,
    macro_f1=0.945,
    recall={"fracture": 0.95, "healthy": 0.5, "tumor": 0.945},
    pointing_game=0.89,
    expected_calibration_error=0.02,
    teacher_agreement=0.97,
    saliency_cosine=0.9,
)
NAN = float("nan")


def failed(student=STUDENT, engine_rmse=0.02, flips=0):
    checks = gate(LIMITS, TEACHER, student, "int8", engine_rmse, flips)
    return [check.name for check in checks if not check.passed]


def test_a_student_at_its_limits_passes_and_a_label_without_a_limit_is_free():
    assert failed() == []
    assert TEACHER.macro_f1 - STUDENT.macro_f1 > LIMITS.max_macro_f1_drop  # rounding alone


@pytest.mark.parametrize(
    ("field", "worse", "name"),
    [
        ("macro_f1", 0.944, "macro-F1 drop"),
        ("recall", {"fracture": 0.94, "healthy": 0.9, "tumor": 0.95}, "fracture recall drop"),
        ("recall", {"fracture": 0.96, "healthy": 0.9, "tumor": 0.94}, "tumor recall drop"),
        ("recall", {"fracture": 0.96, "healthy": 0.9, "tumor": NAN}, "tumor recall drop"),
        ("pointing_game", 0.88, "pointing-game drop"),
        ("expected_calibration_error", 0.021, "ECE"),
        ("teacher_agreement", 0.969, "teacher agreement"),
        ("saliency_cosine", 0.89, "saliency cosine"),
        ("saliency_cosine", NAN, "saliency cosine"),
    ],
)
def test_each_loss_fails_its_own_check_and_no_other(field, worse, name):
    assert failed(msgspec.structs.replace(STUDENT, **{field: worse})) == [name]


@pytest.mark.parametrize(
    ("engines", "name"),
    [
        ({"engine_rmse": 0.021}, "logit RMSE between engines"),
        ({"engine_rmse": NAN}, "logit RMSE between engines"),
        ({"flips": 1}, "decisions changed between engines"),
    ],
)
def test_engines_that_disagree_fail(engines, name):
    assert failed(**engines) == [name]


def test_without_lesion_boxes_nothing_is_said_about_pointing():
    blind = [msgspec.structs.replace(part, pointing_game=None) for part in (TEACHER, STUDENT)]
    names = [check.name for check in gate(LIMITS, *blind, "fp32", 0.0, 0)]
    assert len(names) == 8
    assert "pointing-game drop" not in names


def test_a_check_reads_as_one_line_and_survives_json():
    check = Check("int8", "tumor recall drop", 0.0123, 0.005, True)
    assert str(check) == "FAIL  int8  tumor recall drop 0.0123 <= 0.005"
    assert msgspec.json.decode(msgspec.json.encode(check), type=Check) == check


@pytest.mark.parametrize(
    ("measured", "limit", "at_most", "passed"),
    [
        (0.1, 0.2, True, True),
        (0.3, 0.2, True, False),
        (0.9, 0.8, False, True),
        (0.7, 0.8, False, False),
        (NAN, 0.8, True, False),
        (NAN, 0.8, False, False),
    ],
)
def test_a_check_holds_its_limit_and_never_passes_on_nan(measured, limit, at_most, passed):
    assert Check("int8", "x", measured, limit, at_most).passed is passed
