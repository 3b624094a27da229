"""A refusal says what would have to change, and keeps the networks where no one takes them."""

import shlex

import pytest

from orthoedge.cli.main import main
from orthoedge.compression.gate import Check
from orthoedge.compression.report.refusal import CANDIDATE, keep_candidate, remedies
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.errors import BundleError
from orthoedge.training.recipe_file import load_recipe

RECALL = "compress.gate.int8.max_recall_drop.tumor-malignant"
FLIPS = "compress.gate.int8.max_net_flips"
CHECKS = {
    "compress.gate.fp32.max_macro_f1_drop": (0.04129, 0.03, "4.1 points below the teacher's"),
    RECALL: (0.0613, 0.03, "100 images of tumor-malignant, 6.1 fewer are recognised"),
    FLIPS: (0.02, 0.01, "100 images, 2.0 more turn from right to wrong"),
    "compress.gate.int8.max_pointing_drop": (0.1, 0.05, "10.0 fewer peak in the lesion"),
    "compress.gate.int8.max_ece": (0.085, 0.08, "8.5 points off"),
    "compress.gate.int8.min_teacher_cosine": (0.51239, 0.6, "cosine of 0.512"),
    "compress.gate.int8.max_engine_rmse": (0.0213, 0.02, "may not hold on another machine"),
    "compress.gate.int8.max_engine_flips": (3, 0, "3 of the clear decisions"),
}


def failing(setting, name="x"):
    measured, limit, _ = CHECKS[setting]
    precision = setting.split(".")[2]
    return Check(precision, name, measured, limit, "min_" not in setting, setting)


@pytest.mark.parametrize("setting", CHECKS)
def test_the_named_setting_is_one_that_the_figure_keeps(setting):
    check = failing(setting, "net flips" if setting == FLIPS else "x")
    assert not check.passed
    (line,) = remedies([check])
    assert CHECKS[setting][2] in line
    _, option, change = shlex.split(line.split("`")[1].replace("--set", "x --set"))
    assert option == "--set"
    recipe = load_recipe("orthovision", [change])  # it can be typed as it stands
    value = getattr(getattr(recipe.compress.gate, check.precision), setting.split(".")[3])
    if setting == RECALL:
        value = value["tumor-malignant"]
    assert Check("int8", "x", check.measured, value, check.at_most).passed
    assert abs(value - check.measured) <= 1e-4  # and no wider than it has to be


def test_a_limit_of_several_labels_is_widened_for_all_of_them():
    checks = [
        Check("int8", "net flips", 0.02, 0.01, True, FLIPS, (0.01, 0.03)),
        Check("int8", "tumor-benign net flips", 0.07, 0.01, True, FLIPS, (0.02, 0.12)),
        Check("int8", "fracture net flips", 0.07, 0.01, True, FLIPS, (-0.02, 0.12)),
    ]
    whole, benign = remedies(checks)
    assert f"{FLIPS}=0.07" in whole
    assert f"{FLIPS}=0.07" in benign
    assert "of 100 images of tumor-benign, 7.0 more turn" in benign


def test_what_was_not_measured_cannot_be_allowed_and_what_passed_is_not_listed():
    nan = Check("int8", "ECE", float("nan"), 0.02, True, "compress.gate.int8.max_ece")
    passed = Check("int8", "ECE", 0.01, 0.02, True, "compress.gate.int8.max_ece")
    (line,) = remedies([nan, passed])
    assert "measured nan, which no value of the limit accepts" in line


def test_a_kept_candidate_is_taken_for_no_bundle(small_bundle, tmp_path, capsys):
    models = {"fp32": small_bundle.model("fp32"), "int8": small_bundle.model("int8")}
    check = failing(RECALL, "tumor-malignant recall drop")
    for _ in range(2):  # the second replaces the first
        keep_candidate(tmp_path / "b.report", models, [check])
    folder = tmp_path / "b.report" / CANDIDATE
    names = {"README.md", "refused.fp32.onnx", "refused.int8.onnx"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "refused.int8.onnx").read_bytes() == models["int8"]
    text = (folder / "README.md").read_text("utf-8")
    assert "Refused by the gate" in text
    assert str(check) in text
    with pytest.raises(BundleError):
        read_bundle(folder)
    assert main(["verify", str(folder)]) == 1
    assert "FAIL" in capsys.readouterr().out
