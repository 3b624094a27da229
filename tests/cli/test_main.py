"""One line on stderr and exit code 2 for bad input; never a traceback."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.cli.main import VERBS, main

ROOT = Path(__file__).parents[2]


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
    written = sorted(path.name for path in overlays.iterdir())
    assert written == ["good.png", "good.side.png"]
    assert records[2]["overlay"] == str(overlays / "good.png")
    assert records[2]["side_by_side"] == str(overlays / "good.side.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "x.png", "--bundle", "/nowhere"], "/nowhere: no such bundle"),
        (["predict", "x.png", "--target", "abacus"], "target 'abacus' is unknown"),
        (["verify", "/nowhere"], "/nowhere: no such bundle"),
        (["verify", "--target", "abacus"], "'abacus' is unknown"),
        (["train", "nosuch", "--data", "/nowhere", "--out", "r"], "no such recipe"),
        (["train", "tiny", "--data", "/nowhere", "--out", "r"], "/nowhere"),
        (["train", "tiny", "--data", ".", "--out", "r", "--set", "epoks=1"], "did you mean epochs"),
        (["compress", "/nowhere", "--out", "b"], "not a run folder"),
        (["verify", "--record", "."], "is a folder"),
        (["verify", "--target", "abacus", "--record", "r"], "'abacus' is unknown"),
        (["build", "/nowhere", "--target", "jetson", "--cache", "p"], "no such bundle"),
        (["build", "/nowhere", "--target", "x86", "--cache", "p"], "needs no plan"),
        (["build", "/nowhere", "--target", "abacus", "--cache", "p"], "'abacus' is unknown"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments, message, bundle, tmp_path, monkeypatch, only_line
):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "predict" and "--bundle" not in arguments:
        arguments = [*arguments, *bundle]
    assert main(arguments) == 2
    assert message in only_line()


def test_an_empty_folder_is_said(bundle, tmp_path, only_line):
    assert main(["predict", str(tmp_path), *bundle]) == 2
    assert "no image files" in only_line()


def test_a_missing_file_is_said_by_name(bundle, tmp_path, capsys):
    assert main(["predict", str(tmp_path / "absent.png"), *bundle]) == 1
    error = capsys.readouterr().err
    assert re.match(r"orthoedge: .*absent\.png: ", error)
    assert "Traceback" not in error


def test_a_missing_extra_names_the_pip_line(bundle, radiograph, monkeypatch, only_line):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    assert main(["predict", str(radiograph), *bundle]) == 2
    assert "pip install 'orthoedge[x86]'" in only_line()


@pytest.mark.parametrize(
    ("verb", "module", "extra"),
    [
        (["train", "tiny", "--data", ".", "--out", "r"], "torch", "train"),
        (["evaluate", "r", "--data", ".", "--out", "e"], "torch.nn", "train"),
        (["phantom", "--out", "p"], "tqdm", "train"),
        (["compress", "r", "--out", "b"], "torch", "compress"),
        (["compress", "r", "--out", "b"], "onnx", "compress"),
        (["verify"], "psutil", "bench"),
    ],
)
def test_the_missing_module_decides_which_extra_is_named(
    verb, module, extra, monkeypatch, only_line
):
    def run(args):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(f"orthoedge.cli.commands.{verb[0]}.run", run)
    assert main(verb) == 2
    line = only_line()
    assert f"{module} is not installed and is needed for orthoedge {verb[0]}" in line
    assert line.endswith(f"pip install 'orthoedge[{extra}]'\n")


def test_every_package_of_the_training_extras_is_known():
    from orthoedge.cli.main import _EXTRAS

    text = (ROOT / "pyproject.toml").read_text()
    lists = dict(re.findall(r"^(train|compress) = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE))
    modules = {"scikit-learn": "sklearn", "pillow": "PIL"}
    for extra, lines in lists.items():
        names = re.findall(r'^    "([a-z-]+)(?:[>\";])', lines, re.MULTILINE)
        assert len(names) >= 4
        for name in set(names) - {"orthoedge"}:
            assert modules.get(name, name.replace("-", "_")) in _EXTRAS[extra], name


def test_options_are_accepted_by_their_full_names_only(bundle, radiograph, capsys):
    with pytest.raises(SystemExit):
        main(["predict", str(radiograph), *bundle, "--js"])
    assert "unrecognized arguments: --js" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["--min-version", "--oldest"])
def test_an_older_bundle_is_refused_by_the_new_name_and_the_old(
    name, bundle, radiograph, only_line
):
    assert main(["predict", str(radiograph), *bundle, name, "99"]) == 2
    assert "is older than 99" in only_line()


def test_compress_takes_one_student():
    import argparse

    from orthoedge.cli.commands import compress

    parser = argparse.ArgumentParser(allow_abbrev=False)
    compress.add_arguments(parser)
    args = parser.parse_args(["run", "--out", "b", "--student", "resnet18"])
    assert compress._shorthands(args) == ["compress.students=resnet18"]


def test_the_package_of_the_command_line_can_be_run():
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".typing")}
    command = [sys.executable, "-m", "orthoedge.cli", "doctor", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: orthoedge doctor")


def test_doctor_says_what_would_run(bundle, capsys):
    assert main(["doctor", *bundle]) == 0
    out = capsys.readouterr().out
    for part in (
        "processor:",
        "licence: not stated; training data: none",
        "target x86 (default): yes",
        "target portable: yes",
        "target jetson: no: ",
        "board: not a Jetson",
        "medical use",
    ):
        assert part in out


@pytest.mark.parametrize("name", [b"line\nbreak", b"latin\xe9", b"escape\x1b[31m"])
@pytest.mark.parametrize("as_json", [True, False])
def test_any_name_of_a_file_is_one_line(name, as_json, bundle, radiograph, tmp_path, capsys):
    names = [os.fsdecode(name + suffix) for suffix in (b".png", b"_bad.png")]
    shutil.copy(radiograph, tmp_path / names[0])
    (tmp_path / names[1]).write_bytes(b"text")
    sources = [str(tmp_path / name) for name in names]
    assert main(["predict", *sources, *bundle, *["--json"] * as_json]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 2  # the bad file, and how many failed
    assert captured.err.replace("\n", "").isprintable()
    captured.out.encode()
    if as_json:
        assert len([json.loads(line) for line in captured.out.splitlines()]) == 2


def test_what_decoders_print_is_no_line_of_its_own(bundle, radiograph, tmp_path, capfd):
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    (tmp_path / "bad.jpg").write_bytes(jpeg[: len(jpeg) // 2] + b"\xff\xd9")
    png = radiograph.read_bytes()
    comment = b"\0\0\0\5tEXta\0bcd" + b"\0\0\0\0"  # a wrong checksum, where it does no harm
    (tmp_path / "odd.png").write_bytes(png[:33] + comment + png[33:])
    assert main(["predict", str(tmp_path / "bad.jpg"), str(tmp_path / "odd.png"), *bundle]) == 1
    captured = capfd.readouterr()
    assert all(line.startswith("orthoedge: ") for line in captured.err.splitlines())
    assert "libpng" not in captured.out + captured.err


def test_a_missing_decoder_leaves_the_other_files(
    bundle, radiograph, tmp_path, monkeypatch, capsys
):
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert main(["predict", str(tmp_path), *bundle, "--json"]) == 1
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert "pip install 'orthoedge[dicom]'" in records[0]["error"]
    assert records[1]["error"] is None


def test_an_empty_argument_is_not_the_working_folder(bundle, only_line):
    assert main(["predict", "", *bundle]) == 2
    assert "an argument is empty" in only_line()


@pytest.mark.parametrize(
    "setting", [("--seed", "-1"), ("--size", "1"), ("--size", "100000"), ("--count", "x")]
)
def test_a_phantom_setting_out_of_range_is_refused(setting, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["phantom", "--out", str(tmp_path / "p"), *setting])
    assert ended.value.code == 2
    assert "expected " in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(("probability", "shown"), [(0.91, "91.0%"), (0.99999, "over 99.9%")])
def test_no_answer_is_called_certain(probability, shown):
    from types import SimpleNamespace

    from orthoedge.cli.commands.predict.output import describe
    from orthoedge.runtime.decision import Verdict

    verdict = Verdict(
        label="fracture",
        probabilities={"fracture": probability, "non-affected": 1 - probability},
        label_set=("fracture",),
        out_of_distribution=0.1,
        decision="report",
        reasons=(),
    )
    assert describe(SimpleNamespace(verdict=verdict)) == f"fracture {shown} -> report"


def test_of_what_is_rejected_no_label_is_said():
    from types import SimpleNamespace

    from orthoedge.cli.commands.predict.output import describe
    from orthoedge.runtime.decision import Verdict

    verdict = Verdict("fracture", {"fracture": 0.99}, ("fracture",), 9.0, "reject", ("too dark",))
    assert describe(SimpleNamespace(verdict=verdict)) == "no answer -> reject (too dark)"
