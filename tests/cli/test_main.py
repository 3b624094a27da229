"""One line on stderr and exit code 2 for bad input; never a traceback."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest

from orthoedge.cli.main import VERBS, main


@pytest.fixture
def bundle(small_bundle):
    return ["--bundle", str(small_bundle.path)]


@pytest.fixture
def radiograph(tmp_path):
    path = tmp_path / "good.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def only_line(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"orthoedge {verb}" in capsys.readouterr().out


def test_no_verb_prints_the_list(capsys):
    assert main([]) == 2
    assert all(verb in capsys.readouterr().out for verb in ("predict",))


def test_predict_prints_label_probabilities_decision_and_stages(bundle, radiograph, capsys):
    assert main(["predict", str(radiograph), *bundle]) == 0
    out = capsys.readouterr().out
    for part in ("probabilities", "milliseconds", "preprocess", "engine", "-> "):
        assert part in out
    assert out.startswith("note: ")


def test_predict_json_is_one_object_per_line(bundle, radiograph, tmp_path, capsys):
    shutil.copy(radiograph, tmp_path / "other.png")
    assert main(["predict", str(tmp_path), "--json", *bundle]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["error"] for record in records] == [None, None]
    assert records[0]["decision"] in ("report", "refer", "reject")


def test_predict_goes_on_past_a_bad_file_and_exits_1(bundle, radiograph, tmp_path, capsys):
    (tmp_path / "a_text.png").write_text("not an image")
    (tmp_path / "b_empty.png").write_bytes(b"")
    overlays = tmp_path / "out"
    arguments = ["predict", str(tmp_path), "--json", "--overlay", str(overlays), *bundle]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["error"] is None for record in records] == [False, False, True]
    lines = captured.err.splitlines()
    assert len(lines) == 3
    assert "a_text.png" in lines[0]
    assert "b_empty.png" in lines[1]
    assert "2 of 3 files failed" in lines[2]
    assert [path.name for path in overlays.iterdir()] == ["good.png"]


def test_two_files_of_one_name_keep_two_overlays(bundle, radiograph, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(radiograph, tmp_path / folder)
    sources = [str(tmp_path / folder) for folder in ("a", "b")]
    assert main(["predict", *sources, "--overlay", str(tmp_path / "out"), *bundle]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "x.png", "--bundle", "/nowhere"], "/nowhere: no such bundle"),
        (["predict", "x.png", "--target", "abacus"], "target 'abacus' is unknown"),
        (["predict", "x.png", "--target", "jetson"], "not part of this version"),
        (["verify", "/nowhere"], "/nowhere: no such bundle"),
        (["verify", "--target", "abacus"], "'abacus' is unknown"),
        (["train", "nosuch", "--data", "/nowhere", "--out", "r"], "no such recipe"),
        (["train", "tiny", "--data", "/nowhere", "--out", "r"], "/nowhere"),
        (["train", "tiny", "--data", ".", "--out", "r", "--set", "epoks=1"], "did you mean epochs"),
        (["compress", "/nowhere", "--out", "b"], "not a run folder"),
        (["build", "/nowhere", "--target", "jetson", "--out", "p"], "no such bundle"),
        (["build", "/nowhere", "--target", "x86", "--out", "p"], "needs no plan"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments, message, bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "predict" and "--bundle" not in arguments:
        arguments = [*arguments, *bundle]
    assert main(arguments) == 2
    assert message in only_line(capsys)


def test_an_empty_folder_is_said(bundle, tmp_path, capsys):
    assert main(["predict", str(tmp_path), *bundle]) == 2
    assert "no image files" in only_line(capsys)


def test_a_missing_file_is_said_by_name(bundle, tmp_path, capsys):
    assert main(["predict", str(tmp_path / "absent.png"), *bundle]) == 1
    error = capsys.readouterr().err
    assert re.match(r"orthoedge: .*absent\.png: ", error)
    assert "Traceback" not in error


def test_a_missing_extra_names_the_pip_line(bundle, radiograph, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    assert main(["predict", str(radiograph), *bundle]) == 2
    assert "pip install 'orthoedge[x86]'" in only_line(capsys)


def test_doctor_says_what_would_run(bundle, capsys):
    assert main(["doctor", *bundle]) == 0
    out = capsys.readouterr().out
    for part in ("processor:", "target x86 (default): yes", "target jetson: no", "NVIDIA"):
        assert part in out
