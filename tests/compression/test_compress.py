"""The whole chain on phantoms: a bundle with true metrics, or no bundle and the reason."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orthoedge.cli.main import main
from orthoedge.compression.build_bundle import licence_name
from orthoedge.compression.quantization.onnx_rules import check
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.errors import BundleError
from orthoedge.targets import open_pipeline
from orthoedge.training.run_folder import load_run


def test_the_bundle_says_where_it_comes_from(tiny_bundle, tiny_run):
    manifest = read_bundle(tiny_bundle).manifest
    run = load_run(tiny_run)
    assert manifest.lineage.teacher_sha256 == run.sha256
    assert manifest.lineage.teacher == ("test_efficientnet", "test_resnet")
    assert manifest.lineage.training_list_sha256 == run.info.training_list_sha256
    assert manifest.data == "phantoms"
    assert "nothing about a patient" in manifest.intended_use
    assert manifest.licence == "Apache-2.0"
    assert "LICENSE" not in manifest.files
    assert manifest.metrics["int8"].images == len(run.splits.test)
    assert not tiny_bundle.with_name("tiny.work").exists()


@pytest.mark.slow
def test_terms_of_its_own_go_into_the_bundle(tiny_run, tmp_path):
    text = "Research only (CC BY 4.0) \r\n\nNo warranty.\n"
    (tmp_path / "terms.txt").write_bytes(text.encode())
    arguments = ["compress", str(tiny_run), "--out", str(tmp_path / "bundle")]
    arguments += ["--licence", str(tmp_path / "terms.txt")]
    for setting in ("compress.epochs=1", "compress.prune="):
        arguments += ["--set", setting]
    assert main(arguments) == 0
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.manifest.licence == "Research only (CC BY 4.0)"
    assert bundle.files["LICENSE"] == text.encode()
    assert "- This bundle: Research only (CC BY 4.0)." in bundle.files["MODEL_CARD.md"].decode()


def test_without_terms_a_bundle_from_radiographs_states_none():
    assert licence_name("", "radiographs") == "not stated"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not a text in UTF-8"),
        (b"\nTerms", "its first line must name the licence"),
        (b"", "its first line must name the licence"),
    ],
)
def test_a_licence_that_names_none_is_refused_before_anything_runs(
    content, reason, tmp_path, capsys
):
    (tmp_path / "terms").write_bytes(content)
    words = ["compress", "absent", "--out", str(tmp_path / "bundle"), "--licence"]
    assert main([*words, str(tmp_path / "terms")]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_metrics_are_what_the_pipeline_gives_on_the_test_files(
    tiny_bundle, tiny_run, precision
):
    """From the image files, one by one: nothing of the chain's own arrays is used."""
    pipeline = open_pipeline(tiny_bundle, target="x86", precision=precision)
    studies = load_run(tiny_run).splits.test
    hits = [pipeline(study.path).label == study.label for study in studies]
    metrics = pipeline.bundle.manifest.metrics[precision]
    assert metrics.accuracy == pytest.approx(np.mean(hits), abs=1e-9)


def test_the_bundle_holds_the_network_in_half_precision(tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    check(bundle.model("fp16"), "fp16")
    assert bundle.manifest.golden.tolerance["fp16"].logits < 0.1


def test_verify_passes_on_both_targets(tiny_bundle, capsys):
    for target in ("x86", "portable"):
        assert main(["verify", str(tiny_bundle), "--target", target]) == 0
    assert "FAIL" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_failed_gate_writes_a_report_and_no_bundle(tiny_run, tmp_path, capsys):
    out = tmp_path / "bundle"
    arguments = ["compress", str(tiny_run), "--out", str(out)]
    settings = ["compress.gate.fp32.max_macro_f1_drop=-2", "compress.epochs=1", "compress.prune="]
    arguments += [part for setting in settings for part in ("--set", setting)]
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert "limits of the gate are exceeded" in shown.err
    (remedy,) = [line for line in shown.err.splitlines() if "would accept" in line]
    assert "`--set compress.gate.fp32.max_macro_f1_drop=" in remedy
    assert shown.out == ""  # no bar of NNCF
    assert "CUDA" not in shown.err
    assert not out.exists()
    candidate = tmp_path / "bundle.report/candidate"
    for precision in ("fp32", "int8"):
        check((candidate / f"refused.{precision}.onnx").read_bytes(), precision)
    with pytest.raises(BundleError):
        read_bundle(candidate)
    report = json.loads((tmp_path / "bundle.report/report.json").read_text())
    assert report["bundle"] is None
    fields = {"precision", "name", "measured", "limit", "at_most", "setting", "interval"}
    assert fields == set(report["gate"][0])
    # Another limit does not cost another distillation.
    assert main([*arguments, "--set", "compress.gate.fp32.max_macro_f1_drop=1"]) == 0
    assert "whole 1/1" not in capsys.readouterr().err
    assert read_bundle(out).manifest.metrics["fp32"].images > 0
    assert not candidate.exists()  # the report no longer refuses anything


def test_an_existing_out_is_refused_before_anything_runs(tiny_run, tmp_path, capsys):
    assert main(["compress", str(tiny_run), "--out", str(tmp_path)]) == 2
    assert "already exists" in capsys.readouterr().err


def test_settings_of_training_cannot_change_afterwards(tiny_run, tmp_path, capsys):
    out = str(tmp_path / "b")
    assert main(["compress", str(tiny_run), "--out", out, "--set", "batch=3"]) == 2
    assert "only keys of compress" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_call_goes_on_where_it_was(tiny_run, tmp_path):
    """Killed after the first epoch of distillation; the second call does not repeat it."""
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "orthoedge.cli.main", "compress", str(tiny_run), "--out"]
    command += [str(out), "--set", "compress.epochs=40", "--set", "compress.prune="]
    state = tmp_path / "bundle.work" / "test_efficientnet-whole.pt"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert state.exists()
    assert not out.exists()
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "whole 1/40" not in ended.stderr
    assert "whole 40/40" in ended.stderr
    assert read_bundle(out).manifest.lineage.pruned_channels == 0


@pytest.mark.slow
def test_a_student_starts_from_the_weights_it_is_given(phantoms, tmp_path, capsys):
    """At a vanishing learning rate its head is still that of the weights it was given."""
    run, out = tmp_path / "run", tmp_path / "bundle"
    one = ["--set", "backbones=test_efficientnet", "--set", "fusion=", "--set", "epochs=1"]
    assert main(["train", "tiny", "--data", str(phantoms), "--out", str(run), *one]) == 0
    settings = ["compress.epochs=1", "compress.lr=1e-9", "compress.prune="]
    arguments = ["compress", str(run), "--out", str(out), "--weights", f"{run}/model.safetensors"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    assert main(arguments) == 0
    assert "tensors of all loaded" in capsys.readouterr().err
    weight, _ = load_run(run).model.head()
    graph = onnx.load_from_string(read_bundle(out).model("fp32")).graph
    constants = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    heads = [value for value in constants if value.shape == weight.t().shape]
    assert any(np.allclose(head, weight.detach().t().numpy(), atol=1e-6) for head in heads)
