"""The gate sees every loss, says which, and lets nothing unknown pass."""

import msgspec
import pytest

from orthoedge.compression.evaluation.flips import Flips
from orthoedge.compression.evaluation.ranking_losses import Loss
from orthoedge.compression.gate import Check, gate
from orthoedge.runtime.bundles.manifest import Metrics
from orthoedge.training.recipe import GateLimits

LIMITS = GateLimits(
    max_macro_f1_drop=0.005,
    max_recall_drop={"fracture": 0.01, "tumor": 0.005},
    max_pointing_drop=0.01,
    max_ece=0.02,
    max_net_flips=0.01,
    max_auc_drop=0.01,
    max_alert_sensitivity_drop=0.0,
    max_dice_drop=0.01,
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
    teacher_agreement=0.896,
    saliency_cosine=0.9,
)
NAN = float("nan")


def flips(label=None, negative=60, positive=50, images=1000, interval=(0.002, 0.018)):
    return Flips(
        label=label, images=images, negative=negative, positive=positive, interval=interval
    )


# A loss of exactly the limit, and of labels: one that chance explains, one without a limit.
FLIPS = (
    flips(),
    flips("fracture", negative=6, positive=2, images=200, interval=(-0.005, 0.045)),
    flips("healthy", negative=99, positive=0, images=200, interval=(0.4, 0.6)),
    flips("tumor", negative=1, positive=3, images=200, interval=(-0.03, 0.01)),
)


# Of exactly the limit; explained by chance; and a gain.
AUC = (
    Loss("a fracture AUC drop", 0.01, (0.002, 0.02)),
    Loss("b tumor AUC drop", 0.03, (-0.001, 0.06)),
)
ALERTS = (Loss("tumor sensitivity drop", -0.01, (-0.02, 0.0)),)
DICE = (Loss("tumor Dice drop", 0.01, (0.001, 0.02)),)


def checks(
    student=STUDENT,
    engine_rmse=0.02,
    decision_flips=0,
    flips=FLIPS,
    auc=AUC,
    alerts=ALERTS,
    dice=DICE,
):
    losses = flips, auc, alerts, dice
    return gate(LIMITS, TEACHER, student, *losses, "int8", engine_rmse, decision_flips)


def failed(student=STUDENT, **changes):
    return [check.name for check in checks(student, **changes) if not check.passed]


def test_a_student_at_its_limits_passes_and_a_label_without_a_limit_is_free():
    assert failed() == []
    assert TEACHER.macro_f1 - STUDENT.macro_f1 > LIMITS.max_macro_f1_drop  # rounding alone


def test_an_auc_within_a_source_and_an_alert_may_fall_by_chance_alone():
    lost = (AUC[0], Loss("b tumor AUC drop", 0.03, (0.001, 0.06)))
    assert failed(auc=lost) == ["b tumor AUC drop"]
    missed = (Loss("tumor sensitivity drop", 0.02, (0.01, 0.03)),)
    (check,) = [check for check in checks(alerts=missed) if not check.passed]
    assert check.setting == "compress.gate.int8.max_alert_sensitivity_drop"


def test_a_mask_may_lose_dice_by_chance_alone():
    assert failed(dice=(Loss("tumor Dice drop", 0.02, (-0.001, 0.04)),)) == []
    (check,) = [
        c for c in checks(dice=(Loss("tumor Dice drop", 0.02, (0.01, 0.03)),)) if not c.passed
    ]
    assert check.setting == "compress.gate.int8.max_dice_drop"
    assert [c.name for c in checks(dice=()) if "Dice" in c.name] == []


@pytest.mark.parametrize(
    ("field", "worse", "name"),
    [
        ("macro_f1", 0.944, "macro-F1 drop"),
        ("recall", {"fracture": 0.94, "healthy": 0.9, "tumor": 0.95}, "fracture recall drop"),
        ("recall", {"fracture": 0.96, "healthy": 0.9, "tumor": 0.94}, "tumor recall drop"),
        ("recall", {"fracture": 0.96, "healthy": 0.9, "tumor": NAN}, "tumor recall drop"),
        ("pointing_game", 0.88, "pointing-game drop"),
        ("expected_calibration_error", 0.021, "ECE"),
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
        ({"decision_flips": 1}, "decisions changed between engines"),
    ],
)
def test_engines_that_disagree_fail(engines, name):
    assert failed(**engines) == [name]


@pytest.mark.parametrize(
    ("worse", "name"),
    [
        (flips(negative=61), "net flips"),
        (flips(negative=61, interval=(1e-6, 0.04)), "net flips"),
        (flips("fracture", negative=9, images=100, positive=0, interval=(0.04, 0.15)), "fracture"),
        (flips("tumor", negative=4, images=100, positive=0, interval=(0.01, 0.08)), "tumor"),
        (flips(negative=61, interval=(NAN, NAN)), "net flips"),
    ],
)
def test_more_lost_than_the_limit_and_than_chance_explains_fails(worse, name):
    others = (part for part in FLIPS if part.label != worse.label)
    assert failed(flips=(worse, *others)) == [name if worse.label is None else f"{name} net flips"]


@pytest.mark.parametrize("interval", [(-0.01, 0.13), (0.0, 0.12)])
def test_a_loss_that_chance_explains_does_not_fail(interval):
    assert failed(flips=(flips(negative=6, positive=0, images=100, interval=interval),)) == []


def test_a_student_that_is_better_than_its_teacher_does_not_fail_for_differing():
    """The case that agreement refused: 89.6 % of labels agree, and most of the others are gains."""
    better = msgspec.structs.replace(
        STUDENT,
        teacher_agreement=0.896,
        macro_f1=TEACHER.macro_f1 + 0.029,
        recall={"fracture": 0.97, "healthy": 0.95, "tumor": 0.98},
    )
    gains = (
        flips(negative=36, positive=61, interval=(-0.045, -0.006)),
        flips("tumor", negative=2, positive=9, images=51, interval=(-0.25, -0.02)),
    )
    assert failed(better, flips=gains) == []


def test_every_check_names_the_setting_that_holds_its_limit():
    for check in checks():
        prefix, limits, *rest = check.setting.rpartition("int8.")
        assert prefix + limits == "compress.gate.int8."
        key, _, label = rest[0].partition(".")
        limit = getattr(LIMITS, key)
        assert check.limit == (limit[label] if label else limit)


def test_without_lesion_boxes_nothing_is_said_about_pointing():
    blind = [msgspec.structs.replace(part, pointing_game=None) for part in (TEACHER, STUDENT)]
    names = [check.name for check in gate(LIMITS, *blind, FLIPS, AUC, ALERTS, (), "fp32", 0.0, 0)]
    assert len(names) == 13
    assert "pointing-game drop" not in names


def test_a_check_reads_as_one_line_and_survives_json():
    check = Check("int8", "tumor recall drop", 0.0123, 0.005, True)
    assert str(check) == "FAIL  int8  tumor recall drop 0.0123 <= 0.005"
    assert msgspec.json.decode(msgspec.json.encode(check), type=Check) == check
    old = b'{"precision":"int8","name":"x","measured":0.1,"limit":0.2,"at_most":true}'
    assert msgspec.json.decode(old, type=Check) == Check("int8", "x", 0.1, 0.2, True)
    loss = Check("int8", "net flips", 0.03, 0.01, True, "", (-0.01, 0.07))
    shown = "pass  int8  net flips 0.0300 [-0.0100, 0.0700] <= 0.01 or within chance"
    assert str(loss) == shown
    assert msgspec.json.decode(msgspec.json.encode(loss), type=Check) == loss


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
